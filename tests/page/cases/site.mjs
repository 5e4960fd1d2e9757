// A real gateway with hostile callbacks in it, which came signed and through TLS; and what an operator
// does at it by the page.

import { open, settled, signIn } from "../browser.mjs";
import { field } from "../site.mjs";
import { same } from "../visit.mjs";
import { CORPUS, injected, lost } from "./hostile.mjs";
import { nothingInEnglish } from "./tongue.mjs";

const CHOSEN = CORPUS.filter((_, at) => at % 12 === 0);

/** As the gateway keeps a type: short, and without what cannot be seen. */
const stored = (type) => type.replace(/[\p{Cc}\p{Cf}]/gu, "\ufffd").slice(0, 100);

/** Ordinary business, some of which fails. */
async function business(site) {
  for (let n = 0; n < 6; n += 1) {
    const body = Buffer.from(JSON.stringify({ id: `evt_page_${n}`, object: "event", type: "payment_intent.succeeded", data: { object: { id: `pi_${n}`, object: "payment_intent", amount: 1250 + n, currency: n % 2 ? "jpy" : "usd", status: "succeeded", receipt_email: "jane.doe@example.com" } } }));
    same(await site.stripe(body), 200, "a signed event");
    if (n === 0) same(await site.stripe(body), 200, "a duplicate");
  }
  same(await site.stripe(Buffer.from("{}"), false), 401, "a forged event");
  const order = (id, more = {}) => ({ id, type: "transfer.confirmed", body: Buffer.from(JSON.stringify({ order: `A-${id}`, status: "paid", amount: "25.50", currency: "USDT", txid: "9f1b", ...more })) });
  for (const id of ["tx-1", "tx-2"]) same(await site.signed("wallet", order(id)), 200, id);
  same(await site.signed("wallet", order("tx-1", { amount: "99" })), 200, "the same id with another body");
  same(await site.signed("unheard", order("tx-3")), 200, "what nobody takes");
}

/** What the tests find: business, and every chosen string in every place that a sender fills. Gives the types of those accepted. */
export async function prepare(site) {
  await business(site);
  const accepted = [];
  const refused = new Map();
  for (const [n, text] of CHOSEN.entries()) {
    const inField = field(text);
    const kind = ["application/json", "application/x-www-form-urlencoded", "text/xml", "text/plain", "application/octet-stream"][n % 5];
    const json = JSON.stringify({ order: text, status: "paid", amount: n % 2 ? "12.50" : text, currency: text, txid: text, note: text, [text]: [text] });
    const body = Buffer.from({ 1: `order=${encodeURIComponent(text.toWellFormed())}&note=${text.toWellFormed()}`, 2: `<a><order>${text.toWellFormed()}</order></a>` }[n % 5] ?? json);
    const type = `${n}:${inField}`;
    const query = `?q=${encodeURIComponent(text.toWellFormed()).slice(0, 900)}`;
    const headers = [["content-type", kind], ["x-note", inField], ["user-agent", inField], ["referer", `javascript:window.__xss=1//${inField}`]];
    let status = await site.signed("hostile", { id: `${n}-${inField}`.trim(), type, body, query, headers });
    // Not every string may stand in an id.
    if (status !== 200) status = await site.signed("hostile", { id: `plain-${n}`, type, body, query, headers });
    if (status === 200) accepted.push(type);
    // Refused: as path, raw and in part encoded; as method; unsigned with everything.
    const path = inField.replace(/[^\x21-\x7e]/g, "") || "x";
    const method = path.replace(/[^!#$%&'*+\-.^_`|~\w]/g, "'").slice(0, 30);
    const encoded = path.replace(/[<>"`{}|\\^#?]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
    for (const one of [{ target: `/${path}` }, { target: `/${encoded}` }, { method, target: `/hostile?${encoded}` }, { target: "/hostile", headers: [["x-signature", `v1=${inField}`], ["x-event-id", inField]], body }]) {
      const heard = await site.raw(one);
      if (heard >= 200 && heard < 300) throw new Error(`let in: ${JSON.stringify(one.target)}`);
      refused.set(heard, (refused.get(heard) ?? 0) + 1);
    }
  }
  return { accepted, refused };
}

export default (site, told) => {
  const base = site.url;
  const visit = async (browser, run, hash = "#/overview") => {
    const { page, context, wrongs } = await open(browser, base);
    await signIn(page, base, site.operator, hash);
    await settled(page);
    await run(page);
    await context.close();
    if (wrongs.length > 0) throw new Error([...new Set(wrongs)].slice(0, 6).join("\n"));
  };
  const go = async (page, hash) => {
    await page.goto(`${base}/${hash}`);
    await settled(page);
  };
  const clean = async (page, where) => {
    const found = await page.evaluate(injected);
    if (found.length > 0) throw new Error(`${where}: ${found.slice(0, 5).join(" | ")}`);
    const trouble = page.locator("main .trouble");
    if (await trouble.count() > 0) throw new Error(`${where}: ${await trouble.first().innerText()}`);
  };
  const rows = (page) => page.locator("table.events tbody tr").evaluateAll((all) => all.map((row) => row.dataset.id));

  return {
    "site: hostile callbacks, signed, are text in every view": (browser) =>
      visit(browser, async (page) => {
        const { accepted, refused } = told;
        console.log(`      ${accepted.length} of ${CHOSEN.length} accepted, refused: ${[...refused].map(([status, n]) => `${status} ${n}×`).join(", ")}`);
        if (accepted.length < 0.9 * CHOSEN.length) throw new Error(`only ${accepted.length} were accepted`);
        await go(page, "#/events?source=hostile");
        while (await page.getByRole("button", { name: "Show more" }).count() > 0) {
          const before = (await rows(page)).length;
          await page.getByRole("button", { name: "Show more" }).click();
          await page.waitForFunction((n) => document.querySelectorAll("table.events tbody tr").length > n || !document.querySelector(".more button"), before);
        }
        await clean(page, "events");
        const missing = await lost(page, accepted.map(stored));
        if (missing.length > 0) throw new Error(`not shown: ${missing.slice(0, 3).map((one) => JSON.stringify(one).slice(0, 200)).join(" | ")} (${missing.length})`);
        const ids = await rows(page);
        if (ids.length !== accepted.length) throw new Error(`${ids.length} rows for ${accepted.length} events`);
        for (const id of ids) {
          await go(page, `#/events/${id}`);
          await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
          const raw = page.getByRole("button", { name: "As received" });
          await clean(page, `event ${id}`);
          if (await raw.count() > 0) {
            await raw.first().click();
            await clean(page, `event ${id}, its body`);
          }
        }
        for (const hash of ["#/refusals", "#/dead", "#/dead?by=type", "#/audit", "#/overview", "#/sources", "#/sources/hostile", "#/rules"]) {
          await go(page, hash);
          await clean(page, hash);
        }
        await go(page, "#/refusals");
        const listed = await page.locator("table td.c-path").allInnerTexts();
        if (!listed.some((text) => /javascript:|onerror|script|xss/i.test(text))) throw new Error(`no hostile path is listed: ${listed.slice(0, 5)}`);
      }),

    "site: an event unmasked, without its masks and in the audit": (browser) =>
      visit(browser, async (page) => {
        await page.locator("table.events a[data-row]").first().click();
        await page.locator("[data-back]").waitFor();
        await settled(page);
        const text = await page.locator("main").innerText();
        if (text.includes("jane.doe@") || !text.includes("@example.com")) throw new Error("not masked");
        await page.getByRole("button", { name: "Unmask" }).click();
        await page.locator("dialog[open]").getByRole("button", { name: "Unmask" }).click();
        await page.getByText("jane.doe@example.com").first().waitFor();
        await go(page, "#/audit");
        await page.locator("table tbody tr", { hasText: "Unmask" }).locator("td", { hasText: "alice" }).first().waitFor();
      }, "#/events?source=shop&destination=main"),

    "site: dead letters of one reason: their list, redriven, discarded": (browser) =>
      visit(browser, async (page) => {
        const group = page.locator("main table tbody tr").first();
        await group.waitFor();
        await group.getByRole("link", { name: "List" }).click();
        await page.waitForFunction(() => location.hash.includes("reason="));
        await settled(page);
        const listed = (await rows(page)).length;
        if (listed !== 6) throw new Error(`${listed} dead letters of the ledger, not 6`);
        await page.locator("table.events a[data-row]").first().click();
        await page.getByRole("button", { name: "Redrive", exact: true }).click();
        await page.locator("dialog[open]").getByRole("button", { name: "Redrive" }).click();
        await page.locator(".step-title", { hasText: "Redrive by alice" }).waitFor();
        // It fails again, which the stream tells.
        await page.locator(".event-sub .badge", { hasText: "Dead" }).waitFor({ timeout: 60000 });
        await go(page, "#/dead?source=shop");
        await page.locator("main table tbody tr").first().getByRole("button", { name: "Discard…" }).click();
        const box = page.locator("dialog[open]");
        await box.locator(".plan-count").waitFor();
        await box.locator("textarea").fill("the ledger is gone");
        await box.locator(".dialog-actions button").last().click();
        await page.locator(".job .badge", { hasText: "Done" }).waitFor({ timeout: 60000 });
        await page.getByText("No dead letters").waitFor();
        await go(page, "#/audit");
        await page.getByText("the ledger is gone").first().waitFor();
        await page.locator(".badge", { hasText: "Begun" }).first().waitFor();
      }, "#/dead?source=shop"),

    "site: a viewer sees attempts without what the application said": async (browser) => {
      const { page, context, wrongs } = await open(browser, base);
      await signIn(page, base, site.viewer, "#/events?source=shop&destination=ledger");
      await page.locator("table.events a[data-row]").first().click();
      await page.locator("details.attempt").first().waitFor();
      await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
      await page.getByText("What it answered is shown to operators only").first().waitFor();
      const names = await page.locator("main button, main a.button").allInnerTexts();
      const wrong = names.filter((name) => /redrive|discard|unmask|download/i.test(name));
      if (wrong.length > 0) throw new Error(`a viewer may ${wrong}`);
      await context.close();
      if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
    },

    "site: pause, resume, reload": (browser) =>
      visit(browser, async (page) => {
        await page.getByRole("button", { name: "Pause…" }).click();
        const box = page.locator("dialog[open]");
        await box.locator("textarea").fill("an update");
        await box.getByRole("button", { name: "Pause delivery" }).click();
        await page.locator("main .badge", { hasText: "Paused" }).first().waitFor();
        await page.locator(".notice", { hasText: "alice paused main" }).getByText("Reason: an update").waitFor();
        await page.getByRole("button", { name: "Resume", exact: true }).click();
        await page.locator("dialog[open]").getByRole("button", { name: "Resume" }).click();
        await page.locator("main .badge", { hasText: "Delivering" }).waitFor();
        await go(page, "#/rules");
        await page.getByRole("button", { name: "Reload" }).click();
        await page.locator("#says", { hasText: "nothing has changed" }).waitFor();
      }, "#/sources/wallet"),

    "site: in Chinese nothing that the gateway says is left in English": async (browser) => {
      const { page, context, wrongs } = await open(browser, site.url, { locale: "zh-CN" });
      await signIn(page, site.url, site.operator);
      for (const hash of ["overview", "dead", "refusals", "sources", "sources/shop", "audit", "rules", "events?from=x", "events/evt_x", "sources/none"]) {
        await go(page, `#/${hash}`);
        await nothingInEnglish(page, hash);
      }
      const one = await page.evaluate(async () => (await (await fetch("/v1/events?source=shop&limit=1")).json()).events[0].id);
      await go(page, `#/events/${one}`);
      await nothingInEnglish(page, "an event");
      await context.close();
      if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
    },

    "site: what comes in is told at once": (browser) =>
      visit(browser, async (page) => {
        await page.locator(".flow.live").waitFor();
        same(await site.signed("wallet", { id: "tx-live", type: "live.event", body: Buffer.from('{"order":"A-live"}') }), 200, "a callback");
        await page.getByRole("button", { name: "1 new: show" }).click();
        await page.locator("table.events tbody tr", { hasText: "live.event" }).locator(".badge", { hasText: "Delivered" }).waitFor();
        await go(page, "#/refusals");
        await page.locator(".flow.live").waitFor();
        await site.raw({ target: "/nobody-here" });
        await page.getByRole("button", { name: "1 new: show" }).click();
        await page.locator("td.c-path", { hasText: "/nobody-here" }).first().waitFor();
      }, "#/events"),
  };
};
