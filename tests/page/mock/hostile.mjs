// The same shapes as data.mjs, with a hostile string wherever one from outside can stand.

const iso = (ms) => new Date(ms).toISOString();

export class Hostile {
  /** `strings`: the corpus; every `next()` gives another, and is noted as shown. */
  constructor(strings, from = 0) {
    this.strings = strings;
    this.turn = from;
    this.given = new Set();
  }

  next() {
    const one = this.strings[this.turn % this.strings.length];
    this.turn += 1;
    this.given.add(one);
    return one;
  }

  row(n, id = this.next()) {
    const at = iso(Date.now() - n * 1000);
    return { id, event: id, source: this.next(), destination: this.next(), provider: this.next(), key: this.next(), type: this.next(), received_at: at, state: ["owed", "dead", "discarded"][n % 3], attempts: 1, due: null, reason: this.next(), conflict: n % 7 === 0, body_bytes: 10, payment: { order: this.next(), transaction: this.next(), amount: this.next(), currency: this.next(), status: this.next() } };
  }

  deed(n) {
    return { number: n, at: iso(Date.now() - n * 1000), by: this.next(), what: n % 2 ? this.next() : "discard", source: this.next(), destination: this.next(), event: this.next(), detail: this.next(), count: 1, outcome: this.next() };
  }

  event(id) {
    const bodies = Array.from({ length: 12 }, () => this.next());
    const pair = () => [this.next(), this.next()];
    return {
      ...this.row(1, id),
      type: this.next(),
      peer: this.next(),
      method: this.next(),
      target: this.next(),
      verified: this.next(),
      conflict: true,
      conflict_of: this.next(),
      masked: true,
      headers: Array.from({ length: 8 }, pair),
      body: { text: bodies.join("\n"), cut: true, encoding: "utf8", kind: ["json", "form", "xml", "text", this.next()][this.turn % 5] },
      history: Array.from({ length: 4 }, (_, n) => ({ number: n + 1, started_at: iso(Date.now() - 1000 * n), took_ms: 1, status: n % 2 ? 500 : null, error: this.next(), response: { headers: [pair(), pair()], body: this.next(), cut: false } })),
      deliveries: [this.row(2), this.row(3)],
      deeds: [this.deed(1), this.deed(2)],
      shown: bodies,
    };
  }

  verification() {
    const fact = () => ({ name: this.next(), value: this.next() });
    return { verdict: "rejected", note: this.next(), steps: Array.from({ length: 4 }, () => ({ name: this.next(), outcome: "failed", facts: [fact(), fact()] })) };
  }

  source() {
    const at = iso(Date.now());
    const to = () => ({ name: this.next(), forward: this.next(), paused: true, pauses: [{ destination: null, by: this.next(), since: at, reason: this.next(), number: this.turn }], breaker: "open", limit: 1, under_way: 0, owed: 1, dead: 1, oldest_owed_at: at, next_due: at, last_delivered_at: at, last_failed_at: at, last_error: this.next() });
    return { name: this.next(), provider: this.next(), title: this.next(), path: this.next(), url: this.next(), verified: false, mode: this.next(), file: this.next(), digest: this.next(), health: "failing", last_accepted_at: at, last_rejected_at: at, rejected_share: 0.5, accepted_1h: 1, rejected_1h: 1, duplicate_1h: 1, usual_gap_seconds: 5, keys: [{ label: this.next(), last_used_at: at, not_after: at, state: "expired" }], contract: { retries: this.next(), horizon_seconds: 5, deadline_ms: 5 }, keep_seconds: 5, destinations: [to(), to()] };
  }

  refusal(n) {
    return { number: n, at: iso(Date.now()), source: this.next(), peer: this.next(), method: this.next(), path: this.next(), stage: "rejected", reason: this.next(), detail: this.next() };
  }

  refusalGroup() {
    return { source: this.next(), stage: "refused", reason: this.next(), count: 1, first_at: iso(0), last_at: iso(1), peers: 1, cause: this.next(), mend: this.next(), command: this.next() };
  }

  group() {
    return { source: this.next(), destination: this.next(), reason: this.next(), type: this.next(), count: 2, oldest_at: iso(0), newest_at: iso(1), example: this.next() };
  }

  overview(base) {
    const item = (code) => ({ severity: "blocker", code, source: this.next(), destination: this.next(), count: 2, since: null, until: null, detail: this.next() });
    const told = { ...item("key_expiry"), text: "key_expiring", facts: { key: this.next(), share: this.next(), until: this.next() } };
    return { ...base, version: this.next(), rules_digest: this.next().slice(0, 12), attention: [...["dead_letters", "quiet_source", "paused", "something_new"].map(item), told] };
  }

  rules() {
    return {
      digest: this.next(),
      loaded_at: iso(0),
      reload_error: this.next(),
      sources: Array.from({ length: 6 }, () => ({ name: this.next(), file: this.next(), digest: this.next().slice(0, 12) })),
      providers: Array.from({ length: 6 }, () => ({ name: this.next(), title: this.next(), file: this.next(), digest: this.next().slice(0, 12), used_by: [this.next()] })),
      warnings: [],
      remarks: [0, 1].map(() => ({ code: this.next(), file: this.next(), line: 1, column: 2, message: this.next(), hint: this.next() })),
    };
  }

  findings() {
    return { findings: Array.from({ length: 6 }, () => ({ severity: "warning", code: this.next(), subject: this.next(), detail: this.next(), mend: this.next() })) };
  }

  job(n) {
    return { id: n, what: this.next(), by: this.next(), begun_at: iso(0), filter: this.next(), total: 5, looked: 5, done: 2, outcome: n % 2 ? "running" : this.next() };
  }
}
