// The list of deliveries: live, filtered by what stands in the address.

import { get, session } from "/api.js";
import { h, replace } from "/dom.js";
import { filterBar, read, sourceOptions } from "/filters.js";
import { t } from "/i18n.js";
import { live } from "/live.js";
import { columns } from "/rows.js";
import { button, empty, loading, more, table, tableRow, trouble } from "/widgets.js";

export const NAMES = ["text", "state", "source", "destination", "type", "order", "key", "provider", "reason", "from", "to"];
const STATES = ["owed", "delivered", "dead", "discarded", "filtered", "superseded"];

export const specs = (sources) => [
  { name: "text", kind: "search" },
  { name: "state", kind: "select", options: STATES.map((s) => [s, t(`state.${s}`)]) },
  { name: "source", kind: "select", options: sourceOptions(sources) },
  { name: "destination", kind: "text" },
  { name: "type", kind: "text" },
  { name: "order", kind: "text" },
  { name: "key", kind: "text" },
  { name: "provider", kind: "text" },
  { name: "reason", kind: "text" },
  { name: "from", kind: "time" },
  { name: "to", kind: "time" },
];

/** What the gateway would say of a row that has just come; the same rules as its own filters. */
function fits(row, filters) {
  for (const name of ["source", "destination", "provider", "type", "key", "state", "reason"]) {
    if (filters[name] && row[name] !== filters[name]) return false;
  }
  if (filters.order && row.payment?.order !== filters.order) return false;
  if (filters.from && row.received_at < filters.from) return false;
  if (filters.to && row.received_at >= filters.to) return false;
  if (!filters.text) return true;
  const wanted = filters.text.toLowerCase();
  const parts = [row.id, row.key, row.type, row.payment?.order, row.payment?.transaction, row.reason];
  return parts.some((part) => String(part ?? "").toLowerCase().includes(wanted));
}

// The list as it was left, so that coming back finds the same rows and the same place.
let left = null;

export async function events({ root, params, signal, keep, onLeave }) {
  const filters = read(params, NAMES);
  const known = await get("/v1/sources", {}, signal).catch(() => ({ sources: [] }));
  let rows = [];
  let next = null;
  let waiting = [];
  let turn = 0;
  const place = h("div", { class: "list" });
  const fresh = h("div", { class: "fresh", role: "status" });
  const follow = h("input", { type: "checkbox" });
  const name = () => JSON.stringify(filters);

  const drawFresh = () => {
    replace(fresh, waiting.length > 0 && button(t("new_rows", { n: waiting.length }), admit, { kind: "new", "data-new": "" }));
  };
  const draw = () => {
    const focused = document.activeElement?.dataset?.row;
    const list = rows.length > 0
      ? table(t("nav.events"), columns(), rows, { class: "events", id: (row) => row.id })
      : next !== null
        ? h("p", { class: "faint" }, t("events.none_yet"))
        : empty(t("events.none"), Object.keys(filters).length > 0 ? t("events.none_filtered") : t("events.none_text"));
    replace(place, list, next !== null && more(page));
    if (focused) find(focused)?.querySelector("[data-row]")?.focus({ preventScroll: true });
  };
  const find = (id) => [...place.querySelectorAll("tr[data-id]")].find((row) => row.dataset.id === id);
  function admit() {
    rows = [...waiting, ...rows].slice(0, 5000);
    waiting = [];
    draw();
    drawFresh();
  }
  const arrive = (row) => {
    if (rows.some((one) => one.id === row.id) || waiting.some((one) => one.id === row.id)) return change(row.id, row);
    if (!fits(row, filters)) return undefined;
    waiting = [row, ...waiting];
    if (follow.checked) admit();
    else drawFresh();
    return undefined;
  };
  function change(id, changes) {
    const one = rows.find((row) => row.id === id) ?? waiting.find((row) => row.id === id);
    if (!one) return;
    Object.assign(one, changes);
    const old = find(id);
    if (!old) return;
    const focused = old.contains(document.activeElement);
    const row = tableRow(columns(), one, { id: (r) => r.id });
    row.classList.add("changed");
    old.replaceWith(row);
    if (focused) row.querySelector("[data-row]").focus({ preventScroll: true });
  }
  async function fetchRows() {
    turn += 1;
    const mine = turn;
    replace(place, loading());
    try {
      // A page may be short, or empty, and still have a next one.
      let found = [];
      let cursor = null;
      for (let asked = 0; asked < 10; asked += 1) {
        const answer = await get("/v1/events", { ...filters, limit: 50, cursor }, signal);
        if (mine !== turn) return;
        found = [...found, ...answer.events];
        cursor = answer.next;
        if (cursor === null || found.length >= 25) break;
      }
      rows = found;
      next = cursor;
      waiting = [];
      draw();
      drawFresh();
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn && error.status !== 401) replace(place, trouble(error, fetchRows));
    }
  }
  async function page() {
    const mine = turn;
    const foot = place.querySelector(".more");
    replace(foot, loading());
    try {
      const before = rows.length;
      for (let asked = 0; asked < 10 && next !== null && rows.length < before + 50; asked += 1) {
        const answer = await get("/v1/events", { ...filters, limit: 50, cursor: next }, signal);
        if (mine !== turn) return;
        const seen = new Set(rows.map((row) => row.id));
        rows = [...rows, ...answer.events.filter((row) => !seen.has(row.id))];
        next = answer.next;
      }
      const first = rows[before]?.id;
      draw();
      if (first) find(first)?.querySelector("[data-row]").focus({ preventScroll: true });
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) replace(foot, trouble(error, page));
    }
  }
  async function poll() {
    try {
      const answer = await get("/v1/events", { ...filters, limit: 50 }, signal);
      for (const row of answer.events.toReversed()) arrive(row);
    } catch {
      // The frame says when the gateway cannot be reached.
    }
  }
  let stream = null;
  const listen = () => {
    stream?.close();
    const only = { source: filters.source };
    stream = live(["accepted", "attempt", "state"], only, {
      accepted: arrive,
      attempt: (a) => change(a.id, { attempts: a.number, state: a.state, reason: a.error || "" }),
      state: (c) => change(c.id, { state: c.state, reason: c.reason ?? "" }),
      poll,
    });
  };

  const bar = filterBar(specs(known.sources), filters, () => {
    keep(filters);
    fetchRows();
    listen();
  });
  const follows = h("label", { class: "check" }, follow, h("span", {}, t("follow")));
  follow.addEventListener("change", () => follow.checked && waiting.length > 0 && admit());
  replace(
    root,
    h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, t("nav.events")), follows),
    bar,
    fresh,
    place,
  );

  if (left?.name === name() && Date.now() - left.when < 600000) {
    ({ rows, next } = left);
    draw();
    scrollTo(0, left.scroll);
    if (left.opened) find(left.opened)?.querySelector("[data-row]")?.focus({ preventScroll: true });
    poll();
  } else await fetchRows();
  listen();
  let opened = null;
  place.addEventListener("click", (event) => {
    opened = event.target.closest?.("[data-row]")?.dataset.row ?? opened;
  });
  let scroll = 0;
  const scrolled = () => {
    scroll = scrollY;
  };
  addEventListener("scroll", scrolled, { passive: true });
  onLeave(() => {
    removeEventListener("scroll", scrolled);
    // Nothing of it is for whoever signs in next.
    left = session && { name: name(), rows: [...waiting, ...rows], next, opened, scroll, when: Date.now() };
    stream?.close();
  });
}
