// Dead letters, in groups: what failed alike is mended alike.

import { get, mayChange, query } from "/api.js";
import { h, replace, value } from "/dom.js";
import { filterBar, read, sourceOptions } from "/filters.js";
import { ago } from "/format.js";
import { number, parts, t } from "/i18n.js";
import { jobPanel, many } from "/jobs.js";
import { lane, reason, toEvent } from "/rows.js";
import { button, choice, empty, loading, none, table, trouble } from "/widgets.js";

const NAMES = ["text", "source", "destination", "type", "provider", "from", "to"];
const BY = ["reason", "source", "type"];

const groupName = (g) => JSON.stringify([g.source, g.destination, g.reason ?? null, g.type ?? null]);

/** Groups of several pages that are one. */
function join(known, more) {
  const all = new Map(known.map((g) => [groupName(g), g]));
  for (const group of more) {
    const before = all.get(groupName(group));
    if (!before) all.set(groupName(group), { ...group });
    else {
      before.count += group.count;
      before.masked ||= group.masked;
      if (group.oldest_at < before.oldest_at) before.oldest_at = group.oldest_at;
      if (group.newest_at > before.newest_at) before.newest_at = group.newest_at;
    }
  }
  return [...all.values()].sort((a, b) => b.count - a.count);
}

export async function dead({ root, params, signal, keep, onLeave }) {
  const filters = read(params, NAMES);
  let by = BY.includes(params.get("by")) ? params.get("by") : "reason";
  const known = await get("/v1/sources", {}, signal).catch(() => ({ sources: [] }));
  signal.throwIfAborted();
  const place = h("div", { class: "list" });
  const jobs = jobPanel({ signal, onLeave, ended: () => count() });
  let turn = 0;

  const own = (group) => ({
    ...filters,
    source: group.source,
    destination: group.destination,
    ...(by === "reason" ? { error: group.reason } : {}),
    ...(by === "type" ? { type: group.type } : {}),
    // As it is shown: several texts may look alike, and all of them are meant.
    ...(group.masked === true ? { masked: true } : {}),
  });
  const start = async (what, filter) => {
    // An empty type or reason is one, too: without it, all would be meant.
    const clean = Object.fromEntries(Object.entries(filter).filter(([, v]) => v !== undefined && v !== null));
    const job = await many(what, clean);
    if (job !== null) jobs.watch(job);
  };
  // An address cannot say that something is empty.
  const listed = (group) => (by === "reason" ? group.reason : by === "type" ? group.type : group.source) !== "";
  const rowsOf = (group) => {
    const { error, ...rest } = own(group);
    return `#/events${query({ ...rest, state: "dead", reason: error })}`;
  };
  const columns = () => [
    by === "reason" && { label: t("col.reason"), class: "c-type", cell: (g) => reason(g.reason) },
    by === "type" && { label: t("col.type"), class: "c-type", cell: (g) => value(g.type || t("no_type")) },
    { label: t("col.lane"), class: "c-lane", cell: lane },
    { label: t("col.count"), class: "c-number", cell: (g) => h("b", { class: "figures" }, number(g.count)) },
    { label: t("col.oldest"), class: "c-time", cell: (g) => ago(g.oldest_at) },
    { label: t("col.newest"), class: "c-time", cell: (g) => ago(g.newest_at) },
    { label: t("col.look"), cell: (g) => h("span", { class: "links" }, listed(g) && h("a", { href: rowsOf(g), "data-row": "" }, t("dead.list")), g.example && toEvent(g.example, t("dead.example"))) },
    mayChange() && {
      label: "",
      hidden: t("col.actions"),
      class: "c-actions",
      cell: (g) => [button(t("redrive.dots"), () => start("redrive", own(g)), { kind: "small", shape: "redo" }), button(t("discard.dots"), () => start("discard", own(g)), { kind: "small", shape: "trash" })],
    },
  ].filter(Boolean);

  async function count() {
    turn += 1;
    const mine = turn;
    let groups = [];
    let looked = 0;
    let cursor = null;
    if (place.childElementCount === 0) replace(place, loading());
    try {
      do {
        const answer = await get("/v1/groups", { by, state: "dead", ...filters, cursor }, signal);
        if (mine !== turn) return;
        groups = join(groups, answer.groups);
        looked += answer.looked;
        cursor = answer.next;
        draw(groups, looked, cursor !== null);
      } while (cursor !== null);
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn && error.status !== 401) replace(place, trouble(error, count));
    }
  }
  function draw(groups, looked, going) {
    if (groups.length === 0 && !going) {
      replace(place, Object.keys(filters).length > 0 ? none(t("dead.none"), t("events.none_filtered")) : empty(t("dead.none"), t("dead.none_text")));
      return;
    }
    const total = groups.reduce((all, g) => all + g.count, 0);
    // Whoever goes by keys stays in the same row.
    const rows = [...place.querySelectorAll("tbody tr")];
    const row = rows.findIndex((one) => one.contains(document.activeElement));
    const control = [...(rows[row]?.querySelectorAll("a, button") ?? [])].indexOf(document.activeElement);
    const name = rows[row]?.dataset.id;
    replace(
      place,
      h("div", { class: "totals" }, h("p", { role: "status" }, parts("dead.total", { n: total, groups: groups.length }), going && h("span", { class: "faint" }, " ", t("dead.looked", { n: looked }))), mayChange() && !going && h("div", { class: "actions" }, button(t("redrive.all"), () => start("redrive", filters), { shape: "redo" }), button(t("discard.all"), () => start("discard", filters), { shape: "trash" }))),
      groups.length > 0 && table(t("nav.dead"), columns(), groups, { id: groupName }),
    );
    if (name === undefined) return;
    const same = [...place.querySelectorAll("tbody tr")].find((one) => one.dataset.id === name);
    same?.querySelectorAll("a, button")[control]?.focus({ preventScroll: true });
  }
  const changed = () => {
    keep({ ...filters, by: by === "reason" ? "" : by });
    count();
  };
  const sources = sourceOptions(known.sources);
  const bar = filterBar(
    [
      { name: "text", kind: "search" },
      { name: "source", kind: "select", options: sources },
      { name: "destination", kind: "text" },
      { name: "type", kind: "text" },
      { name: "provider", kind: "text" },
      { name: "from", kind: "time" },
      { name: "to", kind: "time" },
    ],
    filters,
    changed,
  );
  const grouped = choice(t("group_by"), BY.map((b) => [b, t(`by.${b}`)]), by, (chosen) => {
    by = chosen;
    changed();
  });
  replace(
    root,
    h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, t("nav.dead")), grouped),
    h("p", { class: "lead" }, t("dead.lead")),
    jobs.place,
    bar,
    place,
  );
  await count();
}
