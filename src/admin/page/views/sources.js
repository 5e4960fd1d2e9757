// The sources: how each is, its keys, and where it delivers.

import { at, get, mayChange, post, query } from "/api.js";
import { sure } from "/ask.js";
import { statCharts } from "/charts.js";
import { h, icon, mono, replace, scrolling, value } from "/dom.js";
import { filterBar, read } from "/filters.js";
import { ago, duration, moment, share } from "/format.js";
import { number, parts, t, word } from "/i18n.js";
import { reason } from "/rows.js";
import { badge, button, choice, command, facts, load, none, panel, quoted, say, table } from "/widgets.js";

const sum = (s, name) => (s.destinations ?? []).reduce((all, one) => all + (one[name] ?? 0), 0);
const linked = (n, href) => (n > 0 ? h("a", { href, class: "figures" }, number(n)) : h("span", { class: "figures faint" }, "0"));
const ORDER = ["failing", "paused", "quiet", "good", "idle"];
/** What wants a look first. */
export const worstFirst = (all) => all.toSorted((a, b) => ORDER.indexOf(a.health) - ORDER.indexOf(b.health) || (a.name < b.name ? -1 : 1));
const KEYS = ["expired", "expiring", "unused"];

const columns = () => [
  { label: t("col.source"), class: "c-type", cell: (s) => [h("a", { href: `#${at("sources", s.name)}`, "data-row": s.name }, value(s.name)), h("small", { class: "under" }, mono(s.path))] },
  { label: t("col.health"), class: "c-state", cell: (s) => [badge(s.health), held(s)] },
  { label: t("col.provider"), cell: (s) => value(s.title || s.provider) },
  { label: t("col.last_accepted"), cell: (s) => ago(s.last_accepted_at, t("never")) },
  { label: t("col.accepted_1h"), class: "c-number", cell: (s) => number(s.accepted_1h) },
  { label: t("col.duplicate_1h"), class: "c-number", cell: (s) => number(s.duplicate_1h) },
  { label: t("col.rejected_1h"), class: "c-number", cell: (s) => [linked(s.rejected_1h, `#/refusals${query({ source: s.name })}`), s.rejected_share > 0 && h("span", { class: "faint" }, ` (${share(s.rejected_share)})`)] },
  { label: t("col.owed"), class: "c-number", cell: (s) => linked(sum(s, "owed"), `#/events${query({ source: s.name, state: "owed" })}`) },
  { label: t("col.dead"), class: "c-number", cell: (s) => linked(sum(s, "dead"), `#/dead${query({ source: s.name })}`) },
  {
    label: t("col.keys"),
    cell: (s) => {
      const worst = KEYS.find((state) => (s.keys ?? []).some((key) => key.state === state));
      return worst ? badge(worst, word("key", worst)) : h("span", { class: "faint" }, number((s.keys ?? []).length));
    },
  },
];

/** The words of operators by which a source is paused, each once: that about all of it first. */
export function pausesOf(s) {
  const words = (s.destinations ?? []).flatMap((d) => d.pauses ?? []);
  const once = new Map(words.map((word) => [word.number, word]));
  return [...once.values()].sort((a, b) => (a.destination === null ? -1 : 0) - (b.destination === null ? -1 : 0));
}

// Resumed by itself; else only with the whole source.
const ownPause = (d) => d.paused && ((d.pauses ?? []).length === 0 || d.pauses.some((p) => p.destination !== null));

/** Who paused it, and when, in few words. */
const briefly = (pauses) => pauses.map((p) => h("small", { class: "under" }, value(p.by), " · ", ago(p.since)));

/** Who paused a source; or which of its destinations, where the others go on. */
function held(s) {
  const pauses = pausesOf(s);
  if (s.health === "paused") return briefly(pauses.slice(0, 1));
  return pauses.map((p) => h("small", { class: "under" }, t("state.paused"), t("colon"), value(p.destination ?? s.name), " · ", value(p.by)));
}

function pausedBy(p) {
  const who = { by: h("b", {}, value(p.by)), destination: value(p.destination ?? ""), time: moment(p.since) };
  return h("div", { class: "notice warn" }, icon("pause"), h("div", {}, h("p", {}, parts(p.destination === null ? "paused.whole" : "paused.lane", who)), h("p", { class: "preline" }, p.reason ? parts("paused.reason", { reason: value(p.reason) }) : t("paused.no_reason"))));
}

// So many are searched through rather than read.
const MANY = 12;
const FITS = { __proto__: null, health: (s, wanted) => s.health === wanted, text: (s, wanted) => [s.name, s.provider, s.title, s.path].some((part) => String(part ?? "").toLowerCase().includes(wanted.toLowerCase())) };

export async function sources({ root, params, signal, keep, onLeave }) {
  const filters = read(params, ["text", "health"]);
  const place = h("div", { class: "list" });
  const bar = h("div", {});
  const heard = h("p", { class: "offscreen", role: "status" });
  const specs = [
    { name: "text", kind: "search", hint: t("sources.search") },
    { name: "health", kind: "select", options: ORDER.map((state) => [state, t(`state.${state}`)]) },
  ];
  let every = [];
  replace(root, h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, t("nav.sources"))), h("p", { class: "lead" }, t("sources.lead")), bar, heard, place);
  const fitting = () => every.filter((s) => Object.entries(filters).every(([name, wanted]) => FITS[name](s, wanted)));
  const draw = () => {
    if (every.length === 0) return none(t("sources.none"), t("sources.none_text"), "callseal init PROVIDER --forward URL");
    const fit = fitting();
    if (fit.length === 0) return none(t("sources.none"), t("events.none_filtered"));
    return table(t("nav.sources"), columns(), worstFirst(fit), { id: (s) => s.name });
  };
  const make = async () => {
    every = (await get("/v1/sources", {}, signal)).sources;
    const many = every.length > MANY || Object.keys(filters).length > 0;
    if (many && !bar.hasChildNodes()) replace(bar, filterBar(specs, filters, changed));
    return draw();
  };
  const changed = () => {
    keep(filters);
    heard.textContent = t("sources.fit", { n: fitting().length });
    replace(place, draw());
  };
  await load(place, signal, make);
  const timer = setInterval(async () => {
    if (document.hidden || place.contains(document.activeElement)) return;
    try {
      replace(place, await make());
    } catch {
      // The frame says when the gateway cannot be reached.
    }
  }, 15000);
  onLeave(() => clearInterval(timer));
}

function keyTable(list) {
  if (list.length === 0) return h("p", { class: "faint" }, t("keys.none"));
  return table(t("keys_of"), [
    { label: t("col.key"), class: "c-type", cell: (k) => mono(k.label) },
    { label: t("col.state"), class: "c-state", cell: (k) => badge(k.state, word("key", k.state)) },
    { label: t("col.last_used"), cell: (k) => ago(k.last_used_at, t("never")) },
    { label: t("col.not_after"), cell: (k) => moment(k.not_after, t("no_end")) },
  ], list, { class: "slim" });
}

export async function source({ root, id, params, signal, keep, onLeave, back }) {
  let one = await get(`/v1${at("sources", id)}`, {}, signal);
  let span = ["1h", "24h", "7d"].includes(params.get("window")) ? params.get("window") : "1h";
  const place = h("div", { class: "stack" });
  const charts = h("div", {});
  const again = async () => {
    one = await get(`/v1${at("sources", id)}`, {}, signal);
    draw();
  };
  const change = async (what, destination) => {
    const lane = destination ? `${one.name} → ${destination}` : one.name;
    const done = await sure({
      title: t(what),
      text: [h("p", {}, parts(`${what}.text`, { lane: h("b", {}, value(lane)) }))],
      label: t(what),
      reason: what === "pause" ? "needed" : true,
      act: async (reason) => {
        const tell = (to) => post(`/v1${at("sources", one.name, what)}`, undefined, { destination: to, reason }, signal);
        // All of it: also what is paused by itself, which the source's own end leaves as it is.
        const alone = what === "resume" && !destination ? one.destinations.filter((d) => ownPause(d)).map((d) => d.name) : [];
        try {
          let answer = await tell(destination);
          for (const to of alone) answer = await tell(to);
          return answer;
        } catch (why) {
          // Some may have been done.
          again().catch(() => {});
          throw why;
        }
      },
    });
    if (done) {
      say(t(what === "resume" && done.paused === true ? "resume.still" : `${what}.done`));
      again().catch(() => {});
    }
  };
  const destinations = () => [
    { label: t("col.destination"), class: "c-type", cell: (d) => [value(d.name), h("small", { class: "under" }, mono(d.forward))] },
    { label: t("col.state"), class: "c-state", cell: (d) => (d.paused ? [badge("paused"), briefly((d.pauses ?? []).slice(-1))] : badge(d.breaker, word("breaker", d.breaker))) },
    { label: t("col.owed"), class: "c-number", cell: (d) => linked(d.owed, `#/events${query({ source: one.name, destination: d.name, state: "owed" })}`) },
    { label: t("col.dead"), class: "c-number", cell: (d) => linked(d.dead, `#/dead${query({ source: one.name, destination: d.name })}`) },
    { label: t("col.under_way"), class: "c-number", cell: (d) => `${number(d.under_way)} / ${number(d.limit)}` },
    { label: t("col.oldest"), class: "c-time", cell: (d) => ago(d.oldest_owed_at) },
    { label: t("col.next_due"), class: "c-time", cell: (d) => ago(d.next_due) },
    { label: t("col.last_delivered"), class: "c-time", cell: (d) => ago(d.last_delivered_at, t("never")) },
    { label: t("col.last_failed"), cell: (d) => [ago(d.last_failed_at, t("never")), d.last_error && [" ", reason(d.last_error)]] },
    mayChange() && { label: "", hidden: t("col.actions"), class: "c-actions", cell: (d) => (d.paused && !ownPause(d) ? h("span", { class: "faint" }, t("paused.with_source")) : d.paused ? button(t("resume"), () => change("resume", d.name), { kind: "small", shape: "play" }) : button(t("pause.dots"), () => change("pause", d.name), { kind: "small", shape: "pause" })) },
  ].filter(Boolean);

  function draw() {
    const pauses = pausesOf(one);
    const paused = pauses.some((p) => p.destination === null) || (one.destinations.length > 0 && one.destinations.every((d) => d.paused));
    const contract = one.contract;
    replace(
      place,
      h("div", { class: "event-head" }, h("div", {}, scrolling(h("h1", { tabindex: "-1" }, value(one.name))), scrolling(h("p", { class: "event-sub" }, badge(one.health), value(one.title || one.provider), mono(one.path)))), h("div", { class: "actions" }, mayChange() && (paused ? button(t("resume_all"), () => change("resume", null), { kind: "primary", shape: "play" }) : button(t("pause_all"), () => change("pause", null), { shape: "pause" })), h("a", { class: "button", href: `#/events${query({ source: one.name })}` }, t("sources.events")))),
      one.verified === false && h("p", { class: "notice warn" }, t("sources.unverified")),
      pauses.map(pausedBy),
      panel(t("destinations"), table(t("destinations"), destinations(), one.destinations)),
      h(
        "div",
        { class: "columns" },
        h("div", { class: "main-column" }, panel(t("keys_of"), keyTable(one.keys ?? [])), panel(t("terminal"), command(`callseal send ${quoted(one.name)}`), command(`callseal explain ${quoted(one.name)} FILE`))),
        h(
          "div",
          { class: "side-column" },
          panel(
            t("about"),
            facts([
              [t("fact.provider"), value(one.provider)],
              one.url && [t("fact.url"), mono(one.url)],
              [t("fact.mode"), word("mode", one.mode)],
              [t("fact.last_accepted"), moment(one.last_accepted_at, t("never"))],
              [t("fact.last_rejected"), moment(one.last_rejected_at, t("never"))],
              [t("fact.last_hour"), parts("sources.last_hour", { accepted: one.accepted_1h, duplicate: one.duplicate_1h, rejected: one.rejected_1h })],
              [t("fact.usual_gap"), duration(one.usual_gap_seconds)],
              [t("fact.keep"), duration(one.keep_seconds)],
              contract && [t("fact.retries"), value(contract.retries || "–")],
              contract && [t("fact.horizon"), duration(contract.horizon_seconds)],
              contract && contract.deadline_ms !== null && [t("fact.deadline"), duration(contract.deadline_ms / 1000)],
              one.file && [t("fact.file"), mono(one.file)],
              one.digest && [t("fact.digest"), mono(one.digest.slice(0, 12))],
            ]),
          ),
        ),
      ),
    );
  }
  const drawCharts = () =>
    load(charts, signal, async () => statCharts(await get("/v1/stats", { window: span, source: id }, signal)));
  const windows = choice(t("window"), ["1h", "24h", "7d"].map((w) => [w, t(`window.${w}`)]), span, (chosen) => {
    span = chosen;
    keep({ window: span === "1h" ? "" : span });
    drawCharts();
  });
  replace(
    root,
    h("a", { href: back ?? "#/sources", class: "back", "data-back": "" }, "← ", t("back")),
    place,
    h("section", { class: "panel", "aria-labelledby": "over-time" }, h("div", { class: "panel-head" }, h("h2", { id: "over-time" }, t("over_time")), windows), charts),
  );
  draw();
  drawCharts();
  const timer = setInterval(() => {
    if (!document.hidden && !place.contains(document.activeElement)) again().catch(() => {});
  }, 15000);
  onLeave(() => clearInterval(timer));
}
