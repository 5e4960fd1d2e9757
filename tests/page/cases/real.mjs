// A gateway as it is: what it serves, and one walk through all views with whatever it holds.

import { open, settled, signIn } from "../browser.mjs";

const CSP = {
  "default-src": "'none'",
  "script-src": "'self'",
  "style-src": "'self'",
  "connect-src": "'self'",
  "img-src": "'self'",
  "form-action": "'self'",
  "base-uri": "'none'",
  "frame-ancestors": "'none'",
  "require-trusted-types-for": "'script'",
};
const VIEWS = ["overview", "events", "dead", "refusals", "sources", "audit", "rules"];

export default ({ base, token, viewer }) => ({
  "as it is: the page's headers and files": async (browser) => {
    const { context } = await open(browser, base);
    const page = await context.request.get(`${base}/`);
    if (page.status() !== 200) throw new Error(`GET / is ${page.status()}`);
    const said = page.headers()["content-security-policy"] ?? "";
    const found = Object.fromEntries(said.split(";").map((one) => one.trim().split(/\s+(.*)/)).map(([name, value]) => [name, value]));
    for (const [name, value] of Object.entries(CSP)) {
      if (found[name] !== value) throw new Error(`CSP ${name}: ${found[name]}`);
    }
    if (page.headers()["x-content-type-options"] !== "nosniff") throw new Error("no nosniff");
    const text = await page.text();
    if (/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/i.test(text)) throw new Error("inline script or style");
    for (const path of ["/v1/overview", "/v1/events", "/v1/stream", "/session"]) {
      const answer = await context.request.get(base + path);
      if (answer.status() !== 401) throw new Error(`${path} without a session: ${answer.status()}`);
    }
    await context.close();
  },

  "as it is: sign-in, every view, sign-out": async (browser) => {
    for (const key of [token, viewer].filter(Boolean)) {
      const { page, context, wrongs } = await open(browser, base);
      await signIn(page, base, key);
      for (const view of VIEWS) {
        await page.goto(`${base}/#/${view}`);
        await page.locator(`nav a[data-view=${view}][aria-current=page]`).waitFor({ state: "attached" });
        await settled(page);
        const trouble = page.locator(".trouble");
        if (await trouble.count() > 0) throw new Error(`${view}: ${await trouble.first().textContent()}`);
        const row = page.locator("main [data-row][href]").first();
        if ((view === "events" || view === "sources") && await row.count() > 0) {
          await row.click();
          await page.locator("[data-back]").waitFor();
          await settled(page);
          if (await trouble.count() > 0) throw new Error(`one of ${view}: ${await trouble.first().textContent()}`);
        }
      }
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.locator("input[name=token]").waitFor();
      const after = await context.request.get(`${base}/v1/overview`);
      if (after.status() !== 401) throw new Error(`after signing out: ${after.status()}`);
      if (wrongs.length > 0) throw new Error(wrongs.join("\n"));
      await context.close();
    }
  },
});
