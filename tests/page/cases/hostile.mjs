// Nothing that comes from outside is ever more than text.

import { readFileSync } from "node:fs";

import { open, settled, signIn } from "../browser.mjs";
import { overview } from "../mock/data.mjs";
import { Hostile } from "../mock/hostile.mjs";

export const CORPUS = readFileSync(new URL("../xss.txt", import.meta.url), "utf8").trim().split("\n").map((line) => JSON.parse(line));

const ok = (json) => ({ status: 200, type: "application/json", json });

/** What a browser would have made of the strings, had they been markup. */
export function injected() {
  const known = new Set("html head meta title link script body noscript header nav main section div p span a b bdi button ul ol li dl dt dd h1 h2 h3 h4 table caption thead tbody tr th td details summary pre code label input select option textarea form figure figcaption svg path text small time dialog progress kbd wbr".split(" "));
  const found = [];
  if (window.__xss) found.push("it ran");
  for (const element of document.querySelectorAll("*")) {
    const tag = element.tagName.toLowerCase();
    if (!known.has(tag)) found.push(`<${tag}>`);
    for (const { name, value } of element.attributes) {
      if (/^(on|style$|srcdoc|formaction|action|xlink)/.test(name)) found.push(`${tag} ${name}=${value}`);
      if (name === "href" && !/^(#\/|\/(style|parts)\.css$|\/icon\.svg$|\/v1\/events\/[^/]+\/(body|request)$)/.test(value)) found.push(`${tag} href=${value}`);
      if (name === "src" && !/^\/(early|app)\.js$/.test(value)) found.push(`${tag} src=${value}`);
      if (/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u200e\u200f]/.test(value) && !["data-id", "data-row", "value"].includes(name)) found.push(`${tag} ${name} hides something`);
    }
  }
  if (document.querySelector("meta[http-equiv], form:not(.signin form), .xss-injected, #xss-injected")) found.push("an element from outside");
  return found;
}

/** Those of the strings that stand nowhere as text. */
export async function lost(page, strings) {
  return page.evaluate(async (wanted) => {
    const { flat } = await import("/dom.js");
    // In what the gateway says, `this` is shown as code.
    const plain = (text) => text.replace(/`/g, "").replace(/\s+/g, " ");
    const all = plain([document.body.textContent, ...[...document.querySelectorAll("input, select, textarea")].map((e) => flat(e.value))].join("\n"));
    // In a body line ends and tabs keep their meaning.
    const asBody = (text) => flat(text.replaceAll("\n", "\ue000").replaceAll("\t", "\ue001")).replace(/⟨U\+E000⟩/g, "\n").replace(/⟨U\+E001⟩/g, "\t");
    return wanted.filter((one) => !all.includes(plain(flat(one))) && !all.includes(plain(asBody(one))));
  }, strings);
}

export default ({ base, gateway, attach, token }) => {
  async function hostile(name, browser, visit) {
    const { page, context, wrongs } = await open(browser, base);
    await attach(page);
    await signIn(page, base, token, "#/audit");
    const seen = new Set();
    const check = async (where, strings) => {
      const found = await page.evaluate(injected);
      if (found.length > 0) throw new Error(`${where}: ${found.slice(0, 5).join(" | ")}`);
      const missing = await lost(page, strings);
      if (missing.length > 0) throw new Error(`${where}: not shown: ${missing.slice(0, 3).map((one) => JSON.stringify(one).slice(0, 200)).join(" | ")} (${missing.length})`);
      for (const one of strings) seen.add(one);
    };
    try {
      await visit(page, check, async (hash) => {
        await page.goto("about:blank");
        await page.goto(`${base}/${hash}`);
        await settled(page);
      });
      if (wrongs.length > 0) throw new Error(wrongs.slice(0, 5).join("\n"));
    } finally {
      gateway.instead = () => null;
      await context.close();
    }
    return seen;
  }
  const complete = (seen) => {
    if (CORPUS.length < 500) throw new Error(`only ${CORPUS.length} strings`);
    const missing = CORPUS.filter((one) => !seen.has(one));
    if (missing.length > 0) throw new Error(`${missing.length} strings were not tried: ${JSON.stringify(missing[0])}`);
  };

  return {
    "hostile rows: every string as id, key, type, order, amount, reason, source": async (browser) => {
      const seen = await hostile("rows", browser, async (page, check, go) => {
        // 520 rows of eight strings each, in pages of 50; what the list does not show is left out.
        for (let from = 0; from < CORPUS.length; from += 50) {
          const rows = Array.from({ length: 50 }, (_, n) => {
            const at = (shift) => CORPUS[(from + n + shift) % CORPUS.length];
            return { ...new Hostile(CORPUS, from).row(n), id: at(0), type: at(0), source: at(1), destination: at(2), reason: at(3), key: at(4), payment: { order: at(5), amount: at(6), currency: "", status: at(7), transaction: at(8) } };
          });
          gateway.instead = (method, path) => (path === "/v1/events" ? ok({ events: rows, next: null }) : null);
          await go("#/events");
          await check("events", rows.flatMap((row) => [row.type, row.source, row.destination, row.reason, row.payment.order, row.payment.status]));
          await page.keyboard.press("j");
          await page.keyboard.press("j");
        }
      });
      complete(seen);
    },

    "hostile events: every string in body, headers, path, attempts, verification, deeds": async (browser) => {
      const seen = await hostile("event", browser, async (page, check, go) => {
        const source = new Hostile(CORPUS);
        // Not every place is looked at: a few rounds, each a little further on, so that each string
        // comes to many.
        while (source.turn < 2 * CORPUS.length) {
          source.turn += 7;
          source.given.clear();
          const id = source.next();
          const event = source.event(id);
          const verification = source.verification();
          gateway.instead = (method, path) => (path.endsWith("/verification") ? ok(verification) : path.startsWith("/v1/events/") ? ok(event) : null);
          await go(`#/events/${encodeURIComponent(id.toWellFormed())}`);
          const facts = verification.steps.flatMap((s) => [s.name, ...s.facts.flatMap((f) => [f.name, f.value])]);
          const responses = event.history.flatMap((a) => [a.error, a.response.body, ...a.response.headers.flat()]);
          const deeds = event.deeds.flatMap((d) => [d.by, d.detail]);
          const shown = [id, event.type, event.peer, event.method, event.target, event.verified, event.key, event.reason, event.payment.order, event.payment.transaction, event.payment.status, ...event.headers.flat(), ...facts, ...responses, ...deeds];
          await check("event", shown);
          // As received: the readable form of a body decodes, and may say the same in other signs.
          const raw = page.getByRole("button", { name: "As received" });
          if (await raw.count() > 0) await raw.first().click();
          await check("body", event.shown);
        }
        // And one event that has them all: in header names and values, and in its body.
        const all = { ...source.event("evt_all"), headers: CORPUS.map((one) => [one, one]), body: { text: CORPUS.join("\n"), cut: false, encoding: "utf8", kind: "text" } };
        gateway.instead = (method, path) => (path.startsWith("/v1/events/") && !path.endsWith("/verification") ? ok(all) : null);
        await go("#/events/evt_all");
        await check("all at once", CORPUS);
      });
      complete(seen);
    },

    "hostile elsewhere: sources, refusals, dead letters, audit, rules, overview, jobs, errors": async (browser) => {
      const seen = await hostile("elsewhere", browser, async (page, check, go) => {
        for (let round = 0; round < 4; round += 1) {
          const s = new Hostile(CORPUS, round * 160);
          const one = s.source();
          const all = [one, s.source(), s.source()];
          const groups = Array.from({ length: 8 }, () => s.refusalGroup());
          const list = Array.from({ length: 12 }, (_, n) => s.refusal(n));
          const dead = Array.from({ length: 10 }, () => s.group());
          const deeds = Array.from({ length: 12 }, (_, n) => s.deed(n));
          const rules = s.rules();
          const findings = s.findings();
          const jobs = [s.job(1), s.job(2)];
          const now = s.overview(overview(gateway.world));
          gateway.instead = (method, path) => {
            switch (path) {
              case "/v1/sources": return ok({ sources: all, rules_digest: s.strings[0] });
              case "/v1/refusals/groups": return ok({ groups, kept: 1, seen: 2 });
              case "/v1/refusals": return ok({ refusals: list, next: null });
              case "/v1/groups": return ok({ groups: dead, looked: 1, next: null });
              case "/v1/audit": return ok({ audit: deeds, next: null });
              case "/v1/rules": return ok(rules);
              case "/v1/doctor": return ok(findings);
              case "/v1/jobs": return ok({ jobs });
              case "/v1/overview": return ok(now);
              default: return path.startsWith("/v1/sources/") ? ok(one) : null;
            }
          };
          await go("#/sources");
          await check("sources", all.flatMap((x) => [x.name, x.path, x.title]));
          await go(`#/sources/${encodeURIComponent(one.name.toWellFormed())}`);
          await check("source", [one.name, one.path, one.url, one.file, one.mode, one.contract.retries, one.keys[0].label, ...one.destinations.flatMap((d) => [d.name, d.forward, d.last_error])]);
          await go("#/refusals");
          await check("refusals", [...groups.flatMap((g) => [g.source, g.reason, g.cause, g.mend]), ...list.flatMap((r) => [r.source, r.peer, r.method, r.path, r.reason, r.detail])]);
          await go("#/dead");
          await check("dead", [...dead.flatMap((g) => [g.source, g.destination, g.reason]), ...jobs.flatMap((j) => [j.by, j.what, j.filter])]);
          await go("#/audit");
          await check("audit", deeds.flatMap((d) => [d.by, d.event, d.source, d.detail, d.outcome, ...(d.what === "discard" ? [] : [d.what])]));
          await go("#/rules");
          await check("rules", [rules.digest, rules.reload_error, ...rules.warnings, ...rules.sources.flatMap((x) => [x.name, x.file]), ...rules.providers.flatMap((p) => [p.title, p.file, p.used_by[0]]), ...findings.findings.flatMap((f) => [f.subject, f.detail, f.mend])]);
          await go("#/overview");
          await check("overview", [now.version, ...now.attention.slice(0, 4).map((a) => a.detail), now.attention[4].facts.key, now.attention[0].source, now.attention[0].destination]);
        }
        // Errors, in three rounds of a sixth of the corpus each: they are drawn one at a time.
        for (const [at, text] of CORPUS.entries()) {
          if (at % 6 !== 0) continue;
          gateway.instead = (method, path) => (path === "/v1/audit" ? { status: 400, type: "application/problem+json", json: { status: 400, title: text, detail: text, code: text } } : null);
          await page.evaluate(() => { location.hash = "#/rules"; });
          await page.locator("h1", { hasText: "Rules" }).waitFor();
          await page.evaluate(() => { location.hash = "#/audit"; });
          await page.locator(".trouble").first().waitFor();
          await check("error", [text]);
        }
      });
      if (seen.size < 500) throw new Error(`only ${seen.size} strings were shown`);
    },

    "hostile addresses and filters: what stands in the URL is text": async (browser) => {
      await hostile("addresses", browser, async (page, check, go) => {
        for (const [at, text] of CORPUS.entries()) {
          if (at % 8 !== 0) continue;
          const written = encodeURIComponent(text.toWellFormed().slice(0, 300));
          // Opened anew now and then; else as by a link in the page.
          const filtered = `#/events?text=${written}&source=${written}&state=${written}&type=${written}`;
          if (at % 64 === 0) await go(filtered);
          else await page.evaluate((hash) => { location.hash = hash; }, filtered);
          await settled(page);
          await page.locator("input[name=text]").waitFor({ state: "attached" });
          await check("filters", []);
          await page.evaluate((hash) => { location.hash = hash; }, `#/${written}/${written}?by=${written}`);
          await page.locator("main h1").first().waitFor();
          await check("address", []);
        }
      });
    },
  };
};
