// Who may see and do what, and whether everybody can.

import { readFileSync } from "node:fs";

import { axePath, open, settled, signIn } from "../browser.mjs";

const AXE = readFileSync(axePath, "utf8");
const VIEWS = ["overview", "events", "dead", "refusals", "sources", "sources/shop", "audit", "rules"];

export default ({ base, gateway, attach, token, viewer }) => {
  const dead = () => gateway.world.events.find((e) => e.state === "dead").id;
  const all = () => [...VIEWS, `events/${dead()}`];

  async function checked(page, where) {
    await page.evaluate(AXE);
    const found = await page.evaluate(async () => {
      const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
      return violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join(" / ")}`);
    });
    if (found.length > 0) throw new Error(`${where}:\n${found.join("\n")}`);
  }
  const cases = {
    "a viewer finds no button that changes": async (browser) => {
      const { page, context, wrongs } = await open(browser, base);
      await attach(page);
      await signIn(page, base, viewer);
      for (const view of all()) {
        await page.goto(`${base}/#/${view}`);
        await settled(page);
        const names = await page.locator("main button, main a.button").evaluateAll((found) => found.map((one) => one.innerText.trim()));
        const wrong = names.filter((name) => /redrive|discard|pause|resume|reload|unmask|download|stop/i.test(name));
        if (wrong.length > 0) throw new Error(`${view}: ${wrong}`);
      }
      if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
      await context.close();
    },

    "a wrong token; a session that ends; the way back": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      await page.goto(`${base}/#/events?state=dead`);
      await page.locator("input[name=token]").fill("not-a-token");
      await page.keyboard.press("Enter");
      await page.getByText("This token is not known here").waitFor();
      await page.locator("input[name=token]").fill(` ${token}\n`);
      await page.keyboard.press("Enter");
      await page.locator("table.events").waitFor();
      gateway.sessions.clear();
      await page.getByRole("button", { name: "Show more" }).or(page.locator("a[data-row]").first()).first().click();
      await page.getByText(/^The session of operator\[0\] has ended/).waitFor();
      const hash = await page.evaluate(() => location.hash);
      await page.locator("input[name=token]").fill(token);
      await page.keyboard.press("Enter");
      await page.locator("main h1").waitFor();
      if (hash !== await page.evaluate(() => location.hash) || !hash.startsWith("#/events")) throw new Error(`not back: ${hash}`);
      const kept = await page.evaluate((secret) => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]).includes(secret), token);
      if (kept) throw new Error("the token is kept in the page");
      await context.close();
    },

    "a gateway that does not answer, and does again": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      await signIn(page, base, token, "#/audit");
      await settled(page);
      await page.route("**/v1/**", (route) => route.abort());
      await page.evaluate(() => { location.hash = "#/rules"; });
      await page.getByText("What you see may be old").waitFor();
      await page.getByText("See whether it runs").first().waitFor();
      await page.unroute("**/v1/**");
      await attach(page);
      if (!gateway.sessions.size) throw new Error("no session");
      await page.reload();
      await context.close();
    },

    "errors say what to do, empty stores say that they are empty": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      await signIn(page, base, token, "#/audit");
      const problem = (status, code, detail) => ({ status, type: "application/problem+json", json: { status, code, detail, title: "" } });
      gateway.instead = (method, path) => (path === "/v1/events" ? problem(503, "damaged", "segment 12") : path === "/v1/refusals" ? problem(429, "too_many_requests", "") : null);
      await page.goto(`${base}/#/events`);
      await page.getByText("look at its log").waitFor();
      await page.getByText("segment 12").waitFor();
      gateway.instead = () => null;
      await page.getByRole("button", { name: "Try again" }).click();
      await page.locator("table.events").waitFor();
      await page.goto(`${base}/#/events/evt_nothing`);
      await page.getByText("its time of retention may be over").waitFor();
      gateway.world.events = [];
      gateway.world.audit = [];
      gateway.world.groups = [];
      gateway.world.refusals = [];
      gateway.world.sources = [];
      await page.reload();
      for (const [view, text] of [["events", "As soon as a provider calls"], ["dead", "No dead letters"], ["refusals", "Nothing was refused"], ["sources", "No sources"], ["audit", "No deeds yet"]]) {
        await page.goto(`${base}/#/${view}`);
        await page.getByText(text).first().waitFor();
      }
      await context.close();
    },

    "theme and language are chosen and kept": async (browser) => {
      const { page, context, wrongs } = await open(browser, base);
      await attach(page);
      await signIn(page, base, token, "#/audit");
      const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const light = await paper();
      await page.getByRole("button", { name: "Light or dark" }).click();
      if (await paper() === light) throw new Error("the theme does not change");
      await page.getByRole("button", { name: "中文" }).click();
      await page.locator("h1", { hasText: "审计" }).waitFor();
      await page.reload();
      await attach(page);
      await page.locator("button", { hasText: "English" }).waitFor();
      if (await paper() === light) throw new Error("the theme is not kept");
      if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
      await context.close();
    },

    "characters that hide are seen": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      gateway.world.events[0].type = "pa\u202eid\u0000\u200b\u001b[31m";
      await signIn(page, base, token, "#/events");
      await settled(page);
      const text = await page.locator("a[data-row]").first().textContent();
      if (text !== "pa⟨U+202E⟩id⟨NUL⟩⟨U+200B⟩⟨ESC⟩[31m") throw new Error(text);
      if (await page.locator("a[data-row]").first().locator(".unseen").count() !== 4) throw new Error("not marked");
      await context.close();
    },
  };
  for (const colorScheme of ["light", "dark"]) {
    for (const locale of ["en-GB", "zh-CN"]) {
      cases[`axe finds nothing serious: ${colorScheme}, ${locale}`] = async (browser) => {
        // axe is put in from outside, which the page's own policy rightly forbids.
        const { page, context } = await open(browser, base, { colorScheme, locale, bypassCSP: true, reducedMotion: "reduce" });
        await attach(page);
        await page.goto(`${base}/`);
        await page.locator("input[name=token]").waitFor();
        await checked(page, "sign-in");
        await signIn(page, base, token);
        for (const view of all()) {
          await page.goto(`${base}/#/${view}`);
          await settled(page);
          await checked(page, view);
        }
        await page.goto(`${base}/#/dead`);
        await settled(page);
        await page.locator("main table .c-actions button").first().click();
        await page.locator("dialog[open] .plan-count").waitFor();
        await checked(page, "a dialog");
        await page.keyboard.press("Escape");
        await page.setViewportSize({ width: 360, height: 740 });
        for (const view of ["events", "overview", `events/${dead()}`]) {
          await page.goto(`${base}/#/${view}`);
          await settled(page);
          await checked(page, `${view} on a small screen`);
        }
        if (colorScheme === "light" && locale === "en-GB") {
          // With names and texts that are longer than their places.
          const long = "long ".repeat(300);
          const one = gateway.world.events.find((e) => e.state === "dead");
          Object.assign(one, { type: long, key: long, reason: long, payment: { order: long, amount: "1", currency: "USD", status: long, transaction: long } });
          for (const view of ["dead", `events/${one.id}`]) {
            await page.goto(`${base}/#/${view}`);
            await settled(page);
            await page.waitForFunction(() => document.querySelector("main [tabindex='0']:is(h1, .cell)"));
            await checked(page, `${view} with long texts`);
          }
          gateway.sessions.clear();
          await page.evaluate(() => { location.hash = "#/audit"; });
          await page.locator("dialog.lock").waitFor();
          await checked(page, "the lock");
        }
        await context.close();
      };
    }
  }
  return cases;
};
