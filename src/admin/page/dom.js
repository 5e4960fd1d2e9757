// Elements are made here and nowhere else. Every text goes through `shown`: what comes from outside
// is hostile, and characters that hide, reorder or imitate are made visible.

const SVG = "http://www.w3.org/2000/svg";

// Controls, format characters (bidirectional marks, joiners, tags), lone surrogates, private use,
// line separators, and whatever else leaves no ink.
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/u;
const UNSEEN_ALL = new RegExp(UNSEEN.source, "gu");

// Stacked marks climb over the lines above: beyond three on one letter each is named.
const STACKED = /(\p{M}{3})(\p{M}+)/gu;

const CONTROLS =
  "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US".split(" ");

function named(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return `\u27e8${CONTROLS[code]}\u27e9`;
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

function spell(marks) {
  return Array.from(marks, named).join("");
}

/** As one plain string, for attributes and titles. */
export function flat(value) {
  return String(value ?? "")
    .replace(STACKED, (_, some, more) => some + spell(more))
    .replace(UNSEEN_ALL, named);
}

/**
 * As text nodes; what cannot be seen stands in a marked span. With `lines`, line feeds and tabs keep
 * their meaning, as in a body.
 */
export function shown(value, lines = false) {
  const fragment = document.createDocumentFragment();
  const text = String(value ?? "").replace(STACKED, (_, some, more) => some + spell(more));
  let from = 0;
  for (const found of text.matchAll(UNSEEN_ALL)) {
    const character = found[0];
    if (lines && (character === "\n" || character === "\t")) continue;
    if (found.index > from) fragment.append(text.slice(from, found.index));
    const mark = document.createElement("span");
    mark.className = "unseen";
    mark.textContent = named(character);
    fragment.append(mark);
    from = found.index + character.length;
  }
  if (from < text.length) fragment.append(text.slice(from));
  return fragment;
}

const NAMES = new Set([
  "class", "id", "title", "role", "type", "name", "for", "rel", "lang", "dir", "datetime",
  "tabindex", "placeholder", "autocomplete", "autocapitalize", "scope", "colspan", "rows",
  "maxlength", "min", "max", "step", "inputmode", "spellcheck", "enterkeyhint", "label", "list",
]);
const SWITCHES = new Set([
  "disabled", "checked", "selected", "hidden", "open", "required", "multiple", "readonly", "autofocus",
]);
const GEOMETRY = new Set([
  "viewBox", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points",
  "text-anchor", "dominant-baseline", "focusable", "preserveAspectRatio", "transform", "rx",
]);

// Links lead to views of this page, or to the two downloads of an event.
const LINK = /^(#\/[\x21-\x7e]*|\/v1\/events\/[\w.~%-]+\/(body|request))$/;

function put(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "href") {
    if (!LINK.test(value)) throw new Error("not a link of ours");
    element.setAttribute("href", value);
  } else if (name === "download") {
    element.setAttribute("download", "");
  } else if (name === "value") {
    element.value = value;
  } else if (SWITCHES.has(name)) {
    element[name] = true;
    element.setAttribute(name, "");
  } else if (NAMES.has(name) || /^(aria|data)-[a-z-]+$/.test(name)) {
    element.setAttribute(name, flat(value));
  } else {
    throw new Error(`not an attribute of ours: ${name}`);
  }
}

function fill(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) fill(element, child);
    else element.append(child instanceof Node ? child : shown(child));
  }
}

/** An element: `h("p", { class: "note", on: { click } }, "text", node, [more])`. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  let value;
  for (const [name, given] of Object.entries(props ?? {})) {
    if (name === "on") {
      for (const [event, run] of Object.entries(given)) element.addEventListener(event, run);
    } else if (name === "value") value = given;
    else put(element, name, given);
  }
  fill(element, children);
  // A select takes its value only once it has its options.
  if (value !== undefined && value !== null) element.value = value;
  return element;
}

/** The same in SVG. */
export function s(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined) continue;
    if (GEOMETRY.has(name)) element.setAttribute(name, String(value));
    else put(element, name, value);
  }
  fill(element, children);
  return element;
}

/** A value from outside: isolated, so that its direction stays its own. */
export function value(text, className = "") {
  const element = h("bdi", { class: `value ${className}`.trim() });
  const whole = String(text ?? "");
  // Long names break behind their own signs before they break anywhere.
  const pieces = whole.length > 400 ? [whole] : whole.split(/(?<=[\w)][._/:?&=,-])(?=\w)/);
  pieces.forEach((piece, at) => element.append(...(at > 0 ? [document.createElement("wbr")] : []), shown(piece)));
  return element;
}

/** A value in fixed width. */
export function mono(text, className = "") {
  return value(text, `mono ${className}`.trim());
}

const long = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const before = target.tagName === "H1" ? -1 : null;
    const index = target.scrollHeight > target.clientHeight + 1 ? 0 : before;
    if (index === null) target.removeAttribute("tabindex");
    else target.tabIndex = index;
  }
});

/** What scrolls where its text is long: keys reach it then, too. */
export function scrolling(element) {
  if (element.textContent.length > 80) long.observe(element);
  return element;
}

/** A sentence in which `this` is code. */
export function marked(text) {
  return String(text ?? "").split("`").map((part, at) => (at % 2 === 1 ? h("code", { class: "mono" }, part) : part));
}

/** A block of text as it is, with its line ends. */
export function block(text, label) {
  const pre = h("pre", { class: "block", tabindex: "0", role: "region", "aria-label": label });
  pre.append(shown(text, true));
  return pre;
}

export function replace(element, ...children) {
  const fragment = document.createDocumentFragment();
  fill(fragment, children);
  element.replaceChildren(fragment);
  return element;
}

const SHAPES = {
  __proto__: null,
  check: "M3 8.5l3.2 3.2L13 5",
  cross: "M4 4l8 8M12 4l-8 8",
  clock: "M8 4v4.4l2.8 1.8M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13",
  dash: "M3.5 8h9",
  funnel: "M2.5 3.5h11L9.5 8.6v4l-3 1.4V8.6z",
  layers: "M8 2.5l6 3-6 3-6-3zM2.5 9l5.5 2.8L13.5 9",
  warn: "M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.6v.3",
  stop: "M5.2 1.7h5.6l3.5 3.5v5.6l-3.5 3.5H5.2l-3.5-3.5V5.2zM8 4.8v3.8M8 10.9v.3",
  note: "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13M8 7.3v4M8 4.7v.3",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  quiet: "M12.8 10.2A5.6 5.6 0 0 1 5.8 3.2a5.6 5.6 0 1 0 7 7z",
  dot: "M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 0 0 0-5.6",
  ring: "M8 3.2a4.8 4.8 0 1 0 0 9.6a4.8 4.8 0 0 0 0-9.6",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  redo: "M13 3.2v3.6H9.4M12.7 6.8A5.2 5.2 0 1 0 13 9.6",
  trash: "M2.8 4.2h10.4M6 4V2.4h4V4M4.2 4.4l.6 9.2h6.4l.6-9.2",
  eye: "M1.5 8s2.4-4.4 6.5-4.4S14.5 8 14.5 8s-2.4 4.4-6.5 4.4S1.5 8 1.5 8zM8 6.2a1.8 1.8 0 1 0 0 3.6a1.8 1.8 0 0 0 0-3.6",
  down: "M8 2.5v8M4.6 7.4L8 10.8l3.4-3.4M2.8 13.5h10.4",
  play: "M5 3.2l7.6 4.8L5 12.8z",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  home: "M2.5 7.6L8 3l5.5 4.6M4 6.8v6.4h8V6.8",
  list: "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.2M2.5 8h.2M2.5 12h.2",
  shield: "M8 1.8l5.2 1.8v4.2c0 3.2-2.2 5.4-5.2 6.6c-3-1.2-5.2-3.4-5.2-6.6V3.6z",
  plug: "M5.8 1.8v3M10.2 1.8v3M4 4.8h8v2.6a4 4 0 0 1-8 0zM8 11.4v2.8",
  book: "M3 2.8h4.2L8 3.6l.8-.8H13v10H8.8L8 13.6l-.8-.8H3zM8 3.6v10",
  pen: "M2.8 13.2l.7-3L11 2.7l2.3 2.3-7.5 7.5z",
  theme: "M8 1.8a6.2 6.2 0 1 0 0 12.4zM8 1.8a6.2 6.2 0 0 1 0 12.4",
};

/** A small picture; it only repeats what stands beside it. */
export function icon(name) {
  const svg = s("svg", { viewBox: "0 0 16 16", class: `icon icon-${name}`, focusable: "false" });
  svg.setAttribute("aria-hidden", "true");
  svg.append(s("path", { d: SHAPES[name] ?? SHAPES.dot }));
  return svg;
}
