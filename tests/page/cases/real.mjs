// A gateway as it is: what it serves, and one walk through all views with whatever it holds.

import { join } from "node:path";

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

const MODES = [["light", "en-GB", 1600], ["dark", "en-GB", 1600], ["light", "zh-CN", 1600], ["dark", "zh-CN", 1600], ["light", "en-GB", 360], ["dark", "zh-CN", 360]];

/** Every view in sizes, themes and languages, for somebody to look at. */
const pictures = ({ base, token, shots }) => ({
  "as it is: pictures": async (browser) => {
    for (const [colorScheme, locale, width] of MODES) {
      const { page, context } = await open(browser, base, { colorScheme, locale, viewport: { width, height: 900 } });
      await signIn(page, base, token);
      const take = async (name) => {
        await settled(page);
        await page.waitForTimeout(150);
        const high = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.screenshot({ path: join(shots, `real-${name}-${width}-${colorScheme}-${locale.slice(0, 2)}.png`), fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(high, 1900) } });
      };
      for (const view of VIEWS) {
        await page.goto(`${base}/#/${view}`);
        await take(view);
      }
      for (const view of ["events", "sources"]) {
        await page.goto(`${base}/#/${view}`);
        await settled(page);
        const href = await page.locator("main [data-row][href]").first().getAttribute("href");
        await page.goto(base + "/" + href);
        await take(`${view}-one`);
      }
      await context.close();
    }
  },
});

export default ({ base, token, viewer, shots }) => ({
  ...(shots ? pictures({ base, token, shots }) : {}),
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
