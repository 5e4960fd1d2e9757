// What needs a hand first; then how it goes.

import { at, get, query } from "/api.js";
import { statCharts } from "/charts.js";
import { h, icon, mono, replace, value } from "/dom.js";
import { cure, sentence } from "/findings.js";
import { ago, bytes, millisPair, moment, rate, share } from "/format.js";
import { gap, has, number, parts, t, word } from "/i18n.js";
import { live } from "/live.js";
import { worstFirst } from "/views/sources.js";
import { badge, button, choice, empty, load, panel, table } from "/widgets.js";

const WINDOWS = ["1h", "24h", "7d"];

const WHERE = {
  __proto__: null,
  dead_letters: (a) => `#/dead${query({ source: a.source, destination: a.destination })}`,
  oldest_owed: (a) => `#/events${query({ state: "owed", source: a.source, destination: a.destination })}`,
  rejections: (a) => `#/refusals${query({ source: a.source, stage: "rejected" })}`,
  conflicts: (a) => `#/events${query({ source: a.source })}`,
};

// Of these the headline says all: what to do is more to the point.
const SAID = new Set(["dead_letters", "paused", "breaker_open", "quiet_source"]);

function leads(item) {
  const own = WHERE[item.code];
  if (own) return own(item);
  // What is the gateway's own: the self-check says it beside everything else.
  return item.source ? `#${at("sources", item.source)}` : "#/rules";
}

function attention(item) {
  const where = item.source ? (item.destination ? `${item.source} → ${item.destination}` : item.source) : "";
  const key = `attention.${item.code}`;
  const text = has(key) ? parts(key, { n: item.count ?? 0, where: value(where || t("all_sources")) }) : sentence(item);
  const mend = cure(item);
  const href = leads(item);
  return h(
    "li",
    { class: `attention-item ${item.severity}` },
    badge(item.severity, word("severity", item.severity)),
    h(
      "div",
      {},
      h("p", { class: "attention-title" }, href ? h("a", { href, "data-row": "" }, text) : text),
      h("p", { class: "faint" }, has(key) && !SAID.has(item.text) && [sentence(item), gap()], mend),
    ),
    h("p", { class: "faint attention-time" }, item.since && h("span", {}, parts("since", { time: ago(item.since) })), item.until && h("span", {}, parts("until", { time: ago(item.until) }))),
  );
}

// The gateway says the worst first; more than this would push everything else out of sight.
const FIRST = 8;
// So many sources at most stand here: those that want a look come first.
const MOST = 12;

function attentions(list, all, showAll) {
  if (list.length === 0) return empty(t("attention.none"), t("attention.none_text"));
  const shown = all ? list : list.slice(0, FIRST);
  return [
    h("ul", { class: "attention" }, shown.map(attention)),
    shown.length < list.length && h("div", { class: "more" }, button(t("attention.all", { n: list.length }), showAll, { shape: "down" })),
  ];
}

function tile(name, figure, note, href, tone = "") {
  const inside = [h("span", { class: "tile-name" }, name), h("b", { class: "figures" }, figure), h("span", { class: "faint" }, note)];
  return h("li", { class: `tile ${tone}`.trim() }, href ? h("a", { href }, inside) : h("div", {}, inside));
}

function tiles(now) {
  const latency = (pair) => (typeof pair?.p99_ms === "number" ? millisPair(pair.p50_ms, pair.p99_ms) : "–");
  return h(
    "ul",
    { class: "tiles" },
    tile(t("tile.accepted"), rate(now.rates.accepted), [t("tile.duplicates"), " ", rate(now.rates.duplicate)], "#/events"),
    tile(t("tile.rejected"), rate(now.rates.rejected), [t("tile.refused"), " ", rate(now.rates.refused)], "#/refusals"),
    tile(t("tile.delivered"), rate(now.rates.delivered), [t("tile.failed"), " ", rate(now.rates.failed)], "#/events?state=delivered"),
    tile(t("tile.owed"), number(now.owed), now.oldest_owed_at ? parts("tile.oldest", { time: ago(now.oldest_owed_at) }) : t("tile.none_owed"), "#/events?state=owed"),
    tile(t("tile.dead"), number(now.dead), now.dead > 0 ? t("tile.dead_some") : t("tile.dead_none"), "#/dead", now.dead > 0 ? "bad" : ""),
    tile(t("tile.acknowledge"), latency(now.acknowledge), t("tile.p50_p99")),
    tile(t("tile.delivery"), latency(now.delivery), t("tile.p50_p99")),
  );
}

function state(now) {
  const [shape, text] = now.draining ? ["paused", "gateway.draining"] : now.accepting ? ["good", "gateway.accepting"] : ["blocker", "gateway.not_accepting"];
  return h(
    "p",
    { class: "gateway" },
    badge(shape, t(text)),
    h("span", {}, parts("gateway.version", { version: mono(now.version) })),
    h("span", {}, parts("gateway.up", { time: ago(now.started_at) })),
    h("span", {}, parts("gateway.journal", { size: bytes(now.journal_bytes) })),
    now.disk_free_bytes !== null && h("span", {}, parts("gateway.disk", { size: bytes(now.disk_free_bytes) })),
    now.certificate && h("span", {}, parts("gateway.certificate", { time: ago(now.certificate.not_after) })),
  );
}

const health = () => [
  { label: t("col.source"), class: "c-type", cell: (s) => h("a", { href: `#${at("sources", s.name)}`, "data-row": s.name }, value(s.name)) },
  { label: t("col.health"), class: "c-state", cell: (s) => badge(s.health) },
  { label: t("col.provider"), cell: (s) => value(s.title || s.provider) },
  { label: t("col.last_accepted"), cell: (s) => ago(s.last_accepted_at, t("never")) },
  { label: t("col.accepted_1h"), class: "c-number", cell: (s) => number(s.accepted_1h) },
  { label: t("col.rejected_share"), class: "c-number", cell: (s) => share(s.rejected_share) },
  { label: t("col.owed"), class: "c-number", cell: (s) => number(sum(s, "owed")) },
  { label: t("col.dead"), class: "c-number", cell: (s) => number(sum(s, "dead")) },
];

const sum = (source, name) => (source.destinations ?? []).reduce((all, one) => all + (one[name] ?? 0), 0);

export async function overview({ root, params, signal, keep, onLeave }) {
  let span = WINDOWS.includes(params.get("window")) ? params.get("window") : "1h";
  let now = await get("/v1/overview", {}, signal);
  const top = h("div", {});
  const first = h("div", { "aria-live": "polite" });
  const figures = h("div", {});
  const charts = h("div", {});
  const sources = h("div", {});
  const draw = () => {
    replace(top, state(now));
    replace(figures, tiles(now));
  };
  let said = "";
  let all = false;
  const drawFirst = () => {
    const news = JSON.stringify([now.attention, all]);
    // Whoever goes by keys keeps the place.
    if (news === said || first.contains(document.activeElement)) return;
    said = news;
    replace(first, attentions(now.attention, all, () => {
      all = true;
      document.activeElement.blur();
      drawFirst();
      first.querySelectorAll("[data-row]")[FIRST]?.focus();
    }));
  };
  const drawCharts = async () => {
    const wanted = span;
    const stats = await get("/v1/stats", { window: wanted }, signal);
    return () => wanted === span && replace(charts, statCharts(stats));
  };
  const windows = choice(t("window"), WINDOWS.map((w) => [w, t(`window.${w}`)]), span, (chosen) => {
    span = chosen;
    keep({ window: span === "1h" ? "" : span });
    drawCharts().then((put) => put(), () => {});
  });
  const listed = async () => {
    const every = worstFirst((await get("/v1/sources", {}, signal)).sources);
    const some = every.length > MOST ? every.slice(0, MOST - 2) : every;
    return [table(t("nav.sources"), health(), some, { id: (s) => s.name }), some.length < every.length && h("p", { class: "more" }, h("a", { href: "#/sources" }, t("sources.all", { n: every.length })))];
  };
  replace(
    root,
    h("h1", { tabindex: "-1" }, t("nav.overview")),
    top,
    panel(t("attention"), first),
    figures,
    h("section", { class: "panel", "aria-labelledby": "over-time" }, h("div", { class: "panel-head" }, h("h2", { id: "over-time" }, t("over_time")), windows), charts),
    panel(t("sources_health"), sources),
    h("p", { class: "faint" }, parts("rules_line", { digest: mono(String(now.rules_digest).slice(0, 12)), time: moment(now.rules_loaded_at) })),
  );
  draw();
  drawFirst();
  load(charts, signal, async () => {
    (await drawCharts())();
    return [...charts.childNodes];
  });
  load(sources, signal, listed);

  const again = async () => {
    try {
      now = await get("/v1/overview", {}, signal);
      draw();
      drawFirst();
      // Whoever reads a value keeps the chart.
      if (!document.hidden && !charts.matches(":hover, :focus-within")) (await drawCharts())();
      if (!sources.contains(document.activeElement)) replace(sources, await listed());
    } catch {
      // The frame says when the gateway cannot be reached.
    }
  };
  const timer = setInterval(again, 15000);
  const stream = live(["stats"], {}, {
    stats: (news) => {
      now = { ...now, ...news };
      if (!figures.contains(document.activeElement)) draw();
    },
    poll: again,
  });
  onLeave(() => {
    clearInterval(timer);
    stream.close();
  });
}
