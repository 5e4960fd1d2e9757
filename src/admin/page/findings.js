// What the gateway finds wrong with itself, in the viewer's language: by the code of each sentence,
// filled with its facts. What has no code here stays as the gateway says it, in English.

import { h, marked, mono, value } from "/dom.js";
import { duration, share, when } from "/format.js";
import { has, language, number, parts, t, word } from "/i18n.js";
import { remark } from "/trace.js";

// How a fact is said; all others are names.
const SAID = {
  __proto__: null,
  count: (text) => number(Number(text)),
  days: (text) => number(Number(text)),
  seconds: (text) => duration(Number(text)),
  share: (text) => share(Number(text)),
  until: (text) => when(text),
  since: (text) => when(text),
};

const english = () => (language() === "en" ? null : "en");

/** `found`: an entry of what needs attention, or of the self-check. */
export function sentence(found) {
  const key = `finding.${found.text}`;
  const facts = { source: found.source, destination: found.destination, ...found.facts };
  const params = {};
  for (const [name, text] of Object.entries(facts)) {
    if (text !== null && text !== undefined) params[name] = SAID[name]?.(text) ?? value(text);
  }
  // A remark comes in its parts, too.
  if (facts.message) params.remark = value(remark(facts));
  const n = Number(facts.count ?? facts.days);
  if (!Number.isNaN(n)) params.n = n;
  if (found.text && has(key)) {
    const made = parts(key, params, null);
    if (made !== null) return made;
  }
  return [h("span", { lang: english() }, marked(found.detail))];
}

/** What to do about it; null where there is nothing to do. */
export function cure(found) {
  const key = `finding.mend.${found.code}`;
  if (has(key)) return marked(t(key));
  return found.mend ? h("span", { lang: english() }, marked(found.mend)) : null;
}

const figure = (text) => number(Number(text));
// How a fact of a problem is said; all others are names.
const TOLD = {
  __proto__: null,
  name: (text) => (has(`filter.${text}`) ? t(`filter.${text}`) : mono(text)),
  values: (text) => mono(text),
  state: (text) => word("state", text),
  from: figure,
  to: figure,
  most: figure,
  fit: figure,
  expected: figure,
  // In the words of the reader that could not read it.
  why: (text) => h("span", { lang: english() }, mono(text)),
  what: (text) => h("span", { lang: english() }, mono(text)),
};

/** What a problem says beyond its code, in the viewer's language; null where it says no more. */
export function told(problem) {
  const key = `problem.${problem.text}`;
  if (!problem.text || !has(key)) return null;
  const params = {};
  for (const [name, text] of Object.entries(problem.facts)) params[name] = TOLD[name]?.(text) ?? value(text);
  return parts(key, params, null);
}
