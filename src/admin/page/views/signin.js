// Sign-in by token. The address stays, so that whoever was thrown out comes back to the same view.

import * as api from "/api.js";
import { h, icon, replace } from "/dom.js";
import { t } from "/i18n.js";
import { field, trouble } from "/widgets.js";

export function signin({ ended, done, tools }) {
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
      await api.signIn(given);
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
  document.title = `${t("sign_in")} · Callseal`;
  replace(
    document.body,
    h(
      "main",
      { class: "signin" },
      h("div", { class: "signin-top" }, h("span", { class: "seal", "aria-hidden": "true" }, icon("check")), tools),
      h("h1", {}, t("signin.title")),
      ended && h("p", { class: "ended", role: "status" }, icon("note"), t("session_ended")),
      h("form", { on: { submit: send } }, field(t("token"), token), wrong, go),
      h("p", { class: "faint" }, t("signin.where")),
      h("p", { class: "faint" }, t("signin.roles")),
    ),
  );
  token.focus();
}
