// At work, when things go wrong: a session that ends, answers that come late or not at all, views that
// overtake each other, and what must not be lost or done twice meanwhile.

import { open, settled, signIn } from "../browser.mjs";
import { overview } from "../mock/data.mjs";
import { postsTo, same, visitor } from "../visit.mjs";

export default (setting) => {
  const { base, gateway, attach, token, viewer, streams } = setting;
  const visit = visitor(setting);
  const posts = () => postsTo(gateway);
  const dead = () => gateway.world.events.find((e) => e.state === "dead");
  const again = async (page, key) => {
    await page.locator("dialog.lock input[name=token]").fill(key);
    await page.keyboard.press("Enter");
  };

  const cases = {
    "a session ends while a reason is typed: it is still there, and nothing is done twice": visit(() => `#/events/${dead().id}`, async (page) => {
      const row = dead();
      await page.getByRole("button", { name: "Discard", exact: true }).click();
      const box = page.locator("dialog[open]:not(.lock)");
      await box.locator("textarea").fill("a long reason, typed at night");
      gateway.sessions.clear();
      await box.getByRole("button", { name: "Discard" }).click();
      const lock = page.locator("dialog.lock");
      await lock.getByText("what you typed is still there").waitFor();
      same(await page.locator("main h1").isVisible(), false, "what is behind the lock is seen");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Escape");
      same(await lock.isVisible(), true, "the lock after Escape");
      same(row.state, "dead", "the state under the lock");
      await again(page, "not-a-token");
      await lock.getByText("This token is not known here").waitFor();
      await again(page, token);
      await lock.waitFor({ state: "detached" });
      same(await box.locator("textarea").inputValue(), "a long reason, typed at night", "what was typed");
      await box.getByText("nothing was changed").waitFor();
      same(row.state, "dead", "the state after signing in");
      await box.getByRole("button", { name: "Discard" }).click();
      await page.locator(".event-sub .badge", { hasText: "Discarded" }).waitFor();
    }),

    "a session ends over an unmasked event: it has its masks again, and what was typed stays": visit(() => `#/events/${dead().id}`, async (page) => {
      await page.getByRole("button", { name: "Unmask" }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Unmask" }).click();
      await page.getByText("jane@example.com").first().waitFor();
      await page.getByRole("button", { name: "Discard", exact: true }).click();
      const box = page.locator("dialog[open]:not(.lock)");
      await box.locator("textarea").fill("typed at night");
      gateway.sessions.clear();
      await box.getByRole("button", { name: "Discard" }).click();
      await page.locator("dialog.lock").waitFor();
      const there = (text) => page.evaluate((part) => document.documentElement.outerHTML.includes(part), text);
      for (const part of ["jane@example.com", "4242 4242 4242 4242", dead().key]) same(await there(part), false, `${part} under the lock`);
      await again(page, token);
      await page.getByText("j***@e***.com").first().waitFor();
      same(await there("jane@example.com"), false, "without masks after signing in");
      same(gateway.asked.filter((one) => one.query.unmask === "true").length, 1, "unmasked looks");
      same(await box.locator("textarea").inputValue(), "typed at night", "what was typed");
    }),

    "a session ends and somebody else signs in: nothing of the first is left": visit("#/events?text=evt", async (page) => {
      await page.evaluate(() => { window.first = true; });
      gateway.sessions.clear();
      await page.locator("a[data-row]").first().click();
      await page.locator("dialog.lock").waitFor();
      await again(page, viewer);
      await page.waitForFunction(() => window.first === undefined);
      await page.locator("#rail", { hasText: "viewer[0]" }).waitFor({ state: "attached" });
    }),

    "views do not overtake each other": visit("#/audit", async (page) => {
      await page.route("**/v1/sources", async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 700));
        await route.fallback().catch(() => {});
      });
      for (const slow of ["events", "dead", "refusals"]) {
        await page.evaluate((view) => { location.hash = `#/${view}`; }, slow);
        await page.locator(`nav a[data-view=${slow}][aria-current=page]`).waitFor({ state: "attached" });
        await page.evaluate(() => { location.hash = "#/audit"; });
        await page.locator("h1", { hasText: "Audit" }).waitFor();
        await page.waitForTimeout(900);
        same(await page.locator("main h1").allInnerTexts(), ["Audit"], `after ${slow}`);
        await page.locator("main table tbody tr").first().waitFor();
        // Nor does it write its filters into the other's address.
        same(await page.evaluate(() => location.hash), "#/audit", "the address");
      }
    }),

    "the focus comes back from a dialog, and is not lost with its button": visit(() => `#/events/${dead().id}`, async (page) => {
      const focused = () => page.evaluate(() => document.activeElement.innerText.trim());
      await page.getByRole("button", { name: "Discard", exact: true }).focus();
      await page.keyboard.press("Enter");
      await page.locator("dialog[open] textarea").waitFor();
      same(await page.evaluate(() => document.activeElement.tagName), "TEXTAREA", "the focus in the dialog");
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
      same(await focused(), "Discard", "after Escape");
      await page.keyboard.press("Enter");
      await page.locator("dialog[open] textarea").fill("a test");
      await page.locator("dialog[open]").getByRole("button", { name: "Discard" }).click();
      await page.locator(".event-sub .badge", { hasText: "Discarded" }).waitFor();
      same(await page.evaluate(() => document.activeElement.tagName), "H1", "after the change");
    }),

    "a question is closed with its view": visit(() => `#/events/${dead().id}`, async (page) => {
      await page.getByRole("button", { name: "Redrive", exact: true }).click();
      await page.locator("dialog[open]").waitFor();
      await page.evaluate(() => { location.hash = "#/audit"; });
      await page.locator("h1", { hasText: "Audit" }).waitFor();
      same(await page.locator("dialog").count(), 0, "dialogs");
      same(posts(), [], "what was asked");
    }),

    "no answer to a change: it is not said to have failed": visit(() => `#/events/${dead().id}`, async (page) => {
      await page.route("**/redrive", (route) => route.abort());
      await page.getByRole("button", { name: "Redrive", exact: true }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Redrive" }).click();
      await page.locator("dialog[open]").getByText("it may have been done or not").waitFor();
      await page.getByText("What you see may be old").waitFor();
    }),

    "an answer that does not come is given up, and not asked for again by itself": async (browser) => {
      const { page, context } = await open(browser, base);
      await attach(page);
      await page.clock.install();
      await signIn(page, base, token, "#/audit");
      await settled(page);
      let silent = true;
      let asked = 0;
      // Nobody hears of it before the page gives it up.
      await page.route("**/v1/rules", (route) => {
        asked += 1;
        return silent ? undefined : route.fallback();
      });
      // The limit is the browser's own clock: it is made short here.
      await page.evaluate(() => {
        const timeout = AbortSignal.timeout.bind(AbortSignal);
        AbortSignal.timeout = (ms) => timeout(ms / 20);
        window.patientAgain = () => { AbortSignal.timeout = timeout; };
      });
      await page.evaluate(() => { location.hash = "#/rules"; });
      await page.getByText("takes too long to answer").waitFor();
      await page.clock.runFor(6000);
      await page.getByText("The gateway answers again").waitFor();
      same(asked, 1, "questions that are slow");
      // A busy machine may need longer for an answer than the page now waits.
      await page.evaluate(() => window.patientAgain());
      silent = false;
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByText("rules/shop.toml").first().waitFor();
      await context.close();
    },

    "what got no answer at all is asked again by itself, when there is one": visit("#/audit", async (page) => {
      let gone = true;
      await page.route("**/v1/rules", (route) => (gone ? route.abort() : route.fallback()));
      await page.evaluate(() => { location.hash = "#/rules"; });
      await page.locator(".trouble[data-code=offline]").waitFor();
      gone = false;
      // Whatever is asked next.
      await page.evaluate(() => import("/api.js").then((api) => api.get("/v1/overview")));
      await page.getByText("rules/shop.toml").first().waitFor();
    }),

    "a list that could not be had is not an empty one later": visit("#/audit", async (page) => {
      gateway.instead = (method, path) => (path === "/v1/events" ? { status: 503, type: "application/problem+json", json: { status: 503, code: "io", detail: "", title: "" } } : null);
      await page.evaluate(() => { location.hash = "#/events"; });
      await page.getByText("the disk did not answer a read").waitFor();
      gateway.instead = () => null;
      await page.evaluate(() => { location.hash = "#/audit"; });
      await page.locator("h1", { hasText: "Audit" }).waitFor();
      await page.evaluate(() => { location.hash = "#/events"; });
      // Whichever comes first: a busy machine may be slow, and a list may not be empty meanwhile.
      await page.locator("table.events tbody tr, main .empty").first().waitFor();
      same(await page.locator("main .empty").count(), 0, "lists that are said to be empty");
    }),

    "dead letters whose reason has masks: listed and redriven as a group, as they are shown": visit("#/audit", async (page) => {
      const some = gateway.world.events.filter((e) => e.state === "dead" && e.source === dead().source && e.destination === dead().destination).slice(0, 2);
      for (const one of some) one.reason = "refused for j***@e***.com";
      await page.evaluate(() => { location.hash = "#/dead"; });
      const row = page.locator("tbody tr", { hasText: "j***@e***.com" });
      await row.getByRole("link", { name: "List" }).click();
      await page.locator("table.events tbody tr").first().waitFor();
      same(await page.locator("table.events tbody tr").count(), 2, "listed");
      await page.goBack();
      await row.getByRole("button", { name: "Redrive" }).click();
      const box = page.locator("dialog[open]");
      await box.getByText("2 deliveries will be sent again").waitFor();
      await box.getByText("compared as shown").waitFor();
      await box.getByRole("button", { name: "Redrive them" }).click();
      await box.waitFor({ state: "detached" });
      const { body } = posts().at(-1);
      same([body.error, body.masked, body.count], ["refused for j***@e***.com", true, 2], "what was asked");
    }),

    "dead letters without a type: only these, not all": visit("#/dead?by=type", async (page) => {
      const bare = gateway.world.events.filter((e) => e.state === "dead" && e.source === dead().source && e.destination === dead().destination);
      bare[0].type = "";
      await page.reload();
      await settled(page);
      const row = page.locator("main table tbody tr", { hasText: "(no type)" });
      same(await row.getByRole("link", { name: "List" }).count(), 0, "a list of all");
      await row.getByRole("button", { name: "Redrive…" }).click();
      await page.locator("dialog[open]").getByText("One delivery will be sent again").waitFor();
      same(posts().at(-1).body.type, "", "the type that was asked for");
      await page.locator("dialog[open]", { hasText: "(none)" }).waitFor();
    }),

    "a plan that must wait for others is asked again by itself": visit("#/dead?source=shop", async (page) => {
      let turned = 0;
      await page.route("**/v1/redrive", (route) => {
        turned += 1;
        return turned > 1 ? route.fallback() : route.fulfill({ status: 429, contentType: "application/problem+json", headers: { "retry-after": "1" }, body: '{"code":"too_many_requests"}' });
      });
      await page.getByRole("button", { name: "Redrive all of these…" }).click();
      await page.locator("dialog[open] .plan-count").waitFor();
      same(turned, 2, "plans");
    }),

    "a job that ends with the gateway is not said to run": visit("#/dead?source=shop", async (page) => {
      gateway.pace = 60000;
      await page.getByRole("button", { name: "Redrive all of these…" }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Redrive them" }).and(page.locator(":enabled")).click();
      await page.locator(".job .badge", { hasText: "Running" }).waitFor();
      gateway.world.jobs.length = 0;
      await page.locator(".job .badge", { hasText: "the gateway was restarted" }).waitFor({ timeout: 30000 });
      same(await page.getByRole("button", { name: "Stop" }).count(), 0, "what could be stopped");
    }),

    "much that needs attention leaves the figures in sight": visit("#/audit", async (page) => {
      const many = Array.from({ length: 60 }, (_, n) => ({ severity: "note", code: "unused_key", source: `shop${n}`, destination: null, count: null, since: null, until: null, detail: "", text: "unused_key", facts: { key: "keys[1]" } }));
      const real = overview(gateway.world);
      gateway.instead = (method, path) => (path === "/v1/overview" ? { status: 200, type: "application/json", json: { ...real, attention: many } } : null);
      await page.evaluate(() => { location.hash = "#/overview"; });
      await page.locator(".attention-item").first().waitFor();
      same(await page.locator(".attention-item").count(), 8, "at first");
      await page.getByRole("button", { name: "Show all 60" }).click();
      same(await page.locator(".attention-item").count(), 60, "all");
      same(await page.evaluate(() => document.activeElement.textContent.includes("shop8")), true, "the focus goes on");
    }),

    "a reason is at most 500 bytes": visit(() => `#/events/${dead().id}`, async (page) => {
      await page.getByRole("button", { name: "Discard", exact: true }).click();
      const box = page.locator("dialog[open]");
      await box.locator("textarea").fill("误".repeat(200));
      await box.getByRole("button", { name: "Discard" }).click();
      await box.getByText("At most 500 bytes").waitFor();
      same(posts(), [], "what was asked");
      await box.locator("textarea").fill("误".repeat(160));
      same(await box.locator("textarea").getAttribute("aria-invalid"), null, "after shortening");
    }),

    "commands: one line, quoted, and what is copied is what is seen": async (browser) => {
      const { page, context } = await open(browser, base, { permissions: ["clipboard-read", "clipboard-write"] });
      await attach(page);
      await signIn(page, base, token, "#/audit");
      const names = ["shop; rm -rf ~", "$(reboot)", "`id`", "a'b", "--config=/tmp/x", "a\nreboot\n", "a\u202etxt", "x\r\nid", "\u001b]0;x\u0007"];
      gateway.instead = (method, path) => {
        if (path !== "/v1/refusals/groups") return null;
        const groups = names.map((source) => ({ source, stage: "rejected", reason: "stale", count: 1, first_at: new Date().toISOString(), last_at: new Date().toISOString(), peers: 1, cause: "", mend: "", command: `callseal explain ${source} FILE` }));
        return { status: 200, type: "application/json", json: { groups, kept: 9, seen: 9 } };
      };
      await page.evaluate(() => { location.hash = "#/refusals"; });
      await settled(page);
      const found = [];
      for (const button of await page.getByRole("button", { name: "Copy command" }).all()) {
        await button.click();
        const shown = await button.locator("xpath=preceding-sibling::code").textContent();
        const copied = await page.evaluate(() => navigator.clipboard.readText());
        same(copied, shown, "what was copied");
        found.push(copied.replace(/^callseal explain (.*) FILE$/, "$1"));
      }
      same(found, ["'shop; rm -rf ~'", "'$(reboot)'", "'`id`'", "'a'\\''b'", "-- --config=/tmp/x", "'a⟨LF⟩reboot⟨LF⟩'", "'a⟨U+202E⟩txt'", "'x⟨CR⟩⟨LF⟩id'", "'⟨ESC⟩]0;x⟨BEL⟩'"], "commands");
      await context.close();
    },
  };

  if (streams) {
    cases["live: what becomes dead comes into the list of the dead"] = visit("#/events?state=dead", async (page) => {
      await page.locator(".flow.live").waitFor();
      const owed = gateway.world.events.find((e) => e.state === "owed");
      owed.state = "dead";
      owed.reason = "gave_up:timeout";
      gateway.tell("state", { id: owed.id, state: "dead", reason: owed.reason, by: null });
      await page.getByRole("button", { name: "1 new: show" }).click();
      await page.locator(`tr[data-id="${owed.id}"]`).waitFor();
      const times = await page.locator("table.events tbody tr").evaluateAll((all) => all.map((one) => one.querySelector("time").dateTime));
      same(times, times.toSorted().toReversed(), "the order");
    });
    cases["live: a flood is counted, not drawn"] = visit("#/events", async (page) => {
      await page.locator(".flow.live").waitFor();
      const one = gateway.world.events[0];
      for (let n = 0; n < 900; n += 1) gateway.tell("accepted", { ...one, id: `evt_flood${n}`, received_at: new Date().toISOString() });
      await page.getByRole("button", { name: "More than 500 new: show" }).waitFor();
      same(await page.locator("table.events tbody tr").count(), 50, "rows");
    });
    cases["live: an attempt leaves open what is open, and an unmasked look is not repeated"] = visit(() => `#/events/${dead().id}`, async (page) => {
      await page.locator(".flow.live").waitFor();
      const row = dead();
      await page.locator("details.attempt").first().locator("summary").click();
      await page.getByRole("button", { name: "As received" }).last().click();
      await page.getByRole("button", { name: "Unmask" }).click();
      await page.locator("dialog[open]").getByRole("button", { name: "Unmask" }).click();
      await page.getByText("jane@example.com").first().waitFor();
      row.state = "owed";
      row.attempts += 1;
      gateway.tell("attempt", { id: row.id, source: row.source, destination: row.destination, number: row.attempts, status: 500, error: "status_5xx", took_ms: 3, state: "owed" });
      await page.locator(".event-sub .badge", { hasText: "Owed" }).waitFor();
      same(await page.locator("details.attempt[open]").count(), 1, "open attempts");
      same(await page.getByText("jane@example.com").first().isVisible(), true, "what was unmasked");
      same(gateway.asked.filter((one) => one.query.unmask === "true").length, 1, "unmasked looks");
      await page.getByRole("button", { name: "Mask again" }).click();
      await page.getByRole("button", { name: "Unmask" }).waitFor();
      same(await page.getByText("jane@example.com").count(), 0, "after masking again");
    });
    cases["live: refusals that do not fit the filters are not told"] = visit("#/refusals?reason=stale", async (page) => {
      await page.locator(".flow.live").waitFor();
      const refusal = { number: 9001, at: new Date().toISOString(), source: "shop", peer: "203.0.113.9", method: "POST", path: "/shop", stage: "rejected", reason: "signature_mismatch", detail: "" };
      gateway.tell("refused", refusal);
      gateway.tell("refused", { ...refusal, number: 9002, reason: "stale" });
      await page.getByRole("button", { name: "1 new: show" }).waitFor();
    });
    cases["a gateway that restarts: the stream comes back with the session"] = visit("#/events", async (page) => {
      await page.locator(".flow.live").waitFor();
      gateway.sessions.clear();
      gateway.hangUp?.();
      await page.locator("a[data-row]").first().click();
      await page.locator("dialog.lock").waitFor();
      await again(page, token);
      await page.locator("[data-back]").waitFor();
      await page.locator(".flow.live").waitFor({ timeout: 30000 });
    });
  }
  return cases;
};
