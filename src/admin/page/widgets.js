// The parts that views are made of.

import { flat, h, icon, mono, replace, scrolling, value } from "/dom.js";
import { told } from "/findings.js";
import { has, language, number, parts, t, word } from "/i18n.js";
import { meaning } from "/reasons.js";

// No prototype: a state from outside may be called "constructor".
const STATES = {
  __proto__: null,
  owed: ["clock", "info"],
  delivered: ["check", "good"],
  dead: ["stop", "bad"],
  discarded: ["trash", "mute"],
  filtered: ["funnel", "mute"],
  superseded: ["layers", "mute"],
  good: ["check", "good"],
  quiet: ["quiet", "warn"],
  failing: ["stop", "bad"],
  paused: ["pause", "warn"],
  idle: ["ring", "mute"],
  blocker: ["stop", "bad"],
  warning: ["warn", "warn"],
  note: ["note", "info"],
  fine: ["check", "good"],
  closed: ["check", "good"],
  half_open: ["clock", "warn"],
  open: ["stop", "bad"],
  used: ["check", "good"],
  unused: ["ring", "mute"],
  expiring: ["warn", "warn"],
  expired: ["stop", "bad"],
  passed: ["check", "good"],
  failed: ["stop", "bad"],
  noted: ["note", "mute"],
  accepted: ["check", "good"],
  rejected: ["stop", "bad"],
  refused: ["dash", "warn"],
  malformed: ["cross", "warn"],
  overloaded: ["warn", "bad"],
  unheard: ["note", "mute"],
  running: ["clock", "info"],
  done: ["check", "good"],
  stopped: ["pause", "warn"],
};

/** State as shape, colour and word. */
export function badge(state, text) {
  const [shape, tone] = STATES[state] ?? ["dot", "mute"];
  return h("span", { class: `badge ${tone}` }, icon(shape), h("span", {}, text ?? word("state", state)));
}

export function tone(state) {
  return (STATES[state] ?? ["dot", "mute"])[1];
}

export function button(text, run, options = {}) {
  const { kind = "", shape, ...rest } = options;
  const props = { type: "button", class: `button ${kind}`.trim(), on: { click: run }, ...rest };
  return h("button", props, shape && icon(shape), text && h("span", {}, text));
}

/** Says something to everybody, also to who hears the page. */
export function say(text, kind = "note") {
  const place = document.getElementById("says");
  if (!place) return;
  const note = h("div", { class: `say ${kind}` }, icon(kind === "bad" ? "stop" : "check"), h("p", {}, text));
  note.append(button("", () => note.remove(), { kind: "bare", shape: "cross", "aria-label": t("close") }));
  place.append(note);
  if (kind !== "bad") setTimeout(() => note.remove(), 6000);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS browsers give no clipboard: the old way.
    const area = h("textarea", { class: "offscreen", readonly: true, "aria-hidden": "true", value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function copyButton(text, label, shownLabel = "") {
  const run = async () => {
    const done = await toClipboard(text);
    say(done ? t("copied") : t("copy_failed"), done ? "note" : "bad");
  };
  const kind = shownLabel ? "" : "bare";
  return button(shownLabel, run, { kind, shape: "copy", title: label, "aria-label": label });
}

/** A command for the terminal, with a button that copies it: one line, and what is seen. */
export function command(text) {
  const line = flat(text);
  return h("div", { class: "command" }, h("code", {}, line), copyButton(line, t("copy_command")));
}

/** One argument for a shell, quoted where it must be; never an option. */
export function quoted(text) {
  const plain = flat(text);
  const argument = /^[\w@%+=:,./-]+$/.test(plain) ? plain : `'${plain.replaceAll("'", "'\\''")}'`;
  return plain.startsWith("-") ? `-- ${argument}` : argument;
}

export function loading() {
  return h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), t("loading"));
}

/** Nothing is there, and that is good. */
export function empty(title, text) {
  return h("div", { class: "empty" }, icon("check"), h("p", { class: "empty-title" }, title), text && h("p", {}, text));
}

/** Nothing is there, which is neither good nor bad; `next`: a command that changes it. */
export function none(title, text, next = null) {
  return h("div", { class: "empty plain" }, icon("note"), h("p", { class: "empty-title" }, title), text && h("p", {}, text), next && command(next));
}

// Of these the gateway has no more to tell than the page does.
const SAID_ALREADY = new Set(["unauthorized", "operator_only", "csrf", "host", "client_certificate", "timeout", "no_such_event", "no_such_job", "no_such_source", "not_found", "method_not_allowed", "too_many_requests", "too_many_streams", "too_many_connections"]);

// The store's own codes say what is wrong; the advice is the same for all.
function advice(error) {
  const code = error.code ?? "page";
  return has(`error.${code}`) ? t(`error.${code}`) : [meaning(code) && `${meaning(code)} · `, t(error.status >= 500 ? "error.server" : "error.other")];
}

/** What the gateway says beyond the code; null where that is all. In its own English where it must be. */
function beyond(error) {
  const code = error.code ?? "page";
  const own = told(error);
  if (own !== null) return h("p", { class: "preline" }, own);
  const english = language() === "en";
  // The store's own say the same as the meaning of their code.
  if (!error.detail || SAID_ALREADY.has(code) || (!english && meaning(code))) return null;
  return h("p", { class: "preline", lang: english ? null : "en" }, value(error.detail));
}

/** What went wrong, in one line. */
export function plainly(error) {
  if (!error.code) console.error(error);
  return [advice(error)].flat().filter(Boolean).join("");
}

/** What went wrong, and what to do about it. */
export function trouble(error, retry) {
  if (!error.code) console.error(error);
  const code = error.code ?? "page";
  return h(
    "div",
    { class: "trouble", role: "alert", "data-code": code },
    icon("stop"),
    h(
      "div",
      {},
      h("p", { class: "trouble-title" }, advice(error), error.wait ? ` ${t("error.wait", { n: error.wait })}` : ""),
      beyond(error),
      h("p", { class: "faint" }, parts("error.code", { code: mono(error.status ? `${error.status} ${code}` : code) })),
      retry && button(t("try_again"), retry, { shape: "redo" }),
    ),
  );
}

/** Fills `place` with what `make` gives; shows what is going on, and what went wrong. */
export async function load(place, signal, make) {
  replace(place, loading());
  place.setAttribute("aria-busy", "true");
  try {
    const content = await make();
    if (!signal.aborted) replace(place, content);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted || error.status === 401) return;
    replace(place, trouble(error, () => load(place, signal, make)));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/**
 * A table that is a list of cards where there is no room. `columns`: { label, class, cell(row) }.
 * The roles stay when the style makes blocks of it.
 */
export function table(caption, columns, rows, options = {}) {
  const head = h(
    "tr",
    { role: "row" },
    columns.map((c) => h("th", { scope: "col", role: "columnheader", class: c.class }, c.label || h("span", { class: "offscreen" }, c.hidden))),
  );
  const body = h("tbody", { role: "rowgroup" }, rows.map((row) => tableRow(columns, row, options)));
  return h(
    "table",
    { class: `table ${options.class ?? ""}`.trim(), role: "table" },
    h("caption", { class: "offscreen" }, caption),
    h("thead", { role: "rowgroup" }, head),
    body,
  );
}

export function tableRow(columns, row, options = {}) {
  const cells = columns.map((c) =>
    h("td", { role: "cell", class: c.class, "data-label": c.label || null }, scrolling(h("div", { class: "cell" }, c.cell(row)))),
  );
  return h("tr", { role: "row", "data-id": options.id?.(row), class: options.rowClass?.(row) }, cells);
}

/** Names and values, in pairs. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs.filter(Boolean).map(([name, content]) => h("div", {}, h("dt", {}, name), scrolling(h("dd", {}, content)))),
  );
}

export function panel(title, ...content) {
  const id = `p-${Math.random().toString(36).slice(2)}`;
  return h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), content);
}

/** One of a few: buttons that stand together. */
export function choice(label, options, current, choose) {
  const group = h("div", { class: "choice", role: "group", "aria-label": label });
  const draw = (chosen) =>
    replace(
      group,
      options.map(([key, text]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(key === chosen),
            on: {
              click: () => {
                draw(key);
                group.querySelector("[aria-pressed=true]")?.focus();
                choose(key);
              },
            },
          },
          text,
        ),
      ),
    );
  draw(current);
  return group;
}

export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

export function more(run) {
  return h("div", { class: "more" }, button(t("more"), run, { shape: "down" }));
}

export function progress(done, total) {
  const bar = h("progress", { "aria-label": t("progress") });
  bar.max = Math.max(total, 1);
  bar.value = Math.min(done, bar.max);
  return h("div", { class: "progress" }, bar, h("span", { class: "figures" }, `${number(done)} / ${number(total)}`));
}
