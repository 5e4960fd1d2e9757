// Numbers, sizes, durations and times as people read them.

import { h } from "/dom.js";
import { language, number, t } from "/i18n.js";

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return t("unit.s", { v: number(Math.round(seconds * 10) / 10) });
  let rest = Math.round(seconds);
  const said = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count === 0) {
      if (said.length > 0) break;
      continue;
    }
    said.push(t(`unit.${unit}`, { v: number(count) }));
    rest -= count * size;
    if (said.length === 2) break;
  }
  return said.join(" ");
}

export function millis(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10000) return duration(ms / 1000);
  if (ms >= 1000) return t("unit.s", { v: number(Math.round(ms / 10) / 100) });
  const digits = ms < 1 ? 100 : ms < 10 ? 10 : 1;
  return t("unit.ms", { v: number(Math.round(ms * digits) / digits) });
}

/** Two of them, with one unit where that is enough. */
export function millisPair(a, b) {
  const second = millis(b);
  return a < 1000 && b < 1000 ? `${millis(a).split(" ")[0]} / ${second}` : `${millis(a)} / ${second}`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let size = count;
  while (size >= 1024 && at < names.length - 1) {
    size /= 1024;
    at += 1;
  }
  return `${number(Math.round(size * 10) / 10)} ${names[at]}`;
}

/** Per second, or per minute where that reads better. */
export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond === 0) return "0";
  const precise = (x) => number(x >= 100 ? Math.round(x) : Number(x.toPrecision(2)));
  return perSecond >= 1
    ? t("unit.per_second", { v: precise(perSecond) })
    : t("unit.per_minute", { v: precise(perSecond * 60) });
}

export function share(part) {
  if (part === null || part === undefined) return "–";
  return new Intl.NumberFormat(language(), { style: "percent", maximumFractionDigits: 1 }).format(part);
}

const formats = new Map();

function format(name, options) {
  const key = `${language()} ${name}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(language(), options));
  return formats.get(key);
}

const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const day = { month: "short", day: "numeric" };

function parse(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? null : date;
}

export function utc(iso) {
  const date = parse(iso);
  return date ? `${date.toISOString().replace("T", " ").replace("Z", "")} UTC` : String(iso);
}

export function zone() {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

function local(date) {
  if (date.toDateString() === new Date().toDateString()) return format("clock", clock).format(date);
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return format(year.year ? "long" : "short", { ...year, ...day, ...clock }).format(date);
}

const speakers = new Map();

function spokenIn(tongue) {
  if (!speakers.has(tongue)) speakers.set(tongue, new Intl.RelativeTimeFormat(tongue, { numeric: "auto", style: "short" }));
  return speakers.get(tongue);
}

export function relative(date, now = Date.now()) {
  const seconds = (date.getTime() - now) / 1000;
  const size = Math.abs(seconds);
  const spoken = spokenIn(language());
  if (size < 45) return spoken.format(Math.round(seconds), "second");
  if (size < 45 * 60) return spoken.format(Math.round(seconds / 60), "minute");
  if (size < 36 * 3600) return spoken.format(Math.round(seconds / 3600), "hour");
  return spoken.format(Math.round(seconds / 86400), "day");
}

/** A moment in the viewer's zone; the exact UTC time is its title. */
export function when(iso, absent = "–") {
  if (!iso) return h("span", { class: "faint" }, absent);
  const date = parse(iso);
  if (!date) return h("bdi", {}, iso);
  return h("time", { datetime: date.toISOString(), title: utc(iso) }, local(date));
}

/** How long ago, or how long until; kept fresh by `tick`. */
export function ago(iso, absent = "–") {
  if (!iso) return h("span", { class: "faint" }, absent);
  const date = parse(iso);
  if (!date) return h("bdi", {}, iso);
  const title = `${local(date)} · ${utc(iso)}`;
  return h("time", { datetime: date.toISOString(), title, "data-ago": "" }, relative(date));
}

/** Both: the moment, and how long ago. */
export function moment(iso, absent = "–") {
  if (!iso || !parse(iso)) return when(iso, absent);
  return h("span", { class: "moment" }, when(iso), " ", h("span", { class: "faint" }, "(", ago(iso), ")"));
}

export function tick() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const date = parse(element.dateTime);
    const text = date ? relative(date) : "";
    if (text && element.textContent !== text) element.textContent = text;
  }
}

/** An amount with its currency; where its digits are not certain, as the provider wrote it. */
export function amount(payment) {
  if (!payment || payment.amount === null || payment.amount === undefined) return "";
  const text = payment.currency ? `${payment.amount} ${payment.currency}` : payment.amount;
  return payment.unit === "minor" ? t("amount.minor", { amount: text }) : text;
}
