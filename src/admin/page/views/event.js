// One event: what came, whether and why it was believed, and what became of it.

import { at, get, mayChange, news, post, Problem } from "/api.js";
import { sure } from "/ask.js";
import { bodyView, headerView } from "/bodies.js";
import { h, icon, mono, replace, scrolling, value } from "/dom.js";
import { ago, amount, millis, moment, utc, when } from "/format.js";
import { number, parts, t, word } from "/i18n.js";
import { live } from "/live.js";
import { columns, lane, reason, toEvent, why } from "/rows.js";
import { factName, factValue, stepName } from "/trace.js";
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
    { class: "attempt", "data-number": one.number },
    summary,
    said ? [h("h3", {}, t("headers")), headerView(said.headers, t("headers")), h("h3", {}, t("body")), bodyView({ text: said.body, cut: said.cut, encoding: said.encoding ?? "utf8", kind: "text" })] : h("p", { class: "faint" }, one.status && !mayChange() ? t("response_operators") : t("no_response")),
  );
}

/** A long value has a line of its own. */
const short = (fact) => fact.value.length <= 48 && !fact.value.includes("\n");

function verification(answer) {
  const fact = (one) => h("div", { class: short(one) ? null : "long" }, one.name !== "" && h("dt", {}, value(factName(one.name))), h("dd", {}, mono(factValue(one.name, one.value))));
  const step = (one) =>
    h(
      "li",
      { class: `check-step ${one.outcome === "failed" ? "bad" : ""}`.trim() },
      h("div", { class: "check-name" }, badge(one.outcome, word("outcome", one.outcome)), h("p", { class: "step-title" }, value(stepName(one.name)))),
      h("dl", { class: "check-facts" }, (one.facts ?? []).map(fact)),
    );
  const note = answer.note_code === "answered" ? t("verification.answered") : t("verification.kept");
  return [
    h("p", { class: "verdict" }, badge(answer.verdict), answer.reason && reason(answer.reason), answer.note && h("span", { class: "faint" }, note)),
    h("ol", { class: "check-steps" }, (answer.steps ?? []).map(step)),
  ];
}

/** The parts of the page; one is drawn anew only when what it shows has changed, so that what is open, chosen or read elsewhere stays. */
function slots(names) {
  const said = new Map();
  const places = new Map(names.map((name) => [name, h("div", { class: `slot slot-${name}` })]));
  return {
    place: (name) => places.get(name),
    put(name, data, make) {
      const news = JSON.stringify([data, mayChange()]);
      if (said.get(name) === news) return;
      said.set(name, news);
      const place = places.get(name);
      const held = place.contains(document.activeElement);
      const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.number));
      replace(place, make());
      for (const one of place.querySelectorAll("details")) one.open = open.has(one.dataset.number);
      if (held) (place.querySelector("h1") ?? place.querySelector("a, button, summary"))?.focus({ preventScroll: true });
    },
  };
}

export async function event({ root, id, signal, onLeave, back, reload }) {
  let unmasked = false;
  // How often a session ended here, and whether its masks are to be fetched again.
  let ends = 0;
  let veiled = false;
  let shownEvent = await get(`/v1${at("events", id)}`, {}, signal);
  const link = h("a", { href: back ?? "#/events", class: "back", "data-back": "" }, "← ", t("back"));
  const view = slots(["head", "notice", "timeline", "others", "attempts", "checks", "request", "about", "terminal"]);

  async function again(look = false) {
    const before = ends;
    const fresh = await get(`/v1${at("events", id)}`, { unmask: look ? "true" : "" }, signal);
    // It was meant for the session that ended meanwhile.
    if (look && ends !== before) throw new Problem(401, "session_over", "");
    shownEvent = unmasked && !look ? seen(shownEvent, fresh) : fresh;
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
        await again(true);
      } catch (error) {
        unmasked = false;
        throw error;
      }
    } });
    if (done) say(t("unmask.done"));
  }
  const mask = () => {
    unmasked = false;
    quietly();
  };

  // Whoever sits before it is not known any more: what has no masks leaves the page.
  news.addEventListener("ended", () => {
    ends += 1;
    if (!unmasked) return;
    unmasked = false;
    veiled = true;
    shownEvent = veil(shownEvent);
    draw();
  }, { signal });
  news.addEventListener("signed", () => {
    if (!veiled) return;
    veiled = false;
    // A reason that is being typed is worth more than the view behind it.
    again().catch(() => signal.aborted || document.querySelector("dialog[open]") || reload());
  }, { signal });

  const actions = (e) => {
    const can = mayChange();
    return h(
      "div",
      { class: "actions" },
      // Of what has arrived it is possible, and not what comes first to the hand.
      can && e.state !== "owed" && button(t("redrive"), redrive, { kind: e.state === "dead" ? "primary" : "", shape: "redo" }),
      can && ["owed", "dead"].includes(e.state) && button(t("discard"), discard, { kind: "danger", shape: "trash" }),
      can && (e.masked ? button(t("unmask"), unmask, { shape: "eye" }) : button(t("mask_again"), mask, { shape: "eye" })),
      copyButton(e.id, t("copy_id"), t("copy_id")),
      can && h("a", { class: "button", href: `/v1${at("events", id, "body")}`, download: true }, icon("down"), h("span", {}, t("download.body"))),
      can && h("a", { class: "button", href: `/v1${at("events", id, "request")}`, download: true }, icon("down"), h("span", {}, t("download.request"))),
    );
  };
  const head = (e) => {
    const paid = e.payment;
    return h("div", { class: "event-head" }, h("div", {}, scrolling(h("h1", { tabindex: "-1" }, value(e.type || t("no_type")))), scrolling(h("p", { class: "event-sub" }, badge(e.state), lane(e), amount(paid) && h("b", { class: "figures" }, value(amount(paid))), paid?.order && value(paid.order)))), actions(e));
  };
  const about = (e) => {
    const paid = e.payment;
    return facts([
      [t("fact.id"), [mono(e.id), copyButton(e.id, t("copy_id"))]],
      e.event && e.event !== e.id && [t("fact.event"), mono(e.event)],
      [t("fact.lane"), lane(e)],
      [t("fact.provider"), value(e.provider)],
      [t("fact.received"), [moment(e.received_at), h("small", { class: "under figures" }, utc(e.received_at))]],
      [t("fact.peer"), mono(e.peer)],
      [t("fact.key"), mono(e.key)],
      paid?.order && [t("fact.order"), value(paid.order)],
      paid?.transaction && [t("fact.transaction"), mono(paid.transaction)],
      amount(paid) && [t("fact.amount"), h("b", {}, value(amount(paid)))],
      paid?.status && [t("fact.status"), value(paid.status)],
      [t("fact.attempts"), number(e.attempts)],
      e.reason && [t("fact.reason"), why(e)],
    ]);
  };
  const request = (e) => [
    h("p", { class: "request-line" }, mono(e.method), " ", mono(e.target)),
    e.masked ? h("p", { class: "masked" }, icon("eye"), mayChange() ? t("masked") : t("masked_viewer")) : h("p", { class: "masked warn" }, icon("warn"), t("unmasked")),
    h("h3", {}, t("headers")),
    headerView(e.headers, t("headers")),
    h("h3", {}, t("body")),
    bodyView(e.body, e.body_bytes),
  ];
  function draw() {
    const e = shownEvent;
    const history = e.history ?? [];
    const others = (e.deliveries ?? []).filter((row) => row.id !== e.id);
    const { put } = view;
    put("head", [e.type, e.state, e.masked, e.payment], () => head(e));
    put("notice", [e.conflict, e.conflict_of], () => e.conflict && h("p", { class: "notice warn" }, icon("warn"), h("span", {}, t("conflict_text"), e.conflict_of && [" ", toEvent(e.conflict_of, t("conflict_first"))])));
    put("timeline", [e.received_at, e.verified, history, e.deeds, e.state, e.due], () => panel(t("timeline"), timeline(e)));
    put("others", others, () => others.length > 0 && panel(t("other_deliveries"), table(t("other_deliveries"), columns(), others)));
    put("attempts", history, () => panel(t("attempts"), history.length > 0 ? history.toReversed().map(attempt) : h("p", { class: "faint" }, t("attempts.none"))));
    put("request", [e.masked, e.method, e.target, e.headers, e.body], () => panel(t("request"), request(e)));
    put("about", [e.id, e.state, e.destination, e.attempts, e.reason, e.payment, e.key], () => panel(t("about"), about(e)));
    put("terminal", e.id, () => panel(t("terminal"), command(`callseal events show ${quoted(e.id)}`), mayChange() && command(`callseal redrive ${quoted(e.id)}`)));
  }
  const checks = h("div", {});
  replace(view.place("checks"), panel(t("verification"), checks));
  const of = (...names) => names.map((name) => view.place(name));
  replace(
    root,
    link,
    h("div", { class: "event" }, of("head", "notice"), h("div", { class: "columns" }, h("div", { class: "main-column" }, of("timeline", "others", "attempts", "checks", "request")), h("div", { class: "side-column" }, of("about", "terminal")))),
  );
  draw();
  load(checks, signal, async () => verification(await get(`/v1${at("events", id, "verification")}`, {}, signal)));
  const mine = (news) => {
    if (news.id === id) quietly();
  };
  const stream = live(["attempt", "state"], {}, { attempt: mine, state: mine, poll: () => shownEvent.state === "owed" && quietly() });
  onLeave(() => stream.close());
}

/** What an unmasked look brought, left out. */
function veil(event) {
  const bare = (one) => ({ ...one, key: "", type: "", reason: "", payment: null });
  return {
    ...bare(event),
    masked: true,
    target: "",
    headers: [],
    body: null,
    history: [],
    deliveries: (event.deliveries ?? []).map(bare),
    deeds: [],
  };
}

/** An unmasked look is written down each time, so that it is not repeated by itself: what was seen stays, what happened since is added. */
function seen(before, fresh) {
  const { headers, body, target, payment, key, masked } = before;
  const attempts = new Map((before.history ?? []).map((one) => [one.number, one]));
  return { ...fresh, headers, body, target, payment, key, masked, history: (fresh.history ?? []).map((one) => attempts.get(one.number) ?? one) };
}
