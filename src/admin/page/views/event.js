// One event: what came, whether and why it was believed, and what became of it.

import { at, get, mayChange, post } from "/api.js";
import { sure } from "/ask.js";
import { bodyView, headerView } from "/bodies.js";
import { h, icon, mono, replace, value } from "/dom.js";
import { ago, amount, millis, moment, when } from "/format.js";
import { number, parts, t, word } from "/i18n.js";
import { live } from "/live.js";
import { columns, lane, reason, toEvent } from "/rows.js";
import { badge, button, command, copyButton, facts, load, panel, quoted, say, table } from "/widgets.js";

function attemptText(attempt) {
  if (attempt.status) return h("span", {}, mono(String(attempt.status)), attempt.error && [" ", reason(attempt.error)]);
  return reason(attempt.error);
}

const good = (attempt) => attempt.status >= 200 && attempt.status < 300 && !attempt.error;

function entry(at, shape, tone, title, ...rest) {
  return { at, node: h("li", { class: `step ${tone}` }, h("span", { class: "step-mark" }, icon(shape)), h("div", {}, h("p", { class: "step-title" }, title), rest), h("p", { class: "step-time" }, when(at), " ", h("span", { class: "faint" }, ago(at)))) };
}

function timeline(event) {
  const steps = [entry(event.received_at, "down", "info", t("timeline.received"), h("p", {}, event.verified ? parts("timeline.verified", { how: mono(event.verified) }) : t("timeline.unverified")))];
  const history = event.history ?? [];
  // A long row of attempts: the first and the last two; those between in one line.
  const between = history.length > 6 ? history.slice(1, -2) : [];
  if (between.length > 0) {
    const errors = new Map();
    for (const one of between) errors.set(one.error || String(one.status), (errors.get(one.error || String(one.status)) ?? 0) + 1);
    const summed = [...errors].map(([error, n], place) => [place > 0 && " · ", mono(error), ` × ${number(n)}`]);
    steps.push(entry(between[0].started_at, "layers", "mute", parts("timeline.between", { first: between[0].number, last: between.at(-1).number }), h("p", {}, summed)));
  }
  for (const attempt of history) {
    if (between.includes(attempt)) continue;
    const fine = good(attempt);
    steps.push(entry(attempt.started_at, fine ? "check" : "cross", fine ? "good" : "bad", parts("timeline.attempt", { number: attempt.number }), h("p", {}, attemptText(attempt), " · ", millis(attempt.took_ms))));
  }
  for (const deed of event.deeds ?? []) {
    steps.push(entry(deed.at, "pen", "mute", parts("timeline.deed", { what: word("deed", deed.what), by: value(deed.by) }), deed.detail && h("p", {}, value(deed.detail))));
  }
  steps.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const last = event.state === "owed"
    ? h("li", { class: "step wait" }, h("span", { class: "step-mark" }, icon("clock")), h("div", {}, h("p", { class: "step-title" }, event.due ? parts("timeline.next", { time: ago(event.due) }) : t("timeline.next_now"))))
    : null;
  return h("ol", { class: "timeline" }, steps.map((step) => step.node), last);
}

function attempt(one) {
  const said = one.response;
  const summary = h("summary", {}, h("span", { class: `step-mark ${good(one) ? "good" : "bad"}` }, icon(good(one) ? "check" : "cross")), h("b", {}, `#${one.number}`), h("span", { class: "attempt-result" }, attemptText(one)), h("span", { class: "figures" }, millis(one.took_ms)), when(one.started_at));
  return h(
    "details",
    { class: "attempt" },
    summary,
    said ? [h("h3", {}, t("headers")), headerView(said.headers, t("headers")), h("h3", {}, t("body")), bodyView({ text: said.body, cut: said.cut, encoding: said.encoding ?? "utf8", kind: "text" })] : h("p", { class: "faint" }, one.status && !mayChange() ? t("response_operators") : t("no_response")),
  );
}

function verification(answer) {
  const step = (one) =>
    h(
      "li",
      { class: "check-step" },
      badge(one.outcome, word("outcome", one.outcome)),
      h("div", {}, h("p", { class: "step-title" }, value(one.name)), h("dl", { class: "headers" }, (one.facts ?? []).map((fact) => h("div", {}, h("dt", {}, value(fact.name)), h("dd", {}, mono(fact.value)))))),
    );
  return [
    h("p", { class: "verdict" }, badge(answer.verdict), answer.reason && reason(answer.reason), answer.note && h("span", { class: "faint" }, t("verification.note"))),
    h("ol", { class: "check-steps" }, (answer.steps ?? []).map(step)),
  ];
}

export async function event({ root, id, signal, onLeave, back }) {
  let unmasked = false;
  let shownEvent = await get(`/v1${at("events", id)}`, {}, signal);
  const place = h("div", { class: "event" });
  const link = h("a", { href: back ?? "#/events", class: "back", "data-back": "" }, "← ", t("back"));

  async function again() {
    shownEvent = await get(`/v1${at("events", id)}`, { unmask: unmasked ? "true" : "" }, signal);
    draw();
  }
  const quietly = () => again().catch(() => {});

  async function redrive() {
    const done = await sure({ title: t("redrive"), text: t("redrive.one"), label: t("redrive"), act: () => post(`/v1${at("events", id, "redrive")}`, undefined, {}, signal) });
    if (done) {
      say(t("redrive.done"));
      quietly();
    }
  }
  async function discard() {
    const done = await sure({ title: t("discard"), text: t("discard.one"), label: t("discard"), kind: "danger", reason: "needed", act: (why) => post(`/v1${at("events", id, "discard")}`, { reason: why }, {}, signal) });
    if (done) {
      say(t("discard.done"));
      quietly();
    }
  }
  async function unmask() {
    const done = await sure({ title: t("unmask"), text: t("unmask.text"), label: t("unmask"), act: async () => {
      unmasked = true;
      try {
        await again();
      } catch (error) {
        unmasked = false;
        throw error;
      }
    } });
    if (done) say(t("unmask.done"));
  }

  const actions = () => {
    const can = mayChange();
    const settled = shownEvent.state !== "owed";
    return h(
      "div",
      { class: "actions" },
      can && settled && button(t("redrive"), redrive, { kind: "primary", shape: "redo" }),
      can && ["owed", "dead"].includes(shownEvent.state) && button(t("discard"), discard, { kind: "danger", shape: "trash" }),
      can && shownEvent.masked && button(t("unmask"), unmask, { shape: "eye" }),
      copyButton(shownEvent.id, t("copy_id"), t("copy_id")),
      can && h("a", { class: "button", href: `/v1${at("events", id, "body")}`, download: true }, icon("down"), h("span", {}, t("download.body"))),
      can && h("a", { class: "button", href: `/v1${at("events", id, "request")}`, download: true }, icon("down"), h("span", {}, t("download.request"))),
    );
  };

  const checks = h("div", {});
  function draw() {
    const e = shownEvent;
    const paid = e.payment;
    const about = facts([
      [t("fact.id"), [mono(e.id), copyButton(e.id, t("copy_id"))]],
      e.event && e.event !== e.id && [t("fact.event"), mono(e.event)],
      [t("fact.lane"), lane(e)],
      [t("fact.provider"), value(e.provider)],
      [t("fact.received"), moment(e.received_at)],
      [t("fact.peer"), mono(e.peer)],
      [t("fact.key"), mono(e.key)],
      paid?.order && [t("fact.order"), value(paid.order)],
      paid?.transaction && [t("fact.transaction"), mono(paid.transaction)],
      amount(paid) && [t("fact.amount"), h("b", {}, value(amount(paid)))],
      paid?.status && [t("fact.status"), value(paid.status)],
      [t("fact.attempts"), number(e.attempts)],
      e.reason && [t("fact.reason"), reason(e.reason)],
    ]);
    const others = (e.deliveries ?? []).filter((row) => row.id !== e.id);
    const left = [
      panel(t("timeline"), timeline(e)),
      others.length > 0 && panel(t("other_deliveries"), table(t("other_deliveries"), columns(), others)),
      panel(t("attempts"), (e.history ?? []).length > 0 ? e.history.toReversed().map(attempt) : h("p", { class: "faint" }, t("attempts.none"))),
      panel(
        t("request"),
        h("p", { class: "request-line" }, mono(e.method), " ", mono(e.target)),
        e.masked ? h("p", { class: "masked" }, icon("eye"), mayChange() ? t("masked") : t("masked_viewer")) : h("p", { class: "masked warn" }, icon("warn"), t("unmasked")),
        h("h3", {}, t("headers")),
        headerView(e.headers, t("headers")),
        h("h3", {}, t("body")),
        bodyView(e.body, e.body_bytes),
      ),
    ];
    replace(
      place,
      h("div", { class: "event-head" }, h("div", {}, h("h1", { tabindex: "-1" }, value(e.type || t("no_type"))), h("p", { class: "event-sub" }, badge(e.state), lane(e), amount(paid) && h("b", { class: "figures" }, value(amount(paid))), paid?.order && value(paid.order))), actions()),
      e.conflict && h("p", { class: "notice warn" }, icon("warn"), h("span", {}, t("conflict_text"), e.conflict_of && [" ", toEvent(e.conflict_of, t("conflict_first"))])),
      h(
        "div",
        { class: "columns" },
        h("div", { class: "main-column" }, left),
        h("div", { class: "side-column" }, panel(t("about"), about), panel(t("verification"), checks), panel(t("terminal"), command(`callseal events show ${quoted(e.id)}`), mayChange() && command(`callseal redrive ${quoted(e.id)}`))),
      ),
    );
  }
  replace(root, link, place);
  draw();
  load(checks, signal, async () => verification(await get(`/v1${at("events", id, "verification")}`, {}, signal)));
  const mine = (news) => {
    if (news.id === id) quietly();
  };
  // An unmasked look is written down each time: it is not repeated by itself.
  const stream = live(["attempt", "state"], {}, { attempt: mine, state: mine, poll: () => shownEvent.state === "owed" && !unmasked && quietly() });
  onLeave(() => stream.close());
}
