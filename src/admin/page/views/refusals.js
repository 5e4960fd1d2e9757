// What was not let in: why, what most likely caused it, and what to do.

import { at, get } from "/api.js";
import { h, icon, marked, mono, replace, value } from "/dom.js";
import { filterBar, read, sourceOptions } from "/filters.js";
import { ago, when } from "/format.js";
import { language, number, parts, t } from "/i18n.js";
import { live } from "/live.js";
import { cause, meaning, mend } from "/reasons.js";
import { fault } from "/trace.js";
import { badge, button, command, empty, load, loading, more, none, quoted, table, trouble } from "/widgets.js";

const NAMES = ["source", "stage", "reason", "from", "to"];
const STAGES = ["refused", "rejected", "malformed", "overloaded", "unheard", "conflict_dropped"];

/** The gateway's words are English; our own of the same code come first in another language. */
function words(own, given) {
  if (own) return h("p", {}, marked(own));
  return given ? h("p", { lang: language() === "en" ? null : "en" }, marked(given)) : null;
}

function group(g, choose) {
  const title = meaning(g.reason);
  return h(
    "li",
    { class: "refusal" },
    h(
      "div",
      { class: "refusal-head" },
      badge(g.stage, t(`stage.${STAGES.includes(g.stage) ? g.stage : "refused"}`)),
      h("h3", {}, h("button", { type: "button", class: "link", "data-row": "", on: { click: () => choose(g) } }, mono(g.reason)), title && h("span", {}, " ", title)),
      h("p", { class: "refusal-count" }, h("b", { class: "figures" }, number(g.count)), h("span", { class: "faint" }, " ", t("refusals.peers", { n: g.peers }))),
    ),
    h("p", { class: "faint" }, g.source ? [t("col.source"), " ", h("a", { href: `#${at("sources", g.source)}` }, value(g.source)), " · "] : [t("no_source"), " · "], parts("refusals.span", { first: ago(g.first_at), last: ago(g.last_at) })),
    (g.cause || cause(g.reason)) && h("div", { class: "why" }, h("div", {}, h("h4", {}, t("cause")), words(cause(g.reason), g.cause)), (g.mend || mend(g.reason)) && h("div", {}, h("h4", {}, t("mend")), words(mend(g.reason), g.mend))),
    // Made here of the name, so that nothing else gets to a terminal.
    g.command && command(g.source ? `callseal explain ${quoted(g.source)} FILE` : "callseal check"),
  );
}

// Of a malformed request nothing is repeated, so that it has no method and no path.
const columns = () => [
  { label: t("col.time"), class: "c-time", cell: (r) => when(r.at) },
  { label: t("col.stage"), class: "c-state", cell: (r) => badge(r.stage, t(`stage.${STAGES.includes(r.stage) ? r.stage : "refused"}`)) },
  { label: t("col.reason"), class: "c-type", cell: (r) => h("span", { class: "reason" }, mono(r.reason), (r.detail || meaning(r.reason)) && h("small", {}, r.detail ? value(fault(r.detail)) : meaning(r.reason))) },
  { label: t("col.source"), cell: (r) => r.source && value(r.source) },
  { label: t("col.request"), class: "c-path", cell: (r) => r.path !== "" && [mono(r.method), " ", mono(r.path)] },
  { label: t("col.peer"), cell: (r) => mono(r.peer) },
];

export async function refusals({ root, params, signal, keep, onLeave }) {
  const filters = read(params, NAMES);
  const known = await get("/v1/sources", {}, signal).catch(() => ({ sources: [] }));
  signal.throwIfAborted();
  const groups = h("div", {});
  const place = h("div", { class: "list" });
  const fresh = h("div", { class: "fresh", role: "status" });
  let rows = [];
  let next = null;
  let missed = 0;
  // The newest that was seen: of it and those before nothing is told.
  let newest = 0;
  let turn = 0;

  const drawGroups = () =>
    load(groups, signal, async () => {
      const { source, from, to } = filters;
      const answer = await get("/v1/refusals/groups", { source, from, to }, signal);
      const shown = answer.groups.filter((g) => (!filters.stage || g.stage === filters.stage) && (!filters.reason || g.reason === filters.reason));
      if (shown.length === 0) return Object.keys(filters).length > 0 ? none(t("refusals.none"), t("events.none_filtered")) : empty(t("refusals.none"), t("refusals.none_text"));
      return [
        h("p", { class: "faint" }, parts("refusals.kept", { kept: answer.kept, seen: answer.seen })),
        h("ul", { class: "refusals" }, shown.map((g) => group(g, choose))),
      ];
    });
  const draw = () => replace(place, rows.length > 0 ? table(t("refusals.list"), columns(), rows) : h("p", { class: "faint" }, t("refusals.none_listed")), next !== null && more(page));
  async function list() {
    turn += 1;
    const mine = turn;
    missed = 0;
    replace(fresh);
    replace(place, loading());
    try {
      const answer = await get("/v1/refusals", { ...filters, limit: 50 }, signal);
      if (mine !== turn) return;
      rows = answer.refusals;
      next = answer.next;
      newest = Math.max(newest, rows[0]?.number ?? 0);
      draw();
    } catch (error) {
      if (error.name !== "AbortError" && mine === turn && error.status !== 401) replace(place, trouble(error, list));
    }
  }
  async function page() {
    const mine = turn;
    try {
      const answer = await get("/v1/refusals", { ...filters, limit: 50, cursor: next }, signal);
      if (mine !== turn) return;
      rows = [...rows, ...answer.refusals];
      next = answer.next;
      draw();
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) replace(place.querySelector(".more"), trouble(error, page));
    }
  }
  const bar = h("div", {});
  const drawBar = () =>
    replace(
      bar,
      filterBar(
        [
          { name: "reason", kind: "search", hint: "signature_mismatch" },
          { name: "source", kind: "select", options: sourceOptions(known.sources) },
          { name: "stage", kind: "select", options: STAGES.map((s) => [s, t(`stage.${s}`)]) },
          { name: "from", kind: "time" },
          { name: "to", kind: "time" },
        ],
        filters,
        changed,
      ),
    );
  function changed() {
    keep(filters);
    drawGroups();
    list();
  }
  function choose(g) {
    Object.assign(filters, { reason: g.reason, stage: g.stage, ...(g.source ? { source: g.source } : {}) });
    drawBar();
    changed();
  }
  drawBar();
  replace(
    root,
    h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, t("nav.refusals"))),
    h("p", { class: "lead" }, t("refusals.lead")),
    bar,
    h("section", { class: "panel", "aria-labelledby": "causes" }, h("h2", { id: "causes" }, icon("shield"), t("refusals.causes")), groups),
    h("section", { class: "panel", "aria-labelledby": "each" }, h("h2", { id: "each" }, t("refusals.list")), fresh, place),
  );
  drawGroups();
  await list();
  const again = () => {
    drawGroups();
    list();
  };
  const told = (r) => {
    const fits = ["source", "stage", "reason"].every((name) => !filters[name] || (r[name] ?? "") === filters[name]);
    if (!fits || (filters.to && r.at >= filters.to) || r.number <= newest) return;
    newest = r.number;
    missed += 1;
    replace(fresh, button(t("new_rows", { n: missed }), again, { kind: "new", "data-new": "" }));
  };
  const poll = async () => {
    try {
      const answer = await get("/v1/refusals", { ...filters, limit: 50 }, signal);
      for (const r of answer.refusals.toReversed()) told(r);
    } catch {
      // The frame says when the gateway cannot be reached.
    }
  };
  const stream = live(["refused"], {}, { refused: told, poll });
  onLeave(() => stream.close());
}
