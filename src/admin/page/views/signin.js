// Sign-in by token. The address stays, so that whoever was thrown out comes back to the same view.

import * as api from "/api.js";
import { h, icon, replace } from "/dom.js";
import { t } from "/i18n.js";
import { field, trouble } from "/widgets.js";

function form({ was = null, done }) {
  const token = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false", autocapitalize: "off" });
  const wrong = h("div", {});
  const go = h("button", { type: "submit", class: "button primary" }, h("span", {}, t("sign_in")));
  const send = async (event) => {
    event.preventDefault();
    const given = token.value.trim();
    if (given === "") {
      token.focus();
      return;
    }
    go.disabled = true;
    try {
      await api.signIn(given, was);
      token.value = "";
      done();
    } catch (error) {
      const refused = error.status === 401;
      replace(wrong, refused ? h("p", { class: "wrong", role: "alert" }, icon("stop"), t("token_wrong")) : trouble(error));
      token.select();
    } finally {
      go.disabled = false;
    }
  };
  return h("form", { on: { submit: send } }, field(t("token"), token), wrong, go);
}

/** The whole page is the sign-in: nobody was there, or somebody has signed out. */
export function signin({ ended, done, tools }) {
  document.title = `${t("sign_in")} · Callseal`;
  const asked = form({ done });
  replace(
    document.body,
    h(
      "main",
      { class: "signin" },
      h("div", { class: "signin-top" }, h("span", { class: "seal", "aria-hidden": "true" }, icon("check")), tools),
      h("h1", {}, t("signin.title")),
      ended && h("p", { class: "ended", role: "status" }, icon("note"), t("session_ended")),
      asked,
      h("p", { class: "faint" }, t("signin.where")),
      h("p", { class: "faint" }, t("signin.roles")),
    ),
  );
  asked.querySelector("input").focus();
}

/**
 * The session ended while somebody worked: the view stays behind, unseen, with all that was typed in
 * it. `done(same)`: whether it is the same person, to whom it may be shown again.
 */
export function lock(was, done) {
  if (document.querySelector("dialog.lock")) return;
  const box = h("dialog", { class: "lock", "aria-labelledby": "lock-title" });
  const close = () => {
    document.body.classList.remove("locked");
    box.remove();
    done(api.samePerson(was));
  };
  box.append(
    h("header", {}, h("h2", { id: "lock-title" }, t("sign_in"))),
    h("div", { class: "dialog-body" }, h("p", { class: "ended", role: "status" }, icon("note"), t("session_locked", { label: was.label })), form({ was, done: close })),
  );
  // Nothing but a token opens it.
  box.addEventListener("cancel", (event) => event.preventDefault());
  box.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault());
  box.addEventListener("close", () => box.isConnected && box.showModal());
  document.body.classList.add("locked");
  document.body.append(box);
  box.showModal();
  box.querySelector("input").focus();
}
