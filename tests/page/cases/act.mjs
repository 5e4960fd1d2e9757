// What a person does: keys, filters, changes, and what comes in meanwhile.

import { open, settled, signIn } from "../browser.mjs";
import { postsTo, same, visitor } from "../visit.mjs";

export default (setting) => {
  const { base, gateway, attach, token, streams } = setting;
  const visit = visitor(setting);
  const posts = () => postsTo(gateway);
  const focusedRow = (page) => page.evaluate(() => document.activeElement?.dataset.row);
  const dead = () => gateway.world.events.find((e) => e.state === "dead");

  const cases = {
    "keyboard: j, k, Enter, Escape, /, g, ?": visit("#/events", async (page) => {
      const ids = gateway.world.events.map((e) => e.id);
      await page.keyboard.press("j");
      same(await focusedRow(page), ids[0], "j");
      await page.keyboard.press("j");
      await page.keyboard.press("j");
      await page.keyboard.press("k");
      same(await focusedRow(page), ids[1], "j j k");
      await page.keyboard.press("Enter");
      await page.locator("[data-back]").waitFor();
      same(await page.evaluate(() => location.hash), `#/events/${ids[1]}`, "Enter");
      await page.keyboard.press("Escape");
      await page.locator("table.events").waitFor();
      same(await focusedRow(page), ids[1], "back at the row");
      await page.keyboard.press("/");
      same(await page.evaluate(() => document.activeElement?.name), "text", "/");
      await page.keyboard.type("jj?");
      same(await page.locator("dialog").count(), 0, "? in a field");
      await page.keyboard.press("Escape");
      await page.keyboard.press("?");
      await page.locator("dialog[open] kbd").first().waitFor();
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
      await page.keyboard.press("g");
      await page.keyboard.press("s");
      await page.locator("h1", { hasText: "Sources" }).waitFor();
      same(await page.evaluate(() => document.activeElement?.tagName), "H1", "the heading has the focus");
    }),

    "filters live in the address: reload, back, link": visit("#/events", async (page) => {
      await page.locator("select[name=state]").selectOption("dead");
      await page.waitForFunction(() => location.hash === "#/events?state=dead");
      await page.locator("select[name=source]").selectOption("shop");
      await page.locator("input[name=text]").fill("timeout");
      await page.waitForFunction(() => location.hash.includes("text=timeout"));
      await settled(page);
      const wanted = gateway.world.events.filter((e) => e.state === "dead" && e.source === "shop" && e.reason === "timeout").map((e) => e.id);
      const rows = () => page.locator("table.events tbody tr").evaluateAll((all) => all.map((row) => row.dataset.id));
      same(await rows(), wanted, "filtered rows");
      await page.reload();
      await settled(page);
      same(await rows(), wanted, "after a reload");
      same(await page.locator("select[name=state]").inputValue(), "dead", "the field after a reload");
      same(await page.locator("input[name=text]").inputValue(), "timeout", "the search after a reload");
      await page.goBack();
      await page.waitForFunction(() => location.hash === "#/events?state=dead&source=shop" || location.hash === "#/events?source=shop&state=dead");
      await settled(page);
      same(await page.locator("input[name=text]").inputValue(), "", "the search after going back");
      await page.getByRole("button", { name: "Clear" }).click();
      await page.waitForFunction(() => location.hash === "#/events");
      await page.locator("input[name=from]").fill("2030-01-01T08:00");
      await page.waitForFunction(() => location.hash.includes("from=2030-01-01T00%3A00%3A00.000Z"));
      await page.getByText("Nothing fits these filters").waitFor();
    }),

    "pages: more rows, none twice, the focus goes on": visit("#/events", async (page) => {
      await page.getByRole("button", { name: "Show more" }).click();
      await page.waitForFunction(() => document.querySelectorAll("table.events tbody tr").length === 100);
      const ids = await page.locator("table.events tbody tr").evaluateAll((all) => all.map((row) => row.dataset.id));
      same(new Set(ids).size, 100, "rows");
      same(await focusedRow(page), gateway.world.events[50].id, "the focus");
    }),

    "redrive one, and see it owed": visit(() => `#/events/${dead().id}`, async (page) => {
      const row = dead();
      await page.getByRole("button", { name: "Redrive", exact: true }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Redrive" }).click();
      await page.locator(".event-sub .badge", { hasText: "Owed" }).waitFor();
      same(posts().map((p) => p.path), [`/v1/events/${row.id}/redrive`], "what was asked");
      await page.locator(".step-title", { hasText: "Redrive by operator[0]" }).waitFor();
    }),

    "discard one wants a reason": visit(() => `#/events/${dead().id}`, async (page) => {
      await page.getByRole("button", { name: "Discard", exact: true }).click();
      const box = page.locator("dialog[open]");
      await box.getByRole("button", { name: "Discard" }).click();
      same(await box.locator("textarea").getAttribute("aria-invalid"), "true", "without a reason");
      same(posts(), [], "without a reason nothing is asked");
      await box.locator("textarea").fill("a test order");
      await box.getByRole("button", { name: "Discard" }).click();
      await page.locator(".event-sub .badge", { hasText: "Discarded" }).waitFor();
      same(posts()[0].body, { reason: "a test order" }, "the reason");
    }),

    "unmask asks first, and is not repeated by itself": visit(() => `#/events/${dead().id}`, async (page) => {
      if ((await page.locator("main").innerText()).includes("jane@example.com")) throw new Error("not masked");
      await page.getByRole("button", { name: "Unmask" }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Unmask" }).click();
      await page.getByText("jane@example.com").first().waitFor();
      same(gateway.asked.filter((one) => one.query.unmask === "true").length, 1, "unmasked looks");
    }),

    "copy the id": async (browser) => {
      const { page, context } = await open(browser, base, { permissions: ["clipboard-read", "clipboard-write"] });
      await attach(page);
      await signIn(page, base, token, `#/events/${dead().id}`);
      await page.getByRole("button", { name: "Copy id" }).first().click();
      await page.getByText("Copied").waitFor();
      same(await page.evaluate(() => navigator.clipboard.readText()), dead().id, "the clipboard");
      await context.close();
    },

    "redrive many: a plan first, progress, then the end": visit("#/dead?source=shop", async (page) => {
      gateway.pace = 60;
      const before = gateway.world.events.filter((e) => e.state === "dead" && e.source === "shop").length;
      await page.getByRole("button", { name: "Redrive all of these…" }).click();
      const box = page.locator("dialog[open]");
      await box.getByText(`${before} deliveries will be sent again`).waitFor();
      same(posts().map((p) => p.body.plan), [true], "only a plan so far");
      await box.locator("input[type=number]").fill("5");
      await box.locator("input[type=number]").blur();
      await page.waitForFunction((s) => document.querySelector("dialog .plan")?.textContent.includes(`about ${s} s`), Math.ceil(before / 5));
      await box.getByRole("button", { name: "Redrive them" }).click();
      await page.locator(".job progress").waitFor();
      await page.waitForFunction(() => document.querySelector(".job progress")?.value > 0, undefined, { timeout: 30000 });
      same(posts().at(-1).body, { state: "dead", source: "shop", rate: 5, count: before }, "what was asked");
      await page.locator(".job .badge", { hasText: "Done" }).waitFor({ timeout: 60000 });
      await page.getByText("No dead letters").waitFor();
    }),

    "redrive many: stop; and a count that has changed makes a new plan": visit("#/dead", async (page) => {
      gateway.pace = 300;
      const group = page.locator("main table tbody tr").first();
      await group.getByRole("button", { name: "Redrive…" }).click();
      const box = page.locator("dialog[open]");
      await box.getByRole("button", { name: "Redrive them" }).and(page.locator(":enabled")).waitFor();
      const { filter } = { filter: posts().at(-1).body };
      const hidden = gateway.world.events.find((e) => e.state === "dead" && e.source === filter.source && e.reason === filter.error && e.destination === filter.destination);
      hidden.state = "owed";
      await box.getByRole("button", { name: "Redrive them" }).click();
      await box.getByText("The number has changed since the plan").waitFor();
      await box.getByRole("button", { name: "Redrive them" }).and(page.locator(":enabled")).click();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.locator(".job .badge", { hasText: "Stopped" }).waitFor();
    }),

    "dead letters: the list of a group is of its reason exactly": visit("#/dead", async (page) => {
      const rows = gateway.world.events.filter((e) => e.state === "dead");
      // A part of the text would find this one, too.
      rows[1].reason = `${rows[0].reason}_of_another_kind`;
      await page.reload();
      await settled(page);
      const wanted = rows.filter((e) => e.reason === rows[0].reason && e.source === rows[0].source && e.destination === rows[0].destination);
      const group = page.locator("main table tbody tr").filter({ has: page.locator(".mono", { hasText: new RegExp(`^${rows[0].reason}$`) }) }).filter({ hasText: `${rows[0].source} → ${rows[0].destination}` });
      await group.getByRole("link", { name: "List" }).click();
      await page.waitForFunction((code) => location.hash.includes(`reason=${code}`), rows[0].reason);
      await settled(page);
      same(await page.locator("table.events tbody tr").evaluateAll((all) => all.map((row) => row.dataset.id)), wanted.map((e) => e.id), "rows");
    }),

    "too many requests: it waits as told, and asks again": visit("#/events", async (page) => {
      let turned = 0;
      await page.route("**/v1/audit*", (route) => {
        turned += 1;
        return turned > 1 ? route.fallback() : route.fulfill({ status: 429, contentType: "application/problem+json", headers: { "retry-after": "1" }, body: '{"code":"too_many_requests"}' });
      });
      await page.evaluate(() => { location.hash = "#/audit"; });
      await page.locator("table tbody tr").first().waitFor();
      same(await page.locator(".trouble").count(), 0, "troubles");
      same(turned, 2, "requests");
    }),

    "pause with a reason, and resume": visit("#/sources/wechat", async (page) => {
      await page.getByRole("button", { name: "Pause…" }).click();
      const box = page.locator("dialog[open]");
      await box.locator("textarea").fill("an update");
      await box.getByRole("button", { name: "Pause delivery" }).click();
      await page.locator("main .badge", { hasText: "Paused" }).first().waitFor();
      const asked = posts()[0];
      same([asked.path, asked.query], ["/v1/sources/wechat/pause", { destination: "main", reason: "an update" }], "what was asked");
      await page.getByRole("button", { name: "Resume", exact: true }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Resume" }).click();
      await page.locator("main .badge", { hasText: "Delivering" }).waitFor();
    }),

    "paused: by whom, since when and why; the whole source and a destination end each by itself": visit("#/sources/shop", async (page) => {
      const row = (name) => page.locator("main table").first().locator("tbody tr", { hasText: name });
      const pause = async (button) => {
        await button.click();
        const box = page.locator("dialog[open]");
        await box.locator("textarea").fill("an update <b>now</b>");
        await box.getByRole("button", { name: "Pause delivery" }).click();
        await box.waitFor({ state: "detached" });
      };
      const resume = async (button) => {
        await button.click();
        await page.locator("dialog[open]").getByRole("button", { name: "Resume" }).click();
        await page.locator("dialog").waitFor({ state: "detached" });
      };
      await pause(row("ledger").getByRole("button", { name: "Pause…" }));
      await page.locator(".notice", { hasText: "operator[0] paused ledger" }).getByText("Reason: an update <b>now</b>").waitFor();
      await pause(page.getByRole("button", { name: "Pause all…" }));
      await page.locator(".notice", { hasText: "operator[0] paused the whole source" }).waitFor();
      await row("main").getByText("with the whole source").waitFor();
      await resume(row("ledger").getByRole("button", { name: "Resume" }));
      await page.getByText("Still paused: the whole source is").waitFor();
      await row("ledger").getByText("with the whole source").waitFor();
      await resume(page.getByRole("button", { name: "Resume all" }));
      await row("main").getByRole("button", { name: "Pause…" }).waitFor();
      same(await page.locator("main .notice").count(), 0, "notices");
      // Each by itself: all of it ends with one word, too.
      await pause(row("main").getByRole("button", { name: "Pause…" }));
      await row("main").getByRole("button", { name: "Resume" }).waitFor();
      await pause(row("ledger").getByRole("button", { name: "Pause…" }));
      await resume(page.getByRole("button", { name: "Resume all" }));
      await row("ledger").getByRole("button", { name: "Pause…" }).waitFor();
      await row("main").getByRole("button", { name: "Pause…" }).waitFor();
      // In the list: of a source that goes on otherwise, which is paused.
      await pause(row("ledger").getByRole("button", { name: "Pause…" }));
      await row("ledger").getByRole("button", { name: "Resume" }).waitFor();
      await page.evaluate(() => { location.hash = "#/sources"; });
      await page.locator("tr[data-id=shop]").getByText("Paused: ledger · operator[0]").waitFor();
    }),

    "hundreds of sources: the worst on the overview, and a search among all": visit("#/audit", async (page) => {
      const { sources } = gateway.world;
      const good = sources.find((s) => s.name === "adyen");
      for (let n = 0; n < 300; n += 1) sources.push({ ...good, name: `branch-${n}`, path: `/branches/${n}`, health: n === 299 ? "quiet" : "good" });
      await page.evaluate(() => { location.hash = "#/overview"; });
      const panel = page.locator("section.panel", { hasText: "Rejected share" });
      await panel.getByRole("link", { name: "All 306 sources" }).waitFor();
      same(await panel.locator("tbody tr").count(), 10, "rows on the overview");
      same(await panel.getByRole("link", { name: "branch-299" }).count(), 1, "the quiet one is among them");
      await panel.getByRole("link", { name: "All 306 sources" }).click();
      await page.locator("tr[data-id=shop]").waitFor();
      same(await page.locator("main tbody tr").count(), 306, "rows of all");
      await page.keyboard.press("/");
      await page.keyboard.type("BRANCHES/29");
      await page.waitForFunction(() => location.hash.includes("text=BRANCHES%2F29"));
      same(await page.locator("main tbody tr").count(), 11, "rows that fit");
      await page.locator("select[name=health]").selectOption("quiet");
      await page.waitForFunction(() => location.hash.includes("health=quiet"));
      same(await page.locator("main tbody tr").evaluateAll((all) => all.map((row) => row.dataset.id)), ["branch-299"], "the one");
      await page.locator("select[name=health]").selectOption("failing");
      await page.getByText("Nothing fits these filters").waitFor();
    }),

    "where nothing is yet, a command says how to begin": visit("#/audit", async (page) => {
      const json = { events: { events: [], next: null }, sources: { sources: [], rules_digest: "" } };
      gateway.instead = (method, path) => (json[path.split("/")[2]] ? { status: 200, type: "application/json", json: json[path.split("/")[2]] } : null);
      for (const [view, command] of [["events", "callseal send SOURCE"], ["sources", "callseal init PROVIDER --forward URL"]]) {
        await page.evaluate((hash) => { location.hash = hash; }, `#/${view}`);
        await page.locator(".empty code", { hasText: command }).waitFor();
      }
      // Filters hide what is there: nothing is to be begun.
      await page.evaluate(() => { location.hash = "#/events?state=dead"; });
      await page.getByText("Nothing fits these filters").waitFor();
      same(await page.locator(".empty code").count(), 0, "commands");
    }),

    "reload shows every diagnostic of bad rules": visit("#/rules", async (page) => {
      gateway.badRules = true;
      await page.getByRole("button", { name: "Reload" }).click();
      await page.locator("pre", { hasText: "there is no key `forwrad` here" }).waitFor();
      await page.getByText("the old ones stay in force").waitFor();
    }),

    "refusals: a cause leads to its list": visit("#/refusals", async (page) => {
      await page.getByRole("button", { name: "stale" }).click();
      await page.waitForFunction(() => location.hash.includes("reason=stale"));
      await settled(page);
      const reasons = await page.locator("table tbody td.c-type .mono").evaluateAll((all) => [...new Set(all.map((one) => one.innerText.trim()))]);
      same(reasons, ["stale"], "reasons");
    }),

    "without a stream the page asks again": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      await page.route("**/v1/stream*", (route) => route.fulfill({ status: 503, body: "" }));
      await page.clock.install();
      await signIn(page, base, token, "#/events");
      await settled(page);
      await page.locator(".flow.polling").waitFor();
      gateway.world.events.unshift({ ...gateway.world.events[0], id: "evt_polled", type: "polled.event" });
      await page.clock.runFor(6000);
      await page.getByRole("button", { name: "1 new: show" }).waitFor();
      await context.close();
    },
  };
  if (streams) {
    cases["live: new rows wait, rows change in place, nothing jumps"] = visit("#/events", async (page) => {
      await page.locator(".flow.live").waitFor();
      const first = await page.locator("table.events tbody tr").first().getAttribute("data-id");
      const base0 = gateway.world.events.find((e) => e.id === first);
      await page.keyboard.press("j");
      for (const n of [1, 2]) gateway.tell("accepted", { ...base0, id: `evt_new${n}`, type: `new.kind.${n}`, received_at: new Date().toISOString() });
      await page.getByRole("button", { name: "2 new: show" }).waitFor();
      same(await page.locator("table.events tbody tr").first().getAttribute("data-id"), first, "the first row");
      gateway.tell("state", { id: first, state: "delivered", reason: "", by: null });
      await page.locator(`tr[data-id="${first}"] .badge`, { hasText: "Delivered" }).waitFor();
      same(await focusedRow(page), first, "the focus stays");
      await page.keyboard.press("n");
      await page.getByText("new.kind.2").waitFor();
      same(await focusedRow(page), first, "the focus stays with new rows");
      gateway.tell("accepted", { ...base0, id: "evt_new3", source: "other" });
      await page.locator("select[name=source]").selectOption("shop");
      await page.waitForFunction(() => location.hash.includes("source=shop"));
      await settled(page);
      gateway.tell("accepted", { ...base0, id: "evt_new4", source: "wechat" });
      gateway.tell("accepted", { ...base0, id: "evt_new5", source: "shop" });
      await page.getByRole("button", { name: "1 new: show" }).waitFor();
      await page.getByLabel("Show new ones at once").check();
      await page.locator("tr[data-id=evt_new5]").waitFor();
    });
    cases["live: the overview's figures"] = visit("#/overview", async (page) => {
      await page.locator(".flow.live").waitFor();
      gateway.tell("stats", { owed: 4711, dead: 12, rates: { accepted: 0, duplicate: 0, rejected: 0, refused: 0, delivered: 0, failed: 0 }, acknowledge: { p50_ms: null, p99_ms: null }, delivery: null });
      await page.locator(".tile", { hasText: "4,711" }).waitFor();
    });
  }
  return cases;
};
