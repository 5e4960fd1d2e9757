// Who did what, and when.

import { at, get } from "/api.js";
import { h, mono, replace, value } from "/dom.js";
import { read } from "/filters.js";
import { when } from "/format.js";
import { number, t, word } from "/i18n.js";
import { outcome, toldFilter } from "/jobs.js";
import { lane, toEvent } from "/rows.js";
import { load, more, none, table, trouble } from "/widgets.js";

// A job's detail is its filter, that of a reload the digest of the rules.
function detail(a) {
  if (["redrive_many", "discard_many"].includes(a.what)) return h("span", { class: "filter-text" }, toldFilter(a.detail));
  if (/^[0-9a-f]{64}$/.test(a.detail)) return h("span", { title: a.detail }, mono(a.detail.slice(0, 12)));
  return a.detail && value(a.detail);
}

const columns = () => [
  { label: t("col.time"), class: "c-time", cell: (a) => when(a.at) },
  { label: t("col.by"), cell: (a) => value(a.by) },
  { label: t("col.what"), class: "c-type", cell: (a) => h("b", {}, word("deed", a.what)) },
  {
    label: t("col.subject"),
    class: "c-lane",
    cell: (a) => [a.event ? h("a", { href: `#${at("events", a.event)}`, "data-row": "", class: "mono" }, value(a.event)) : a.source && lane(a), a.event && a.source && [" ", h("span", { class: "faint" }, lane(a))]],
  },
  { label: t("col.count"), class: "c-number", cell: (a) => a.count > 0 && number(a.count) },
  { label: t("col.detail"), class: "c-reason", cell: detail },
  { label: t("col.outcome"), class: "c-state", cell: (a) => a.outcome && outcome(a.outcome) },
];

export async function audit({ root, params, signal }) {
  const filters = read(params, ["event"]);
  const place = h("div", { class: "list" });
  let rows = [];
  let next = null;
  const draw = () => {
    if (rows.length === 0) return none(t("audit.none"), t("audit.none_text"));
    return [table(t("nav.audit"), columns(), rows), next !== null && more(page)];
  };
  async function page() {
    try {
      const answer = await get("/v1/audit", { ...filters, limit: 50, cursor: next }, signal);
      rows = [...rows, ...answer.audit];
      next = answer.next;
      replace(place, draw());
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) replace(place.querySelector(".more"), trouble(error, page));
    }
  }
  replace(
    root,
    h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, t("nav.audit"))),
    h("p", { class: "lead" }, t("audit.lead")),
    filters.event && h("p", {}, t("audit.one"), " ", toEvent(filters.event, value(filters.event)), " · ", h("a", { href: "#/audit" }, t("filters_clear"))),
    place,
  );
  await load(place, signal, async () => {
    const answer = await get("/v1/audit", { ...filters, limit: 50 }, signal);
    rows = answer.audit;
    next = answer.next;
    return draw();
  });
}
