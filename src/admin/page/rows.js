// A delivery as a row.

import { at } from "/api.js";
import { h, icon, mono, value } from "/dom.js";
import { ago, amount, when } from "/format.js";
import { number, t } from "/i18n.js";
import { badge } from "/widgets.js";
import { meaning } from "/reasons.js";

export function toEvent(id, ...text) {
  return h("a", { href: `#${at("events", id)}` }, ...text);
}

/** Where it came from and where it goes. */
export function lane(row) {
  return h("span", { class: "lane" }, value(row.source), row.destination && [h("span", { class: "faint arrow", "aria-hidden": "true" }, " → "), value(row.destination)]);
}

export function reason(code) {
  if (!code) return null;
  // `gave_up:timeout`: both have a meaning.
  const text = code.split(":").map(meaning).filter(Boolean).join(t("colon"));
  return h("span", { class: "reason", title: text || null }, mono(code), text && h("small", {}, text));
}

function next(row) {
  if (row.state === "owed") {
    return h("span", { class: "reason" }, h("span", {}, row.due ? [t("due"), " ", ago(row.due)] : t("due_now")), row.reason && h("small", {}, mono(row.reason)));
  }
  return why(row);
}

/** Why it stands as it does: a code, or what an operator wrote. */
export function why(row) {
  if (row.state === "discarded") return row.reason ? h("span", { class: "reason" }, value(row.reason)) : null;
  return reason(row.reason);
}

export function payment(row) {
  const paid = row.payment;
  if (!paid || (!paid.order && !amount(paid) && !paid.status)) return null;
  return h(
    "span",
    { class: "payment" },
    paid.order && value(paid.order, "order"),
    amount(paid) && h("b", { class: "figures" }, value(amount(paid))),
    paid.status && value(paid.status, "faint"),
  );
}

export const columns = () => [
  { label: t("col.state"), class: "c-state", cell: (row) => [badge(row.state), row.conflict && h("span", { class: "flag", title: t("conflict_text") }, icon("warn"), t("conflict"))] },
  {
    label: t("col.type"),
    class: "c-type",
    cell: (row) => h("a", { href: `#${at("events", row.id)}`, "data-row": row.id }, value(row.type || t("no_type"))),
  },
  { label: t("col.received"), class: "c-time", cell: (row) => when(row.received_at) },
  { label: t("col.lane"), class: "c-lane", cell: lane },
  { label: t("col.payment"), class: "c-payment", cell: payment },
  { label: t("col.attempts"), class: "c-number", cell: (row) => number(row.attempts) },
  { label: t("col.next"), class: "c-reason", cell: next },
];
