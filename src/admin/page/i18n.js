// The texts in the viewer's language. Both tables have the same keys; a test compares them.

import { en } from "/en.js";
import { zh } from "/zh.js";

const TABLES = { en, "zh-CN": zh };

export function language() {
  return document.documentElement.lang === "zh-CN" ? "zh-CN" : "en";
}

export function speak(chosen) {
  document.documentElement.lang = chosen;
  try {
    localStorage.setItem("callseal.language", chosen);
  } catch {
    // A viewer without storage chooses anew each time.
  }
}

export function has(key) {
  return Object.hasOwn(TABLES[language()], key);
}

function text(key, params) {
  const table = TABLES[language()];
  if (params && typeof params.n === "number") {
    const form = new Intl.PluralRules(language()).select(params.n);
    if (form === "one" && Object.hasOwn(table, `${key}.one`)) return table[`${key}.one`];
  }
  if (!Object.hasOwn(table, key)) {
    console.error(`no text for ${key}`);
    return key;
  }
  return table[key];
}

/** Text and nodes in their order, for `h`. `missing`: what it gives where a hole stays empty. */
export function parts(key, params = {}, missing = undefined) {
  const pieces = text(key, params).split(/\{(\w+)\}/);
  if (missing !== undefined && pieces.some((part, at) => at % 2 === 1 && !Object.hasOwn(params, part))) return missing;
  return pieces
    .map((part, at) => {
      if (at % 2 === 0) return part;
      const given = params[part];
      return typeof given === "number" ? number(given) : (given ?? "");
    })
    .filter((part) => part !== "");
}

export function t(key, params) {
  return parts(key, params).join("");
}

/** What stands between two sentences. */
export const gap = () => (language() === "en" ? " " : "");

/** The text of a code where there is one, else the code itself. */
export function word(prefix, code) {
  const key = `${prefix}.${code}`;
  return has(key) ? t(key) : String(code ?? "");
}

const numbers = new Map();

export function number(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "–";
  const spoken = language();
  if (!numbers.has(spoken)) numbers.set(spoken, new Intl.NumberFormat(spoken, { maximumFractionDigits: 2 }));
  return numbers.get(spoken).format(n);
}
