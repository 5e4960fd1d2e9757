// The list of deliveries: live, filtered by what stands in the address.

import { at, get, session } from "/api.js";
import { h, replace } from "/dom.js";
import { filterBar, read, sourceOptions } from "/filters.js";
import { t } from "/i18n.js";
import { live } from "/live.js";
import { columns } from "/rows.js";
import { button, loading, more, none, table, tableRow, trouble } from "/widgets.js";

export const NAMES = ["text", "state", "source", "destination", "type", "order", "key", "provider", "reason", "from", "to", "masked"];
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

// Rows that wait to be shown, at most.
const WAITING = 500;

// The list as it was left, so that coming back finds the same rows and the same place.
let left = null;

export async function events({ root, params, signal, keep, onLeave }) {
  const filters = read(params, NAMES);
  const { sources: sources } = await get("/v1/sources", {}, signal).catch(() => ({ sources: [] }));
  signal.throwIfAborted();
  let rows = [];
  let next = null;
  let waiting = [];
  // What has come since the list was last touched, and whether more came than is kept.
  let arrived = [];
  let flushing = null;
  let overflown = false;
  let turn = 0;
  let loaded = false;
  const place = h("div", { class: "list" });
  const fresh = h("div", { class: "fresh", role: "status" });
  const follow = h("input", { type: "checkbox" });
  const name = () => JSON.stringify(filters);
  const known = new Map();
  const remember = () => {
    known.clear();
    for (const row of [...arrived, ...waiting, ...rows]) known.set(row.id, row);
  };

  const drawFresh = () => {
    const text = overflown ? t("new_rows.more", { n: WAITING }) : t("new_rows", { n: waiting.length });
    replace(fresh, waiting.length > 0 && button(text, overflown ? fetchRows : admit, { kind: "new", "data-new": "" }));
  };
  const options = { class: "events", id: (row) => row.id };
  const draw = () => {
    const focused = document.activeElement?.dataset?.row;
    const list = rows.length > 0
      ? table(t("nav.events"), columns(), rows, options)
      : next !== null
        ? h("p", { class: "faint" }, t("events.none_yet"))
        : Object.keys(filters).length > 0
          ? none(t("events.none"), t("events.none_filtered"))
          : none(t("events.none"), t("events.none_text"), "callseal send SOURCE");
    replace(place, list, next !== null && more(page));
    if (focused) find(focused)?.querySelector("[data-row]")?.focus({ preventScroll: true });
  };
  const find = (id) => place.querySelector(`tr[data-id="${CSS.escape(id)}"]`);
  // Newest first, as the gateway lists them.
  const newer = (a, b) => (a.received_at < b.received_at ? 1 : a.received_at > b.received_at ? -1 : 0);
  function admit() {
    const some = waiting.sort(newer);
    waiting = [];
    const body = place.querySelector("tbody");
    const above = rows.length > 0 && some.every((row) => newer(row, rows[0]) <= 0);
    rows = [...some, ...rows];
    if (body && above) body.prepend(...some.map((row) => tableRow(columns(), row, options)));
    else {
      rows.sort(newer);
      draw();
    }
    drawFresh();
  }
  const flush = () => {
    flushing = null;
    const room = WAITING - waiting.length;
    overflown ||= arrived.length > room;
    waiting = [...arrived.reverse().slice(0, Math.max(room, 0)), ...waiting];
    arrived = [];
    if (follow.checked && waiting.length > 0) {
      // A long list is begun anew: its end would only be in the way.
      if (overflown || rows.length > 1000) fetchRows(true);
      else admit();
    } else drawFresh();
  };
  const arrive = (row) => {
    if (known.has(row.id)) return change(row.id, row);
    if (!fits(row, filters)) return undefined;
    known.set(row.id, row);
    arrived.push(row);
    flushing ??= setTimeout(flush, 200);
    return undefined;
  };
  onLeave(() => clearTimeout(flushing));
  // Deliveries that came to the wanted state by something that happened to them.
  const came = new Set();
  let looking = null;
  const look = async () => {
    looking = null;
    const some = [...came].slice(0, 10);
    for (const id of some) came.delete(id);
    for (const id of some) {
      try {
        const { body, headers, history, deliveries, deeds, ...row } = await get(`/v1${at("events", id)}`, {}, signal);
        arrive(row);
      } catch {
        // Gone again, or nobody answers.
      }
    }
    if (came.size > 0 && !signal.aborted) looking ??= setTimeout(look, 1500);
  };
  onLeave(() => clearTimeout(looking));
  function change(id, changes) {
    const one = known.get(id);
    if (!one) {
      if (filters.state && changes.state === filters.state && came.size < 200) {
        came.add(id);
        looking ??= setTimeout(look, 300);
      }
      return;
    }
    Object.assign(one, changes);
    const old = find(id);
    if (!old) return;
    const focused = old.contains(document.activeElement);
    const row = tableRow(columns(), one, options);
    row.classList.add("changed");
    old.replaceWith(row);
    if (focused) row.querySelector("[data-row]").focus({ preventScroll: true });
  }
  async function fetchRows(quietly = false) {
    turn += 1;
    const mine = turn;
    loaded = false;
    if (quietly !== true) replace(place, loading());
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
      arrived = [];
      overflown = false;
      loaded = true;
      remember();
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
        const some = answer.events.filter((row) => !known.has(row.id));
        for (const row of some) known.set(row.id, row);
        rows = [...rows, ...some];
        next = answer.next;
      }
      const first = rows[before]?.id;
      const body = place.querySelector("tbody");
      if (body) {
        body.append(...rows.slice(before).map((row) => tableRow(columns(), row, options)));
        replace(foot, next !== null && [...more(page).childNodes]);
      } else draw();
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

  const bar = filterBar(specs(sources), filters, () => {
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
    loaded = true;
    remember();
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
    // What could not be had is not an empty list; and nothing of it is for whoever signs in next.
    left = session && loaded && { name: name(), rows: [...waiting, ...rows].sort(newer), next, opened, scroll, when: Date.now() };
    stream?.close();
  });
}
