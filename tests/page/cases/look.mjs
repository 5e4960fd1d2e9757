// Every view with rich data, in sizes, themes and languages.

import { join } from "node:path";

import { open, settled, signIn } from "../browser.mjs";

const VIEWS = (gateway) => ({
  overview: "#/overview",
  events: "#/events",
  event: `#/events/${gateway.world.events.find((e) => e.state === "dead").id}`,
  dead: "#/dead",
  refusals: "#/refusals",
  sources: "#/sources",
  source: "#/sources/shop",
  audit: "#/audit",
  rules: "#/rules",
});

/** What each view must show of the data. */
const SHOWN = {
  overview: ["31 dead letters: shop → main", "Quieter than usual: paypal-eu", "Callbacks per minute", "p99", "WeChat Pay v3", "Failing"],
  events: ["payment_intent.succeeded", "A-2026-10240", "Delivered", "status_5xx", "Conflict"],
  event: ["Received and made durable", "Attempt 1", "503", "candidate from {sig:v1}", "keys[0]: fits", "stripe-signature", "Redrive", "callseal events show"],
  dead: ["dead letters, groups: ", "the application failed (5xx)", "Redrive…", "connect_refused"],
  refusals: ["signature_mismatch", "The secret of this source", "callseal explain shop FILE", "203.0.113."],
  sources: ["wechat", "/paypal-eu", "Paused", "Expired"],
  source: ["http://127.0.0.1:3000/webhooks/stripe", "Backing off", "keys[1]", "1h, 2h, 4h, 8h, 16h, 1d", "Callbacks per minute"],
  audit: ["after the fix of the receiver", "alice", "Unmask"],
  rules: ["rules/shop.toml", "built in", "Give the disk room", "stays good for longer than an hour", "nothing stands between"],
};

export default ({ base, gateway, attach, token, shots }) => {
  async function walk(browser, options, look) {
    const { page, context, wrongs } = await open(browser, base, options);
    await attach(page);
    await signIn(page, base, token);
    for (const [name, hash] of Object.entries(VIEWS(gateway))) {
      await page.goto(`${base}/${hash}`);
      await settled(page);
      await look(page, name);
    }
    await context.close();
    if (wrongs.length > 0) throw new Error([...new Set(wrongs)].slice(0, 6).join("\n"));
  }
  const keep = async (page, name, mode, height) => {
    if (!shots) return;
    const whole = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollHeight]);
    await page.screenshot({ path: join(shots, `${name}-${mode}.png`), fullPage: true, clip: { x: 0, y: 0, width: whole[0], height: Math.min(whole[1], height) } });
  };
  const narrow = async (page, name, mode) => {
    const [wide, all, out] = await page.evaluate(() => {
      const root = document.documentElement;
      const off = [...document.querySelectorAll("main *")].filter((e) => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".block, .cell, .plot, .offscreen, dd, thead"));
      // Nor is a button cut off by its cell.
      off.push(...[...document.querySelectorAll("main td .button")].filter((e) => e.offsetParent && e.getBoundingClientRect().left < e.closest(".cell").getBoundingClientRect().left - 1));
      // Nor a text: what is wider than its cell wraps.
      off.push(...[...document.querySelectorAll("main .cell, main dd")].filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth));
      const edge = document.querySelector("main").getBoundingClientRect().right - 10;
      off.push(...[...document.querySelectorAll("main table")].filter((e) => e.getBoundingClientRect().right > edge));
      return [root.clientWidth, root.scrollWidth, off.slice(0, 3).map((e) => `${e.tagName}.${e.className}`)];
    });
    if (all > wide || out.length > 0) throw new Error(`${name} at ${mode} is ${all} wide: ${out}`);
  };

  // Where it is just past midnight: nearly all times then stand with their day, which takes most room.
  const midnight = () => {
    const hour = new Date().getUTCHours();
    return hour <= 12 ? `Etc/GMT+${hour}` : `Etc/GMT-${24 - hour}`;
  };

  const cases = {
    "every view shows its data, without an error in the console": async (browser) => {
      await walk(browser, {}, async (page, name) => {
        const text = await page.locator("main").innerText();
        const missing = SHOWN[name].filter((one) => !text.includes(one));
        if (missing.length > 0) throw new Error(`${name} does not show ${missing}`);
        if (await page.locator("main h1").count() !== 1) throw new Error(`${name} has not one heading`);
        if (!(await page.title()).endsWith("Callseal")) throw new Error(`${name}: ${await page.title()}`);
        const times = await page.locator("main time").evaluateAll((all) => all.filter((t) => !/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC$/.test(t.title)).length);
        if (times > 0) throw new Error(`${name}: ${times} times without the exact one`);
      });
    },

    "times are those of the viewer's zone": async (browser) => {
      const { page, context } = await open(browser, base, { timezoneId: "America/New_York" });
      await attach(page);
      const row = gateway.world.events[5];
      await signIn(page, base, token, "#/events");
      await settled(page);
      const shown = await page.locator(`tr[data-id="${row.id}"] time`).first().innerText();
      const wanted = new Intl.DateTimeFormat("en", { timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(new Date(row.received_at));
      if (!shown.endsWith(wanted)) throw new Error(`${shown}, not ${wanted}`);
      await context.close();
    },

    "the body is shown as it came: large numbers, escapes, as received": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      await signIn(page, base, token, VIEWS(gateway).event);
      const body = page.getByRole("region", { name: "Body" }).last();
      const nice = await body.innerText();
      if (!nice.includes('"amount": 12345678901234567890,\n') || !nice.includes('"empty": {},')) throw new Error(nice);
      await page.getByRole("button", { name: "As received" }).click();
      const raw = await body.innerText();
      if (!raw.startsWith('{"id":"evt_1PqLz82eZvKYlo2C","object":"event"')) throw new Error(raw);
      await context.close();
    },

    "charts: one path for each series, gaps where it did not run, values under the arrow keys": async (browser) => {
      const { page, context, wrongs } = await open(browser, base);
      await attach(page);
      await signIn(page, base, token, "#/overview?window=7d");
      const plot = page.locator(".chart .plot svg").first();
      await plot.waitFor();
      if (await page.locator(".chart").count() !== 5) throw new Error("not five charts");
      const d = await plot.locator("path.line.accent").getAttribute("d");
      if (d.split("M").length !== 3) throw new Error(`the week has one gap: ${d.slice(0, 80)}`);
      await plot.focus();
      await page.keyboard.press("ArrowLeft");
      if (!/\d\d:\d\d/.test(await page.locator(".chart .at").first().innerText())) throw new Error("no time under the key");
      await page.getByRole("button", { name: "24 hours" }).click();
      await page.waitForFunction(() => location.hash.includes("window=24h"));
      if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
      await context.close();
    },
  };
  const sizes = [["light", 1280], ["zh", 1180], ["light", 360], ["dark", 360], ["zh", 360], ["light", 1600], ["dark", 1600], ["zh", 1600], ["light", 1024], ["zh", 768]];
  for (const [kind, width] of sizes) {
    const mode = `${kind}-${width}`;
    cases[`no view is wider than the screen: ${mode}`] = async (browser) => {
      const options = { viewport: { width, height: width < 500 ? 740 : 1000 }, timezoneId: midnight(), colorScheme: kind === "dark" ? "dark" : "light", locale: kind === "zh" ? "zh-CN" : "en-GB" };
      const [, long] = gateway.world.events;
      long.type = "an.event.of.a.type.whose.name.goes.on.and.on.until.it.has.taken.three.lines.of.its.column";
      long.payment = { order: "ORDER-".repeat(20), transaction: "T", amount: "1.00", currency: "EUR", status: "paid" };
      await walk(browser, options, async (page, name) => {
        await narrow(page, name, mode);
        if (kind === "zh") {
          const lang = await page.evaluate(() => document.documentElement.lang);
          if (lang !== "zh-CN") throw new Error(`the page speaks ${lang}`);
        }
        await keep(page, name, mode, width < 500 ? 1500 : 1900);
      });
    };
  }
  return cases;
};
