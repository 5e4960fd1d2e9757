// The frame: who is signed in, which view the address names, the keys.

import * as api from "/api.js";
import { h, icon, replace } from "/dom.js";
import { tick, zone } from "/format.js";
import { language, number, speak, t } from "/i18n.js";
import { keys } from "/keys.js";
import { button, say, trouble } from "/widgets.js";
import { audit } from "/views/audit.js";
import { dead } from "/views/dead.js";
import { event } from "/views/event.js";
import { events } from "/views/events.js";
import { overview } from "/views/overview.js";
import { refusals } from "/views/refusals.js";
import { rules } from "/views/rules.js";
import { lock, signin } from "/views/signin.js";
import { source, sources } from "/views/sources.js";

const VIEWS = [
  ["overview", overview, "home"],
  ["events", events, "list"],
  ["dead", dead, "stop"],
  ["refusals", refusals, "shield"],
  ["sources", sources, "plug"],
  ["audit", audit, "pen"],
  ["rules", rules, "book"],
];
const ONE = new Map([["events", event], ["sources", source]]);

let main;
let current = null;
let drawn = null;
// The list that one came from, for the way back.
let list = null;

/** The view, the id and the parameters that the address names. */
function address() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  let segments;
  try {
    segments = path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    segments = [];
  }
  return { name: segments[0] ?? "overview", id: segments[1] ?? null, params: new URLSearchParams(search) };
}

function leave() {
  current?.abort.abort();
  for (const run of current?.leaving ?? []) run();
  // A question about what is no longer in sight is not to be answered.
  for (const box of document.querySelectorAll("dialog[open]:not(.lock)")) box.dispatchEvent(new Event("cancel", { cancelable: true }));
  current = null;
}

async function show() {
  // Under the lock the address may change; it is looked at again when somebody has signed in.
  if (!api.session) return document.body.classList.contains("locked") ? undefined : showSignIn();
  if (!main?.isConnected) frame();
  const hash = location.hash;
  if (current && hash === drawn) return undefined;
  const moved = drawn !== null;
  drawn = hash;
  leave();
  const { name, id, params } = address();
  const back = list;
  list = id === null ? `#/${name}${api.query(Object.fromEntries(params))}` : list;
  const found = VIEWS.find(([view]) => view === name);
  const view = id !== null ? ONE.get(name) : found?.[1];
  const abort = new AbortController();
  current = { abort, leaving: [] };
  const mine = current;
  // A place of its own: what an older view still awaits is drawn into nothing.
  const root = h("div", { class: "view" });
  const context = {
    root,
    id,
    params,
    back,
    signal: abort.signal,
    onLeave: (run) => (abort.signal.aborted ? run() : mine.leaving.push(run)),
    /** The filters, into the address; going back undoes it. */
    keep(filters) {
      if (current !== mine) return;
      const wanted = `#/${name}${api.query(filters)}`;
      if (wanted === location.hash) return;
      history.pushState(null, "", wanted);
      drawn = location.hash;
      list = wanted;
    },
    reload() {
      drawn = null;
      show();
    },
  };
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.classList.remove("menu-open");
  document.querySelector(".menu")?.setAttribute("aria-expanded", "false");
  document.title = found ? `${t(`nav.${name}`)} · Callseal` : "Callseal";
  window.scrollTo(0, 0);
  if (!view) {
    main.replaceChildren(root);
    replace(root, h("h1", { tabindex: "-1" }, t("nowhere")), h("p", {}, h("a", { href: "#/overview" }, t("nav.overview"))));
    return undefined;
  }
  main.replaceChildren(root);
  const begin = () => moved && !abort.signal.aborted && !main.contains(document.activeElement) && root.querySelector("h1")?.focus({ preventScroll: true });
  try {
    const drawing = view(context);
    begin();
    await drawing;
  } catch (error) {
    if (error.name !== "AbortError" && !abort.signal.aborted && error.status !== 401) {
      const out = id !== null && h("a", { href: back ?? `#${api.at(name)}`, class: "back", "data-back": "" }, "← ", t("back"));
      replace(root, out, h("h1", { tabindex: "-1" }, t("went_wrong")), trouble(error, context.reload));
    }
  }
  begin();
  return undefined;
}

function showSignIn(ended = false) {
  leave();
  drawn = null;
  main = null;
  signin({
    ended,
    done: show,
    tools: tools(),
  });
}

function tools() {
  const theme = button("", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("callseal.theme", root.dataset.theme);
    } catch {
      // Kept for as long as the page is open.
    }
  }, { kind: "bare", shape: "theme", "aria-label": t("theme"), title: t("theme") });
  const other = language() === "en" ? "zh-CN" : "en";
  const tongue = h("button", { type: "button", class: "button bare tongue", lang: other, on: { click: () => {
    speak(other);
    const signed = api.session !== null;
    leave();
    drawn = null;
    main = null;
    if (signed) show();
    else showSignIn();
  } } }, other === "en" ? "English" : "中文");
  return h("div", { class: "tools" }, tongue, theme);
}

function frame() {
  const menu = button("", () => {
    const open = document.body.classList.toggle("menu-open");
    menu.setAttribute("aria-expanded", String(open));
  }, { kind: "bare menu", shape: "menu", "aria-label": t("menu"), "aria-expanded": "false", "aria-controls": "rail" });
  const nav = h(
    "nav",
    { "aria-label": t("views") },
    h("ul", {}, VIEWS.map(([name, , shape]) =>
      h("li", {}, h("a", { href: `#/${name}`, "data-view": name }, icon(shape), h("span", {}, t(`nav.${name}`)), h("b", { class: "count", id: `count-${name}` }))),
    )),
  );
  const out = button(t("sign_out"), () => api.signOut().catch(() => {}), { kind: "small" });
  const who = h(
    "div",
    { class: "who" },
    h("p", {}, h("span", { class: "faint" }, t("signed_in")), h("bdi", { class: "mono" }, api.session.label)),
    h("p", { class: "faint" }, t(`role.${api.session.role === "operator" ? "operator" : "viewer"}`)),
    out,
  );
  const flow = h("p", { id: "flow", class: "flow", role: "status" });
  const rail = h("div", { id: "rail", class: "rail" }, nav, h("div", { class: "rail-end" }, who, h("p", { class: "faint zone" }, t("zone", { zone: zone() }))));
  const skip = h("button", { type: "button", class: "skip", on: { click: () => main.querySelector("h1")?.focus() } }, t("skip"));
  main = h("main", { id: "main", tabindex: "-1" });
  const top = h(
    "header",
    { class: "top" },
    menu,
    h("a", { class: "brand", href: "#/overview", "aria-label": t("brand") }, seal(), h("span", {}, "Callseal")),
    flow,
    h("div", { class: "top-end" }, tools(), button("?", () => keys.help(), { kind: "bare help", title: t("keys.title"), "aria-label": t("keys.title") })),
  );
  const says = h("div", { id: "says", role: "status", "aria-live": "polite" });
  const gone = h("div", { id: "gone", role: "alert" });
  replace(document.body, skip, top, gone, rail, main, says);
  pulse();
}

/** What stands beside a view's name: how many dead letters there are. */
async function pulse() {
  if (!api.session || document.hidden) return;
  try {
    const { dead: count } = await api.get("/v1/overview");
    const place = document.getElementById("count-dead");
    if (place) replace(place, count > 0 && number(count));
  } catch {
    // The frame says when the gateway cannot be reached.
  }
}

export function seal() {
  const picture = h("span", { class: "seal", "aria-hidden": "true" });
  picture.append(icon("check"));
  return picture;
}

function listen() {
  addEventListener("popstate", show);
  addEventListener("hashchange", show);
  api.news.addEventListener("ended", ({ detail: { byItself, was } }) => {
    if (!byItself || !main?.isConnected) return showSignIn(byItself);
    return lock(was, (same) => {
      // Another person begins with an empty page.
      if (!same) return location.reload();
      pulse();
      // What was asked under the lock was not answered: where a view still waits for it, it is drawn anew.
      setTimeout(() => {
        if (!document.querySelector("main .loading") || document.querySelector("dialog[open]")) return;
        drawn = null;
        show();
      }, 4000);
      return show();
    });
  });
  api.news.addEventListener("live", (news) => {
    const flow = document.getElementById("flow");
    if (!flow) return;
    const [shape, text] = { live: ["dot", "live"], polling: ["redo", "polling"], none: [null, null] }[news.detail];
    flow.className = `flow ${news.detail}`;
    replace(flow, shape && icon(shape), text && h("span", {}, t(`flow.${text}`)));
  });
  api.news.addEventListener("reach", (news) => {
    const gone = document.getElementById("gone");
    if (gone) replace(gone, !news.detail && h("p", { class: "gone" }, icon("warn"), t("offline")));
    if (!news.detail) return;
    say(t("online"));
    // What got no answer is asked again by itself; but not what was only slow, and would be again.
    for (const again of document.querySelectorAll(".trouble[data-code=offline] button")) again.click();
  });
  addEventListener("unhandledrejection", (news) => {
    if (news.reason?.name === "AbortError" || news.reason?.status === 401) news.preventDefault();
  });
  keys.listen();
  setInterval(tick, 10000);
  let beat = 0;
  setInterval(() => {
    beat += 1;
    if (!api.reachable || beat % 6 === 0) pulse();
  }, 5000);
  api.news.addEventListener("counts", pulse);
}

async function begin() {
  listen();
  try {
    await api.resume();
  } catch (error) {
    replace(document.body, h("main", {}, h("h1", {}, "Callseal"), trouble(error, () => location.reload())));
    return;
  }
  show();
}

begin();
