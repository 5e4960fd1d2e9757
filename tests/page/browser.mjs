// A browser that notes everything it should not have seen.

import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.env.CALLSEAL_PAGE_MODULES ?? process.cwd(), "x.js"));
export const { chromium } = require("playwright-core");
export const axePath = require.resolve("axe-core/axe.min.js");

export const BROWSER = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => existsSync(path));

export function launch() {
  return chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
}

/** A page whose `wrongs` fill with console errors, violations, dialogs, and requests to elsewhere. */
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB", timezoneId: "Asia/Shanghai", ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  const wrongs = [];
  const { host } = new URL(base);
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (v) => console.error(`CSP ${v.violatedDirective} ${v.blockedURI}`));
  });
  page.on("console", (message) => {
    // The browser says of itself that an answer was 401, 404 or 409: that is the gateway's word.
    const own = message.text().startsWith("Failed to load resource") || message.text().includes("net::ERR_");
    if (["error", "warning"].includes(message.type()) && !own) wrongs.push(`console: ${message.text()}`);
    if (message.text().includes("xss")) wrongs.push(`console mark: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrongs.push(`error: ${error.stack ?? error}`));
  page.on("dialog", (dialog) => {
    wrongs.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (["http:", "https:", "ws:"].includes(url.protocol) && url.host !== host) wrongs.push(`request to ${url.href}`);
  });
  page.on("popup", () => wrongs.push("a popup"));
  return { page, context, wrongs };
}

export async function signIn(page, base, token, hash = "#/overview") {
  await page.goto(`${base}/${hash}`);
  await page.locator("input[name=token]").fill(token);
  await page.keyboard.press("Enter");
  await page.locator("main h1").first().waitFor();
  await page.locator("#rail").waitFor({ state: "attached" });
}

/** Until nothing loads any more. */
export async function settled(page) {
  await page.waitForFunction(() => !document.querySelector(".loading, [aria-busy=true]") && document.querySelector("main h1"));
}
