// What a person does: keys, filters, changes, and what comes in meanwhile.

import { open, settled, signIn } from "../browser.mjs";

const same = (found, wanted, what) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
};

export default ({ base, gateway, attach, token, streams }) => {
  const visit = (name, hash, run, options) => async (browser) => {
    const { page, context, wrongs } = await open(browser, base, options);
    await attach(page);
    await signIn(page, base, token, typeof hash === "function" ? hash() : hash);
    await settled(page);
    await run(page, context);
    await context.close();
    if (wrongs.length > 0) throw new Error([...new Set(wrongs)].slice(0, 6).join("\n"));
  };
  const posts = () => gateway.asked.filter((one) => one.method === "POST" && one.path !== "/session");
  const focusedRow = (page) => page.evaluate(() => document.activeElement?.dataset.row);
  const dead = () => gateway.world.events.find((e) => e.state === "dead");

  const cases = {
    "keyboard: j, k, Enter, Escape, /, g, ?": visit("keyboard", "#/events", async (page) => {
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

    "filters live in the address: reload, back, link": visit("filters", "#/events", async (page) => {
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

    "pages: more rows, none twice, the focus goes on": visit("pages", "#/events", async (page) => {
      await page.getByRole("button", { name: "Show more" }).click();
      await page.waitForFunction(() => document.querySelectorAll("table.events tbody tr").length === 100);
      const ids = await page.locator("table.events tbody tr").evaluateAll((all) => all.map((row) => row.dataset.id));
      same(new Set(ids).size, 100, "rows");
      same(await focusedRow(page), gateway.world.events[50].id, "the focus");
    }),

    "redrive one, and see it owed": visit("redrive", () => `#/events/${dead().id}`, async (page) => {
      const row = dead();
      await page.getByRole("button", { name: "Redrive", exact: true }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Redrive" }).click();
      await page.locator(".event-sub .badge", { hasText: "Owed" }).waitFor();
      same(posts().map((p) => p.path), [`/v1/events/${row.id}/redrive`], "what was asked");
      await page.locator(".step-title", { hasText: "Redrive by operator[0]" }).waitFor();
    }),

    "discard one wants a reason": visit("discard", () => `#/events/${dead().id}`, async (page) => {
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

    "unmask asks first, and is not repeated by itself": visit("unmask", () => `#/events/${dead().id}`, async (page) => {
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

    "redrive many: a plan first, progress, then the end": visit("many", "#/dead?source=shop", async (page) => {
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
      await page.waitForFunction(() => document.querySelector(".job progress")?.value > 0, undefined, { timeout: 8000 });
      same(posts().at(-1).body, { state: "dead", source: "shop", rate: 5, count: before }, "what was asked");
      await page.locator(".job .badge", { hasText: "Done" }).waitFor({ timeout: 15000 });
      await page.getByText("No dead letters").waitFor();
    }),

    "redrive many: stop; and a count that has changed makes a new plan": visit("stop", "#/dead", async (page) => {
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

    "dead letters: the list of a group is of its reason exactly": visit("list", "#/dead", async (page) => {
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

    "too many requests: it waits as told, and asks again": visit("patience", "#/events", async (page) => {
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

    "pause with a reason, and resume": visit("pause", "#/sources/wechat", async (page) => {
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

    "reload shows every diagnostic of bad rules": visit("reload", "#/rules", async (page) => {
      gateway.badRules = true;
      await page.getByRole("button", { name: "Reload" }).click();
      await page.locator("pre", { hasText: "there is no key `forwrad` here" }).waitFor();
      await page.getByText("the old ones stay in force").waitFor();
    }),

    "refusals: a cause leads to its list": visit("refusals", "#/refusals", async (page) => {
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
    cases["live: new rows wait, rows change in place, nothing jumps"] = visit("live", "#/events", async (page) => {
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
    cases["live: the overview's figures"] = visit("stats", "#/overview", async (page) => {
      await page.locator(".flow.live").waitFor();
      gateway.tell("stats", { owed: 4711, dead: 12, rates: { accepted: 0, duplicate: 0, rejected: 0, refused: 0, delivered: 0, failed: 0 }, acknowledge: { p50_ms: null, p99_ms: null }, delivery: null });
      await page.locator(".tile", { hasText: "4,711" }).waitFor();
    });
  }
  return cases;
};
