// Dialogs: what is about to happen, said before it does.

import { h, icon, replace } from "/dom.js";
import { t } from "/i18n.js";
import { button, field, trouble } from "/widgets.js";

/**
 * Opens a dialog. `fill(place, close)` puts the content in. Resolves when it is closed.
 */
export function dialog(title, fill) {
  return new Promise((resolve) => {
    const place = h("div", { class: "dialog-body" });
    const box = h("dialog", { "aria-labelledby": "dialog-title" });
    const close = (result) => {
      box.close();
      box.remove();
      resolve(result);
    };
    const cross = button("", () => close(null), { kind: "bare", shape: "cross", "aria-label": t("close") });
    box.append(h("header", {}, h("h2", { id: "dialog-title" }, title), cross), place);
    box.addEventListener("cancel", (event) => {
      event.preventDefault();
      close(null);
    });
    // Browsers may close it without asking.
    box.addEventListener("close", () => {
      box.remove();
      resolve(null);
    });
    document.body.append(box);
    fill(place, close);
    box.showModal();
  });
}

/** Where somebody says why. */
export function reasonField() {
  const why = h("textarea", { rows: "2", maxlength: "500", placeholder: t("reason_hint"), autofocus: true });
  why.addEventListener("input", () => why.removeAttribute("aria-invalid"));
  return why;
}

/** True when the reason that the audit wants is there and short enough; else says what is wrong. */
export function explained(why, wrong) {
  const text = why.value.trim();
  const fault = text === "" ? "reason_missing" : new TextEncoder().encode(text).length > 500 ? "reason_long" : null;
  if (fault === null) return true;
  why.setAttribute("aria-invalid", "true");
  replace(wrong, h("p", { class: "wrong", role: "alert" }, icon("stop"), t(fault)));
  why.focus();
  return false;
}

/**
 * Asks before a change. `act(reason)` does it; while it runs the button waits, and a refusal is shown
 * in the dialog. Gives what `act` gave, or null.
 */
export function sure({ title, text, act, label, reason = false, kind = "primary" }) {
  return dialog(title, (place, close) => {
    const why = reasonField();
    const wrong = h("div", {});
    const go = button(label, async () => {
      if ((reason === "needed" || why.value.trim() !== "") && !explained(why, wrong)) return;
      go.disabled = true;
      replace(wrong);
      try {
        close((await act(why.value.trim())) ?? true);
      } catch (error) {
        replace(wrong, trouble(error));
        go.disabled = false;
      }
    }, { kind });
    const back = button(t("cancel"), () => close(null));
    replace(
      place,
      Array.isArray(text) ? text : h("p", {}, text),
      reason && field(reason === "needed" ? t("reason_needed") : t("reason"), why, t("reason_audit")),
      wrong,
      h("div", { class: "dialog-actions" }, back, go),
    );
  });
}
