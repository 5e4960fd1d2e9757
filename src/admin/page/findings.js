// What the gateway finds wrong with itself, in the viewer's language: by the code of each sentence,
// filled with its facts. What has no code here stays as the gateway says it, in English.

import { h, marked, value } from "/dom.js";
import { duration, share, when } from "/format.js";
import { has, language, number, parts, t } from "/i18n.js";

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
