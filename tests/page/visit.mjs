// A visit of one person: signed in, at one view, and nothing wrong in the console at its end.

import { open, settled, signIn } from "./browser.mjs";

export const same = (found, wanted, what) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
};

/** `visit(hash, run, options)`: a test. `hash` may be a function, called when the test begins. */
export const visitor = ({ base, attach, token }) => (hash, run, options = {}) => async (browser) => {
  const { page, context, wrongs } = await open(browser, base, options);
  await attach(page);
  await signIn(page, base, token, typeof hash === "function" ? hash() : hash);
  await settled(page);
  await run(page, context);
  await context.close();
  if (wrongs.length > 0) throw new Error([...new Set(wrongs)].slice(0, 6).join("\n"));
};

/** What was asked of the gateway to change something. */
export const postsTo = (gateway) => gateway.asked.filter((one) => one.method === "POST" && one.path !== "/session");
