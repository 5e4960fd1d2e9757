// The rules as they are loaded, and what the gateway finds wrong with itself.

import { at, get, mayChange, post } from "/api.js";
import { block, h, icon, marked, mono, replace, value } from "/dom.js";
import { cure, sentence } from "/findings.js";
import { moment } from "/format.js";
import { t, word } from "/i18n.js";
import { remark } from "/trace.js";
import { badge, button, command, empty, facts, load, panel, say, table, trouble } from "/widgets.js";

const digest = (text) => text && h("span", { title: text }, mono(text.slice(0, 12)));

const ofSources = () => [
  { label: t("col.source"), class: "c-type", cell: (s) => h("a", { href: `#${at("sources", s.name)}`, "data-row": s.name }, value(s.name)) },
  { label: t("col.file"), cell: (s) => s.file && mono(s.file) },
  { label: t("col.digest"), cell: (s) => digest(s.digest) },
];

const ofProviders = () => [
  { label: t("col.provider"), class: "c-type", cell: (p) => [value(p.title || p.name), p.title && h("small", { class: "under" }, mono(p.name))] },
  { label: t("col.file"), cell: (p) => (p.file ? mono(p.file) : h("span", { class: "faint" }, t("built_in"))) },
  { label: t("col.digest"), cell: (p) => digest(p.digest) },
  {
    label: t("col.used_by"),
    cell: (p) => (p.used_by.length > 0 ? h("span", { class: "links" }, p.used_by.map((name) => h("a", { href: `#${at("sources", name)}` }, value(name)))) : h("span", { class: "faint" }, t("nobody"))),
  },
];

const SEVERE = ["blocker", "warning", "fine"];

// The gateway itself has no name; the files have theirs.
const subject = (f) => (["gateway", "rules"].includes(f.subject) ? t(f.subject === "rules" ? "finding.rules_subject" : "finding.gateway") : value(f.subject));

function finding(f) {
  const mend = f.severity === "fine" ? null : cure(f);
  return h(
    "li",
    {},
    badge(f.severity, word("severity", f.severity)),
    h("div", {}, h("p", {}, h("b", {}, subject(f)), " · ", sentence(f)), mend && h("p", { class: "faint" }, mend)),
  );
}

function findings(answer) {
  const sorted = answer.findings.toSorted((a, b) => SEVERE.indexOf(a.severity) - SEVERE.indexOf(b.severity));
  if (sorted.length === 0) return empty(t("doctor.none"));
  return h("ul", { class: "findings" }, sorted.map(finding));
}

export async function rules({ root, signal }) {
  const place = h("div", { class: "stack" });
  const outcome = h("div", { class: "stack", role: "status" });
  const checks = h("div", {});
  let all = false;
  const make = async () => {
    const loaded = await get("/v1/rules", {}, signal);
    const providers = h("div", {});
    const draw = () => {
      const some = loaded.providers.filter((p) => all || p.used_by.length > 0 || p.file);
      replace(providers, table(t("providers"), ofProviders(), some.length > 0 ? some : loaded.providers, { class: "slim" }), some.length > 0 && some.length < loaded.providers.length && h("div", { class: "more" }, button(t("providers.all", { n: loaded.providers.length }), () => {
        all = true;
        draw();
      })));
    };
    draw();
    return [
      panel(t("rules.loaded"), facts([[t("fact.digest"), mono(loaded.digest)], [t("fact.loaded"), moment(loaded.loaded_at)]]), loaded.reload_error && h("div", { class: "notice bad" }, icon("stop"), h("div", {}, h("p", {}, t("rules.old")), block(loaded.reload_error, t("rules.diagnostics")))), command("callseal check")),
      (loaded.remarks ?? []).length > 0 && panel(t("rules.warnings"), h("ul", { class: "findings" }, loaded.remarks.map((w) => h("li", {}, badge("warning", t("severity.warning")), h("p", { class: "preline" }, marked(remark(w))))))),
      panel(t("rules.sources"), table(t("rules.sources"), ofSources(), loaded.sources, { class: "slim" })),
      panel(t("providers"), providers),
    ];
  };
  const reload = button(t("reload"), async () => {
    reload.disabled = true;
    replace(outcome);
    try {
      const answer = await post("/v1/reload", undefined, {}, signal);
      say(answer.changed ? t("reload.changed") : t("reload.same"));
      load(place, signal, make);
    } catch (error) {
      if (error.code === "reload_failed") {
        replace(outcome, h("div", { class: "notice bad", role: "alert" }, icon("stop"), h("div", {}, h("p", {}, t("error.reload_failed")), block(error.detail, t("rules.diagnostics")))));
      } else replace(outcome, trouble(error));
    } finally {
      reload.disabled = false;
    }
  }, { kind: "primary", shape: "redo" });
  replace(
    root,
    h("div", { class: "view-head" }, h("h1", { tabindex: "-1" }, t("nav.rules")), mayChange() && reload),
    outcome,
    panel(t("doctor"), h("p", { class: "faint" }, t("doctor.text")), checks, command("callseal doctor")),
    place,
  );
  load(checks, signal, async () => findings(await get("/v1/doctor", {}, signal)));
  await load(place, signal, make);
}
