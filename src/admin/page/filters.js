// A bar of filters. What it holds lives in the address, so that a link shows the same rows.

import { h, icon, replace } from "/dom.js";
import { t } from "/i18n.js";
import { button } from "/widgets.js";

const two = (n) => String(n).padStart(2, "0");

/** RFC 3339 in UTC to what the browser's field for a local time wants. */
function toField(iso) {
  const date = new Date(iso ?? "");
  if (Number.isNaN(date.getTime())) return "";
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

function fromField(text) {
  const date = new Date(text);
  return text === "" || Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

/** The wanted names out of an address. */
export function read(params, names) {
  const filters = {};
  for (const name of names) {
    const value = params.get(name);
    if (value !== null && value !== "") filters[name] = value.slice(0, 200);
  }
  return filters;
}

function control(spec, filters, changed) {
  const { name, kind, options } = spec;
  const label = t(`filter.${name}`);
  const current = filters[name] ?? "";
  if (kind === "select") {
    const known = options.some(([key]) => key === current);
    const all = [["", t("any")], ...options, ...(current && !known ? [[current, current]] : [])];
    const select = h("select", { name, value: current, on: { change: () => changed(name, select.value) } },
      all.map(([key, text]) => {
        const option = h("option", {}, text);
        option.value = key;
        return option;
      }));
    select.value = current;
    return h("label", { class: "filter" }, h("span", {}, label), select);
  }
  if (kind === "time") {
    const input = h("input", { type: "datetime-local", name, value: toField(current), on: { change: () => changed(name, fromField(input.value)) } });
    return h("label", { class: "filter time" }, h("span", {}, label), input);
  }
  let waiting = 0;
  const search = kind === "search";
  const now = () => {
    clearTimeout(waiting);
    if (input.value.trim() !== (filters[name] ?? "")) changed(name, input.value.trim());
  };
  const input = h("input", {
    type: search ? "search" : "text",
    name,
    value: current,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    maxlength: "200",
    "data-filter": search ? "" : null,
    placeholder: search ? (spec.hint ?? t("filter.text_hint")) : null,
    on: {
      input: () => {
        clearTimeout(waiting);
        waiting = setTimeout(now, 400);
      },
      change: now,
      keydown: (event) => {
        if (event.key === "Enter") now();
      },
    },
  });
  return h("label", { class: `filter ${search ? "wide" : ""}` }, h("span", {}, label), input);
}

/**
 * `specs`: { name, kind: "search|select|text|time", options, hint }. `changed(filters)` hears every change.
 * The first spec stays in sight where there is no room; the others wait behind a button.
 */
export function filterBar(specs, filters, changed) {
  const bar = h("div", { class: "filters", role: "search", "aria-label": t("filters") });
  const draw = () => {
    const set = specs.filter((spec) => filters[spec.name]).length;
    const opened = bar.classList.contains("opened");
    const toggle = button(set > 0 ? t("filters_set", { n: set }) : t("filters"), () => {
      const open = bar.classList.toggle("opened");
      toggle.setAttribute("aria-expanded", String(open));
    }, { kind: "filters-toggle", shape: "funnel", "aria-expanded": String(opened) });
    const clear = button(t("filters_clear"), () => {
      for (const name of Object.keys(filters)) delete filters[name];
      draw();
      changed(filters);
    }, { kind: "bare", shape: "cross", hidden: set === 0 });
    const change = (name, value) => {
      if (value === "") delete filters[name];
      else filters[name] = value;
      const left = specs.filter((spec) => filters[spec.name]).length;
      clear.hidden = left === 0;
      replace(toggle, icon("funnel"), h("span", {}, left > 0 ? t("filters_set", { n: left }) : t("filters")));
      changed(filters);
    };
    replace(bar, specs.map((spec) => control(spec, filters, change)), toggle, clear);
  };
  draw();
  return bar;
}

/** The names of the sources, for a select; none where they cannot be had. */
export function sourceOptions(list) {
  return (list ?? []).map((source) => [source.name, source.name]);
}
