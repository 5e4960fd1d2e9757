// Charts of a value over time, drawn with SVG. A line breaks where the gateway did not run. Series
// differ in dash as well as in colour; the figures under the pointer stand in the legend.

import { h, replace, s } from "/dom.js";
import { language, number, t } from "/i18n.js";

const HEIGHT = 132;
const LEFT = 44;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;

/** Joins neighbouring points: `how` is sum, last or max; null only where all are. */
function thin(values, size, how) {
  const out = [];
  for (let at = 0; at < values.length; at += size) {
    const some = values.slice(at, at + size).filter((v) => v !== null && v !== undefined);
    if (some.length === 0) out.push(null);
    else if (how === "last") out.push(some.at(-1));
    else if (how === "max") out.push(some.reduce((a, b) => Math.max(a, b)));
    else out.push(some.reduce((a, b) => a + b) / some.length);
  }
  return out;
}

/** A round number at or above `top`, and the step between grid lines. */
function scale(top, whole) {
  if (top <= 0) return { top: 1, step: 1 };
  const rough = top / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const nice = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const step = whole ? Math.max(1, Math.ceil(nice)) : nice;
  return { top: Math.ceil(top / step - 1e-9) * step, step };
}

function path(points, x, y) {
  let d = "";
  let pen = false;
  points.forEach((v, at) => {
    if (v === null) {
      pen = false;
      return;
    }
    d += `${pen ? "L" : "M"}${x(at).toFixed(1)} ${y(v).toFixed(1)}`;
    // A point between two gaps is a dot.
    if (!pen && (at + 1 >= points.length || points[at + 1] === null)) d += "m-2 0h4";
    pen = true;
  });
  return d;
}

function area(points, x, y) {
  let d = "";
  let from = null;
  const shut = (to) => {
    d += `L${x(to).toFixed(1)} ${y(0)}L${x(from).toFixed(1)} ${y(0)}Z`;
    from = null;
  };
  points.forEach((v, at) => {
    if (v === null) {
      if (from !== null) shut(at - 1);
      return;
    }
    d += `${from === null ? "M" : "L"}${x(at).toFixed(1)} ${y(v).toFixed(1)}`;
    from ??= at;
  });
  if (from !== null) shut(points.length - 1);
  return d;
}

/**
 * One chart. `series`: [{ name, label, values, how, tone, dash, fill }]; `from` and `step` in
 * milliseconds; `unit(value)` says a value.
 */
export function chart({ title, series, from, step, unit, whole = false }) {
  const plot = h("div", { class: "plot" });
  const legend = h("ul", { class: "legend" });
  const moment = h("span", { class: "at" });
  // The value under the arrow keys, for who hears the page.
  const heard = h("span", { class: "offscreen", role: "status" });
  const figure = h("figure", { class: "chart" }, h("figcaption", {}, title, moment), legend, plot, heard);
  const longest = Math.max(...series.map((one) => one.values.length), 1);
  const size = Math.max(1, Math.ceil(longest / 120));
  const lines = series.map((one) => ({ ...one, points: thin(one.values, size, one.how) }));
  const count = Math.ceil(longest / size);
  const known = lines.flatMap((one) => one.points).filter((v) => v !== null);
  const wide = step * size;
  const clock = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(language(), { month: "short", day: "numeric" });
  const dayClock = new Intl.DateTimeFormat(language(), { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const overDays = wide * count > 36 * 3600e3;

  const said = (v) => (v === null || v === undefined ? "–" : unit(v));
  function tell(at) {
    replace(
      legend,
      lines.map((one) => {
        const v = at === null ? one.points.findLast((p) => p !== null) : one.points[at];
        const swatch = s("svg", { viewBox: "0 0 18 8", class: "swatch", focusable: "false" });
        swatch.setAttribute("aria-hidden", "true");
        swatch.append(s("path", { d: "M1 4h16", class: `line ${one.tone} ${one.dash ?? ""}` }));
        return h("li", {}, swatch, one.label, " ", h("b", {}, said(v)));
      }),
    );
    replace(moment, at !== null && dayClock.format(new Date(from + at * wide)));
  }

  function draw(width) {
    const inner = Math.max(width - LEFT - RIGHT, 40);
    const { top, step: grid } = scale(Math.max(...known, 0), whole);
    const x = (at) => LEFT + (count < 2 ? inner / 2 : (at / (count - 1)) * inner);
    const y = (v) => TOP + (1 - v / top) * (HEIGHT - TOP - BOTTOM);
    const svg = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, tabindex: "0", role: "img" });
    const highest = known.length > 0 ? unit(Math.max(...known)) : "–";
    svg.setAttribute("aria-label", t("chart.spoken", { title, highest }));
    for (let v = 0; v <= top + grid / 1000; v += grid) {
      svg.append(s("path", { d: `M${LEFT} ${y(v)}H${LEFT + inner}`, class: v === 0 ? "axis" : "grid" }));
      svg.append(s("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, number(Number(v.toPrecision(6)))));
    }
    const marks = inner < 300 ? 3 : 5;
    for (let mark = 0; mark < marks; mark += 1) {
      const at = Math.round((mark / (marks - 1)) * (count - 1));
      const anchor = mark === 0 ? "start" : mark === marks - 1 ? "end" : "middle";
      const text = (overDays ? day : clock).format(new Date(from + at * wide));
      svg.append(s("text", { x: x(at), y: HEIGHT - 4, "text-anchor": anchor }, text));
    }
    for (const one of lines) {
      if (one.fill) svg.append(s("path", { d: area(one.points, x, y), class: `area ${one.tone}` }));
    }
    for (const one of lines.toReversed()) {
      svg.append(s("path", { d: path(one.points, x, y), class: `line ${one.tone} ${one.dash ?? ""}` }));
    }
    if (known.length === 0) {
      svg.append(s("text", { x: LEFT + inner / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "nothing" }, t("chart.nothing")));
    }
    const hair = s("path", { d: "", class: "hair" });
    svg.append(hair);
    let now = null;
    const point = (at) => {
      now = at === null ? null : Math.min(Math.max(at, 0), count - 1);
      hair.setAttribute("d", now === null ? "" : `M${x(now)} ${TOP}V${HEIGHT - BOTTOM}`);
      tell(now);
    };
    svg.addEventListener("pointermove", (event) => {
      const share = (event.offsetX - LEFT) / inner;
      point(Math.round(share * (count - 1)));
    });
    svg.addEventListener("pointerdown", (event) => point(Math.round(((event.offsetX - LEFT) / inner) * (count - 1))));
    svg.addEventListener("pointerleave", () => point(null));
    svg.addEventListener("blur", () => point(null));
    svg.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: (now ?? count) - 1, ArrowRight: (now ?? count - 2) + 1, Home: 0, End: count - 1, PageUp: (now ?? count) - 10, PageDown: (now ?? count) + 10 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(to);
      replace(heard, t("chart.value", { at: dayClock.format(new Date(from + now * wide)), values: lines.map((one) => `${one.label} ${said(one.points[now])}`).join(", ") }));
    });
    replace(plot, svg);
  }

  tell(null);
  let drawn = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== drawn) {
      drawn = width;
      draw(width);
    }
  }).observe(plot);
  return figure;
}

/** The charts of one answer of `/v1/stats`. */
export function statCharts(stats, options = {}) {
  const from = Date.parse(stats.from);
  const step = stats.step_seconds * 1000;
  // The last step is under way: its count is not yet one of a whole step, and would look like a fall.
  const perMinute = (name) => {
    const all = (stats.series[name] ?? []).map((v) => (v === null ? null : (v * 60) / stats.step_seconds));
    return (all.at(-2) ?? null) === null ? all : [...all.slice(0, -1), null];
  };
  const count = (name, tone, dash, fill) => ({ label: t(`series.${name}`), values: perMinute(name), tone, dash, fill });
  const gauge = (name, tone, dash, fill) => ({ label: t(`series.${name}`), values: stats.series[name] ?? [], how: "last", tone, dash, fill });
  const time = (name, label, tone, dash) => ({ label, values: stats.series[name] ?? [], how: "max", tone, dash });
  const calls = (v) => number(Number(v.toPrecision(3)));
  const base = { from, step };
  const all = [
    chart({ ...base, title: t("chart.callbacks"), unit: calls, series: [count("accepted", "accent", "", true), count("duplicate", "mute", "dashed"), count("rejected", "bad", "dotted"), count("refused", "warn", "dashdot")] }),
    chart({ ...base, title: t("chart.deliveries"), unit: calls, series: [count("delivered", "good", "", true), count("failed", "bad", "dotted")] }),
    chart({ ...base, title: t("chart.backlog"), whole: true, unit: (v) => number(v), series: [gauge("owed", "info", "", true), gauge("dead", "bad", "dashed")] }),
    chart({ ...base, title: t("chart.acknowledge"), unit: (v) => t("unit.ms", { v: calls(v) }), series: [time("acknowledge_p50_ms", "p50", "accent", ""), time("acknowledge_p99_ms", "p99", "mute", "dashed")] }),
    chart({ ...base, title: t("chart.delivery"), unit: (v) => t("unit.ms", { v: calls(v) }), series: [time("delivery_p50_ms", "p50", "accent", ""), time("delivery_p99_ms", "p99", "mute", "dashed")] }),
  ];
  return h("div", { class: `charts ${options.class ?? ""}`.trim() }, all);
}
