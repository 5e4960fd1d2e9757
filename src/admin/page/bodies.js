// Bodies and header fields, as text and never as anything else.

import { block, h, mono, replace, scrolling } from "/dom.js";
import { bytes } from "/format.js";
import { t } from "/i18n.js";
import { choice } from "/widgets.js";

/**
 * JSON with line ends and indents. Numbers and strings stay as they are written: a parser would
 * change large numbers and drop repeated names.
 */
export function indented(text) {
  let out = "";
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (c === '"') {
      let end = at + 1;
      while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      out += text.slice(at, end + 1);
      at = end;
    } else if (c === "{" || c === "[") {
      const close = text.slice(at + 1).match(/^\s*[}\]]/);
      if (close) {
        out += c + close[0].trim();
        at += close[0].length;
      } else {
        depth += 1;
        out += `${c}\n${"  ".repeat(Math.min(depth, 60))}`;
      }
    } else if (c === "}" || c === "]") {
      depth = Math.max(depth - 1, 0);
      out += `\n${"  ".repeat(Math.min(depth, 60))}${c}`;
    } else if (c === ",") out += `,\n${"  ".repeat(Math.min(depth, 60))}`;
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
  }
  return out;
}

function members(text) {
  return text
    .split("&")
    .map((pair) => {
      const at = pair.indexOf("=");
      const decode = (part) => {
        try {
          return decodeURIComponent(part.replaceAll("+", " "));
        } catch {
          return part;
        }
      };
      return at < 0 ? decode(pair) : `${decode(pair.slice(0, at))} = ${decode(pair.slice(at + 1))}`;
    })
    .join("\n");
}

/** Bytes as people who debug read them: offset, hexadecimal, ASCII. */
function dump(base64) {
  let raw;
  try {
    raw = atob(base64).slice(0, 4096);
  } catch {
    return base64;
  }
  const lines = [];
  for (let at = 0; at < raw.length; at += 16) {
    const some = [...raw.slice(at, at + 16)].map((c) => c.charCodeAt(0));
    const hex = some.map((b) => b.toString(16).padStart(2, "0")).join(" ");
    const ascii = some.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${ascii}`);
  }
  return lines.join("\n");
}

function readable(body) {
  if (body.encoding === "base64") return dump(body.text);
  if (body.kind === "json" && !body.cut) {
    try {
      JSON.parse(body.text);
      return indented(body.text);
    } catch {
      return null;
    }
  }
  if (body.kind === "form") return members(body.text);
  return null;
}

/** `body`: { text, cut, encoding, kind }; `size` in bytes. */
export function bodyView(body, size) {
  if (!body || body.text === "") return h("p", { class: "faint" }, t("body.empty"));
  const nice = readable(body);
  const place = h("div", {});
  const draw = (how) => replace(place, block(how === "nice" ? nice : body.text, t("body")));
  const raw = body.encoding === "base64" ? t("body.base64") : t("body.raw");
  const how = nice !== null && choice(t("body.how"), [["nice", body.encoding === "base64" ? t("body.hex") : t("body.nice")], ["raw", raw]], "nice", draw);
  draw(nice === null ? "raw" : "nice");
  return [
    h("div", { class: "body-head" }, h("span", { class: "faint" }, t(`kind.${["json", "form", "xml", "text"].includes(body.kind) ? body.kind : "binary"}`), size !== undefined && ` · ${bytes(size)}`), how),
    place,
    body.cut && h("p", { class: "faint" }, t("body.cut")),
  ];
}

/** Header fields, one to a line. */
export function headerView(headers, label) {
  if (!headers || headers.length === 0) return h("p", { class: "faint" }, t("headers.none"));
  return h(
    "dl",
    { class: "headers", "aria-label": label },
    headers.map(([name, value]) => h("div", {}, h("dt", {}, mono(name)), scrolling(h("dd", {}, mono(value))))),
  );
}
