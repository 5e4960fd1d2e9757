// Tests of the admin page in a real browser. Without arguments against the mock gateway; with
// `--url URL --token TOKEN [--viewer TOKEN]` against a real one: its files and headers are real, its
// pages are walked once as they are, and for all other tests the API's answers are put in place of
// the gateway's, so that both run the same tests. With `--gateway BINARY` one is started, hostile
// callbacks are sent to it, and nothing is put in place of its answers.

import { launch } from "./browser.mjs";
import { Gateway, OPERATOR, VIEWER } from "./mock/handler.mjs";
import { serve } from "./mock/server.mjs";
import access from "./cases/access.mjs";
import act from "./cases/act.mjs";
import hostile from "./cases/hostile.mjs";
import look from "./cases/look.mjs";
import real from "./cases/real.mjs";
import site, { prepare } from "./cases/site.mjs";
import tongue from "./cases/tongue.mjs";
import work from "./cases/work.mjs";
import { startSite } from "./site.mjs";

const argument = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? null : process.argv[at + 1];
};
const own = argument("gateway") && (await startSite(argument("gateway")));
const url = own?.url ?? argument("url")?.replace(/\/$/, "");
const only = argument("only");
const shots = argument("shots");

/** Puts the mock's answers in place of a real gateway's. */
function instead(gateway) {
  return async (page) => {
    let cookie = null;
    await page.route(/\/(v1\/|session$|session\?)/, async (route) => {
      const request = route.request();
      const at = new URL(request.url());
      // A stream cannot be put in place: the page asks every few seconds instead.
      if (at.pathname === "/v1/stream") return route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"code":"too_many_streams"}' });
      const answer = gateway.answer({ method: request.method(), path: at.pathname, query: at.searchParams, body: request.postData() ? request.postDataJSON() : undefined, cookie, csrf: request.headers()["x-callseal-csrf"] });
      cookie = /session=(\w+)/.exec(answer.cookie ?? "")?.[1] ?? cookie;
      return route.fulfill({ status: answer.status, contentType: answer.type, body: answer.json === undefined ? "" : JSON.stringify(answer.json) });
    });
  };
}

const gateway = new Gateway();
const server = url ? { url, close() {} } : await serve(gateway);
const setting = { base: server.url, gateway, attach: url ? instead(gateway) : async () => {}, token: OPERATOR, viewer: VIEWER, streams: !url, shots };
const groups = own ? [site(own, await prepare(own)), real({ base: url, token: own.operator, viewer: own.viewer, shots })] : [
  real({ base: server.url, token: argument("token") ?? OPERATOR, viewer: argument("viewer") ?? (url ? null : VIEWER), shots: url ? shots : null }),
  look(setting),
  act(setting),
  work(setting),
  tongue(setting),
  access(setting),
  hostile(setting),
];

const browser = await launch();
let passed = 0;
const failed = [];
for (const [name, run] of groups.flatMap((group) => Object.entries(group))) {
  if (only && !name.includes(only)) continue;
  gateway.world = new Gateway().world;
  gateway.instead = () => null;
  gateway.asked = [];
  gateway.pace = undefined;
  gateway.badRules = false;
  const began = Date.now();
  try {
    await run(browser);
    passed += 1;
    console.log(`ok    ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed.push(name);
    console.log(`FAIL  ${name}\n      ${String(error.stack ?? error).split("\n").slice(0, 8).join("\n      ")}`);
  }
}
await browser.close();
server.close();
await own?.stop();
console.log(`page: ${passed} passed, ${failed.length} failed`);
process.exit(failed.length > 0 || passed === 0 ? 1 : 0);
