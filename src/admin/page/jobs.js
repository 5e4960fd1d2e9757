// Jobs: many deliveries redriven or discarded, with a plan before and progress while it runs.

import { at, get, mayChange, news, post } from "/api.js";
import { dialog, explained, reasonField } from "/ask.js";
import { h, mono, replace, value } from "/dom.js";
import { ago, duration } from "/format.js";
import { has, parts, t, word } from "/i18n.js";
import { live } from "/live.js";
import { meaning } from "/reasons.js";
import { badge, button, field, plainly, progress, say, trouble } from "/widgets.js";

/** How it ended: in words, with the code where it failed. */
function outcomeText(code) {
  if (has(`job.${code}`)) return t(`job.${code}`);
  return [t("job.failed"), meaning(code) || code].join(t("colon"));
}

export function outcome(code) {
  const seen = { begun: "running", token_revoked: "stopped" };
  const [state, key] = [seen[code] ?? (["running", "done", "stopped"].includes(code) ? code : "failed"), code];
  return badge(state, has(`job.${key}`) ? t(`job.${key}`) : outcomeText(code));
}

// As the gateway writes a filter down: `state=dead source=shop reason=in words`, in this order. A
// value may hold spaces, and what looks like a name: one that is out of order belongs to the value.
const TOLD = ["state", "source", "provider", "destination", "type", "key", "order", "text", "error", "from", "to", "masked", "reason"];

export function toldFilter(text) {
  if (!text.startsWith("state=")) return text === "" ? [] : [value(text)];
  const pairs = [];
  for (const piece of text.split(/ (?=[a-z]+=)/)) {
    const [, name, rest] = /^([a-z]+)=([^]*)$/.exec(piece);
    const place = TOLD.indexOf(name);
    if (place > (pairs.at(-1)?.place ?? -1)) pairs.push({ place, name, rest });
    else pairs.at(-1).rest += ` ${piece}`;
  }
  return pairs.slice(1).map(({ name, rest }) => said(name, rest));
}

const said = (name, v) => name === "masked" ? h("span", { class: "faint" }, t("dead.masked")) : h("span", {}, h("span", { class: "faint" }, has(`filter.${name}`) ? t(`filter.${name}`) : name), " ", v === "" ? h("span", {}, t("nothing")) : mono(String(v)));

function filterText(filter) {
  if (typeof filter === "string") return toldFilter(filter);
  const some = Object.entries(filter ?? {}).filter(([name, v]) => name !== "state" && v !== null && typeof v !== "object");
  return some.map(([name, v]) => said(name, v));
}

/**
 * Plans first: how many, and how long it takes. Nothing is changed before the second button. Gives
 * the job's number, or null.
 */
export function many(what, filter) {
  const discarding = what === "discard";
  return dialog(t(`${what}.many`), (place, close) => {
    const plan = h("div", { class: "plan", role: "status" });
    const wrong = h("div", {});
    const speed = h("input", { type: "number", min: "1", max: "10000", value: "100", inputmode: "numeric" });
    const why = reasonField();
    let planned = null;
    let turn = 0;
    const body = () => {
      const chosen = Number.parseInt(speed.value, 10);
      return { state: "dead", ...filter, ...(discarding ? { reason: why.value.trim() } : chosen > 0 ? { rate: chosen } : {}) };
    };
    async function ask() {
      turn += 1;
      const mine = turn;
      go.disabled = true;
      planned = null;
      replace(plan, h("p", { class: "faint" }, t("plan.counting")));
      try {
        const said = await post(`/v1/${what}`, { ...body(), plan: true });
        if (mine !== turn) return;
        planned = said;
        const text = said.count === 0 ? t("plan.none") : parts(discarding ? "plan.discard" : "plan.redrive", { n: said.count });
        replace(plan, h("p", { class: "plan-count" }, text), said.count > 0 && h("p", { class: "faint" }, parts("plan.time", { time: duration(said.seconds) })));
        go.disabled = said.count === 0;
      } catch (error) {
        if (mine !== turn) return;
        replace(plan, trouble(error, ask));
        // Others are being counted for.
        if (error.status === 429 && error.wait !== null) setTimeout(() => mine === turn && plan.isConnected && ask(), error.wait * 1000);
      }
    }
    const go = button(t(`${what}.start`), async () => {
      if (discarding && !explained(why, wrong)) return;
      go.disabled = true;
      try {
        const { job } = await post(`/v1/${what}`, { ...body(), count: planned.count });
        close(job);
      } catch (error) {
        replace(wrong, trouble(error));
        // The count has changed meanwhile: a new plan, and a new word.
        if (error.code === "count_differs") ask();
        else go.disabled = false;
      }
    }, { kind: discarding ? "danger" : "primary", disabled: true });
    speed.addEventListener("change", ask);
    replace(
      place,
      h("p", { class: "filter-text" }, filterText(filter).length > 0 ? filterText(filter) : t("plan.all")),
      plan,
      discarding ? [field(t("reason_needed"), why, t("reason_audit")), h("p", { class: "notice warn" }, t("discard.many_text"))] : field(t("rate"), speed, t("rate_hint")),
      wrong,
      h("div", { class: "dialog-actions" }, button(t("cancel"), () => close(null)), go),
    );
    ask();
  });
}

/** What runs, and what ran last. `ended()` is called when a job has come to its end. */
export function jobPanel({ signal, onLeave, ended }) {
  const place = h("div", { class: "jobs" });
  const known = new Map();
  let mine = null;

  const card = (job) => {
    const running = job.outcome === "running";
    return h(
      "li",
      { class: "job", "data-job": job.id },
      h("div", { class: "job-head" }, outcome(job.outcome), h("b", {}, word("job_what", job.what)), h("span", { class: "filter-text" }, filterText(job.filter)), h("span", { class: "faint" }, value(job.by), " · ", ago(job.begun_at)), running && mayChange() && button(t("job.stop"), () => halt(job.id), { shape: "pause", kind: "small" })),
      progress(job.done, job.total),
    );
  };
  const draw = () => {
    const all = [...known.values()].sort((a, b) => b.id - a.id);
    const shown = all.filter((job, place) => job.outcome === "running" || job.id === mine || place < 3);
    if (place.contains(document.activeElement) && shown.length > 0) {
      const active = document.activeElement.closest("[data-job]")?.dataset.job;
      replace(place, h("ul", {}, shown.map(card)));
      place.querySelector(`[data-job="${Number(active)}"] button`)?.focus();
    } else replace(place, shown.length > 0 && h("ul", {}, shown.map(card)));
  };
  const hear = (job) => {
    const before = known.get(job.id);
    known.set(job.id, job);
    draw();
    if (before?.outcome === "running" && job.outcome !== "running") {
      say(t("job.ended", { what: word("job_what", job.what), outcome: outcomeText(job.outcome), n: job.done }), job.outcome === "done" ? "note" : "bad");
      ended();
      news.dispatchEvent(new CustomEvent("counts"));
    }
  };
  async function halt(id) {
    try {
      hear(await post(`/v1${at("jobs", String(id), "stop")}`, undefined, {}, signal));
    } catch (error) {
      say(plainly(error), "bad");
    }
  }
  async function look() {
    try {
      const answer = await get("/v1/jobs", {}, signal);
      for (const job of answer.jobs) {
        const before = known.get(job.id);
        if (!before || before.done !== job.done || before.outcome !== job.outcome) hear(job);
      }
      // Jobs live in the gateway's memory: one that it no longer knows has ended with it.
      const there = new Set(answer.jobs.map((job) => job.id));
      for (const job of [...known.values()]) {
        if (job.outcome === "running" && !there.has(job.id)) hear({ ...job, outcome: "lost" });
      }
    } catch {
      // The frame says when the gateway cannot be reached.
    }
  }
  const stream = live(["job"], {}, { job: hear, poll: look });
  // A stream that hangs must not hide the end of a job.
  const timer = setInterval(() => {
    if ([...known.values()].some((job) => job.outcome === "running")) look();
  }, 3000);
  onLeave(() => {
    stream.close();
    clearInterval(timer);
  });
  look();
  return {
    place,
    watch(id) {
      mine = id;
      look();
      place.scrollIntoView({ block: "nearest" });
    },
  };
}
