// The admin API, as far as the page uses it, over made-up data. One function from request to answer:
// the mock server and the tests' interception of a real gateway share it.

import { DIAGNOSTICS, detail, doctor, overview, rules, stats, verification, world } from "./data.mjs";

export const OPERATOR = "operator-token-for-the-mock";
export const VIEWER = "viewer-token-for-the-mock";

const STATUS = { unauthorized: 401, operator_only: 403, csrf: 403, bad_parameter: 400, no_such_event: 404, no_such_source: 404, no_such_job: 404, not_found: 404, count_differs: 409, not_applicable: 409, reload_failed: 409 };

export const problem = (code, detail = "", more = {}) => ({ status: STATUS[code], type: "application/problem+json", json: { status: STATUS[code], title: "Problem", detail, code, ...more } });
const ok = (json, status = 200) => ({ status, type: "application/json", json });

export class Gateway {
  constructor() {
    this.world = world();
    /** Cookie value -> role. */
    this.sessions = new Map();
    /** Answers that a test wants instead: (method, path, query) -> answer or null. */
    this.instead = () => null;
    this.asked = [];
    this.listeners = new Set();
    this.streams = new Set();
  }

  /** Every stream ends, as when the gateway restarts. */
  hangUp() {
    for (const stream of this.streams) stream.destroy();
  }

  tell(kind, data) {
    for (const hear of this.listeners) hear(kind, data);
  }

  signIn(role) {
    const id = Math.random().toString(36).slice(2);
    this.sessions.set(id, role);
    return id;
  }

  said(role) {
    return { role, label: `${role}[0]`, csrf: "csrf-of-the-mock", expires_at: new Date(Date.now() + 43200000).toISOString() };
  }

  /** `asked`: { method, path, query: URLSearchParams, body, cookie, csrf }. */
  answer(asked) {
    const { method, path, query, body, cookie } = asked;
    this.asked.push({ method, path, query: Object.fromEntries(query), body });
    if (path === "/session" && method === "POST") {
      const role = { [OPERATOR]: "operator", [VIEWER]: "viewer" }[body?.token];
      if (!role) return problem("unauthorized", "no such token");
      const id = this.signIn(role);
      return { ...ok(this.said(role)), cookie: `session=${id}; HttpOnly; SameSite=Strict; Path=/` };
    }
    const role = this.sessions.get(cookie);
    if (!role) return problem("unauthorized", "a token or a session is needed");
    if (path === "/session" && method === "GET") return ok(this.said(role));
    if (path === "/session" && method === "DELETE") {
      this.sessions.delete(cookie);
      return { status: 204 };
    }
    const instead = this.instead(method, path, query, body);
    if (instead) return instead;
    if (method !== "GET" && asked.csrf !== "csrf-of-the-mock") return problem("csrf", "the CSRF token is missing");
    if (role !== "operator" && (method !== "GET" || query.get("unmask"))) return problem("operator_only", "this needs an operator’s token");
    return this.v1(method, path.split("/").slice(2).map(decodeURIComponent), query, body);
  }

  v1(method, [what, id, deed], query, body) {
    const w = this.world;
    switch (what) {
      case "overview":
        return ok(overview(w));
      case "stats":
        return ok(stats(query.get("window"), query.get("source")));
      case "events":
        return id ? this.event(method, id, deed, query, body) : this.page(this.filtered(w.events, query), "events", query);
      case "groups":
        return this.groups(query);
      case "redrive":
      case "discard":
        return this.many(what, body);
      case "jobs":
        return this.job(id, deed);
      case "refusals": {
        if (id === "groups") {
          const groups = w.groups.filter((g) => !query.get("source") || g.source === query.get("source"));
          return ok({ groups, kept: 1000, seen: 12345 });
        }
        const fits = (r) => ["source", "stage", "reason"].every((name) => !query.get(name) || r[name] === query.get(name));
        return this.page(w.refusals.filter(fits), "refusals", query);
      }
      case "sources":
        return this.source(id, deed, query);
      case "rules":
        return ok(rules(w));
      case "reload":
        return this.badRules ? problem("reload_failed", DIAGNOSTICS) : ok({ digest: "8d3f", changed: false });
      case "audit":
        return this.page(w.audit.filter((a) => !query.get("event") || a.event === query.get("event")), "audit", query);
      case "doctor":
        return ok(doctor);
      default:
        return problem("not_found");
    }
  }

  filtered(events, query) {
    const text = (query.get("text") ?? "").toLowerCase();
    // What is shown with masks is not what is there.
    const exact = [...query].filter(([name]) => ["type", "error", "reason", "key"].includes(name)).map(([, text]) => text);
    if (exact.some((text) => text.includes("***")) && query.get("masked") !== "true") return [];
    return events.filter((e) =>
      ["source", "destination", "provider", "state", "type", "key"].every((name) => !query.has(name) || e[name] === query.get(name)) &&
      ["error", "reason"].every((name) => !query.get(name) || e.reason === query.get(name)) &&
      (!query.get("order") || e.payment?.order === query.get("order")) &&
      (!query.get("from") || e.received_at >= query.get("from")) &&
      (!query.get("to") || e.received_at < query.get("to")) &&
      [e.id, e.key, e.type, e.reason, e.payment?.order, e.payment?.transaction].some((part) => String(part ?? "").toLowerCase().includes(text)));
  }

  page(rows, name, query) {
    const from = Number(query.get("cursor") ?? 0);
    const size = Number(query.get("limit") ?? 50);
    return ok({ [name]: rows.slice(from, from + size), next: from + size < rows.length ? from + size : null });
  }

  event(method, id, deed, query, body) {
    const row = this.world.events.find((e) => e.id === id);
    if (!row) return problem("no_such_event", "there is no such event, or no longer");
    if (deed === "verification") return ok(verification);
    if (method === "GET") return ok(detail(this.world, row, query.get("unmask") === "true"));
    row.state = deed === "redrive" ? "owed" : "discarded";
    row.reason = deed === "redrive" ? "" : body.reason;
    row.due = null;
    this.world.audit.unshift({ number: 10, at: new Date().toISOString(), by: "operator[0]", what: deed, source: row.source, destination: row.destination, event: id, detail: body?.reason ?? "", count: 0, outcome: "done" });
    return ok({ id, state: row.state }, deed === "redrive" ? 202 : 200);
  }

  groups(query) {
    const by = query.get("by");
    const groups = new Map();
    for (const e of this.filtered(this.world.events.filter((one) => one.state === "dead"), query)) {
      const key = JSON.stringify([e.source, e.destination, by === "reason" ? e.reason : null, by === "type" ? e.type : null]);
      const g = groups.get(key) ?? { source: e.source, destination: e.destination, reason: by === "reason" ? e.reason : null, type: by === "type" ? e.type : null, masked: by === "reason" && e.reason.includes("***"), count: 0, oldest_at: e.received_at, newest_at: e.received_at, example: e.id };
      g.count += 1;
      if (e.received_at < g.oldest_at) g.oldest_at = e.received_at;
      groups.set(key, g);
    }
    // In two pages, as from a large store.
    const all = [...groups.values()];
    const half = Math.ceil(all.length / 2);
    return query.get("cursor") ? ok({ groups: all.slice(half), looked: 900, next: null }) : ok({ groups: all.slice(0, half), looked: 20000, next: "p2" });
  }

  many(what, body) {
    const { plan, count, rate, reason, ...filter } = body;
    const rows = this.filtered(this.world.events, new URLSearchParams(filter));
    if (plan) return ok({ count: rows.length, seconds: Math.ceil(rows.length / (rate ?? 100)) });
    if (count !== undefined && count !== rows.length) return problem("count_differs", `${rows.length} now, ${count} in the plan`);
    const job = { id: this.world.jobs.length + 1, what: `${what}_many`, by: "operator[0]", begun_at: new Date().toISOString(), filter: Object.entries(filter).map(([name, value]) => `${name}=${value}`).join(" "), total: rows.length, looked: rows.length, done: 0, outcome: "running" };
    this.world.jobs.unshift(job);
    const step = () => {
      if (job.outcome !== "running") return;
      const row = rows[job.done];
      if (row) {
        row.state = what === "redrive" ? "owed" : "discarded";
        row.reason = reason ?? "";
        job.done += 1;
      }
      if (job.done >= job.total) job.outcome = "done";
      this.tell("job", job);
      if (job.outcome === "running") setTimeout(step, this.pace ?? 40).unref?.();
    };
    setTimeout(step, this.pace ?? 40).unref?.();
    return ok({ job: job.id }, 202);
  }

  job(id, deed) {
    if (!id) return ok({ jobs: this.world.jobs });
    const job = this.world.jobs.find((one) => String(one.id) === id);
    if (!job) return problem("no_such_job");
    if (deed === "stop") job.outcome = "stopped";
    return ok(job, deed === "stop" ? 202 : 200);
  }

  source(id, deed, query) {
    const { sources } = this.world;
    if (!id) return ok({ sources, rules_digest: "8d3f" });
    const one = sources.find((s) => s.name === id);
    if (!one) return problem("no_such_source", "there is no such source");
    if (!deed) return ok(one);
    const to = query.get("destination");
    // As the store keeps it: the whole source and one destination are paused, and resumed, each by itself.
    const word = { destination: to, by: "operator[0]", since: new Date().toISOString(), reason: query.get("reason") ?? "", number: 1000 + this.asked.length };
    for (const d of one.destinations) {
      if (to !== null && d.name !== to) continue;
      d.pauses = d.pauses.filter((p) => p.destination !== to);
      if (deed === "pause") d.pauses = to === null ? [word, ...d.pauses] : [...d.pauses, word];
      d.paused = d.pauses.length > 0;
    }
    const lane = one.destinations.find((d) => d.name === (to ?? "main"));
    return ok({ source: id, destination: to, paused: lane?.paused ?? false });
  }
}
