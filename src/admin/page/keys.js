// The keyboard. Rows are links; the keys only move the focus, so that Enter is the browser's own.

import { dialog } from "/ask.js";
import { h, replace } from "/dom.js";
import { t } from "/i18n.js";

const JUMPS = { __proto__: null, o: "overview", e: "events", d: "dead", r: "refusals", s: "sources", a: "audit", l: "rules" };
const KEYS = [
  [["j", "k"], "keys.move"],
  [["Enter"], "keys.open"],
  [["Esc"], "keys.back"],
  [["/"], "keys.filter"],
  [["n"], "keys.new"],
  [["g", "o e d r s a l"], "keys.go"],
  [["?"], "keys.help"],
];

let going = 0;

function typing(target) {
  return target instanceof HTMLElement && target.matches("input, select, textarea, [contenteditable]");
}

function move(by) {
  const rows = [...document.querySelectorAll("main [data-row]")].filter((row) => row.offsetParent !== null);
  if (rows.length === 0) return;
  const now = rows.indexOf(document.activeElement?.closest("[data-row], tr")?.querySelector?.("[data-row]") ?? document.activeElement);
  const next = now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(now + by, 0), rows.length - 1);
  rows[next].focus();
  rows[next].scrollIntoView({ block: "nearest" });
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const run = action(event.key);
  if (run) {
    event.preventDefault();
    run();
  }
}

function action(key) {
  if (going > Date.now() && JUMPS[key]) {
    going = 0;
    return () => {
      location.hash = `#/${JUMPS[key]}`;
    };
  }
  switch (key) {
    case "j":
      return () => move(1);
    case "k":
      return () => move(-1);
    case "g":
      return () => {
        going = Date.now() + 1500;
      };
    case "/":
      return () => document.querySelector("main [data-filter]")?.focus();
    case "n":
      return () => document.querySelector("main [data-new]")?.click();
    case "Escape":
      return () => document.querySelector("main [data-back]")?.click();
    case "?":
      return help;
    default:
      return null;
  }
}

function help() {
  return dialog(t("keys.title"), (place) => {
    replace(
      place,
      h("dl", { class: "keys" }, KEYS.map(([pressed, text]) =>
        h("div", {}, h("dt", {}, pressed.map((key) => key.split(" ").map((one) => [h("kbd", {}, one), " "]))), h("dd", {}, t(text))),
      )),
    );
  });
}

export const keys = {
  help,
  listen: () => addEventListener("keydown", press),
};
