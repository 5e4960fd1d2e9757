// A gateway's worth of made-up data, the same on every run but for the time of day.

let seed = 7;
const random = () => {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return seed / 2147483648;
};
const pick = (list) => list[Math.floor(random() * list.length)];
const iso = (ms) => new Date(ms).toISOString();
const hex = (size) => Array.from({ length: size }, () => pick([..."0123456789abcdef"])).join("");

const KINDS = {
  shop: ["stripe", "Stripe", ["payment_intent.succeeded", "charge.refunded", "payment_intent.payment_failed", "checkout.session.completed"]],
  wechat: ["wechatpay-v3", "WeChat Pay v3", ["TRANSACTION.SUCCESS", "REFUND.SUCCESS"]],
  alipay: ["alipay", "Alipay", ["TRADE_SUCCESS", "TRADE_CLOSED"]],
  "paypal-eu": ["paypal", "PayPal", ["PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED"]],
  adyen: ["adyen", "Adyen", ["AUTHORISATION", "CAPTURE"]],
  github: ["github", "GitHub", ["push"]],
};
const REASONS = ["status_5xx", "timeout", "connect_refused", "status_4xx"];

export function world(now = Date.now()) {
  seed = 7;
  const events = [];
  for (let n = 0; n < 240; n += 1) {
    const source = n % 37 === 36 ? "adyen" : pick(["shop", "shop", "shop", "wechat", "wechat", "alipay", "paypal-eu"]);
    const [provider, , types] = KINDS[source];
    const state = n === 0 ? "owed" : pick(["delivered", "delivered", "delivered", "delivered", "delivered", "dead", "dead", "owed", "filtered", n % 9 ? "delivered" : "discarded", n % 7 ? "delivered" : "superseded"]);
    const at = now - 4000 - n * 47000 - Math.floor(random() * 20000) - (n > 0 ? 5400000 : 0);
    const attempts = state === "delivered" ? pick([1, 1, 1, 2]) : state === "dead" ? 9 : state === "owed" ? pick([0, 1, 4]) : 0;
    const id = `evt_${hex(16)}${n.toString(16).padStart(4, "0")}`;
    const currency = source === "shop" ? "USD" : source === "paypal-eu" || source === "adyen" ? "EUR" : "CNY";
    events.push({
      id,
      event: id,
      source,
      destination: source === "shop" && n % 5 === 0 ? "ledger" : "main",
      provider,
      key: `${source === "shop" ? "evt_1" : "EV-"}${hex(18)}`,
      type: pick(types),
      received_at: iso(at),
      state,
      attempts,
      due: state === "owed" && attempts > 0 ? iso(now + 1000 * Math.floor(random() * 3000)) : null,
      reason: state === "dead" || (state === "owed" && attempts > 0) ? pick(REASONS) : state === "discarded" ? "discarded by an operator" : "",
      conflict: n % 53 === 8,
      body_bytes: 400 + Math.floor(random() * 2400),
      payment: n % 11 === 10 ? null : { order: `A-2026-${10240 - n}`, transaction: `ch_${hex(12)}`, amount: (random() * 400 + 1).toFixed(2), currency, status: pick(["paid", "paid", "paid", "refunded", "failed"]) },
    });
  }
  const destination = (name, forward, more = {}) => ({ name, forward, paused: false, pauses: [], breaker: "closed", limit: 16, under_way: 0, owed: 0, dead: 0, oldest_owed_at: null, next_due: null, last_delivered_at: iso(now - 5000), last_failed_at: iso(now - 900000), last_error: "status_5xx", ...more });
  const source = (name, health, destinations, more = {}) => ({
    name,
    provider: KINDS[name][0],
    title: KINDS[name][1],
    path: `/${name}`,
    url: name === "adyen" ? "https://pay.example.com/adyen" : null,
    verified: true,
    mode: name === "wechat" ? "destination" : "custody",
    file: `rules/${name}.toml`,
    digest: hex(64),
    health,
    last_accepted_at: iso(now - 12000),
    last_rejected_at: iso(now - 3600000 * 5),
    rejected_share: 0.002,
    accepted_1h: 412,
    rejected_1h: 1,
    duplicate_1h: 9,
    usual_gap_seconds: 41,
    keys: [{ label: "keys[0]", last_used_at: iso(now - 12000), not_after: null, state: "used" }],
    contract: { retries: "1h, 2h, 4h, 8h, 16h, 1d", horizon_seconds: 259200, deadline_ms: 10000 },
    keep_seconds: 604800,
    destinations,
    ...more,
  });
  const sources = [
    source("shop", "failing", [
      destination("main", "http://127.0.0.1:3000/webhooks/stripe", { owed: 9, dead: 31, breaker: "open", oldest_owed_at: iso(now - 1800000), next_due: iso(now + 45000), last_failed_at: iso(now - 40000), under_way: 0 }),
      destination("ledger", "http://ledger.internal:8080/callbacks/stripe", { owed: 3, dead: 6, under_way: 2, next_due: iso(now + 9000) }),
    ], { rejected_1h: 37, rejected_share: 0.082, keys: [{ label: "keys[0]", last_used_at: iso(now - 12000), not_after: null, state: "used" }, { label: "keys[1]", last_used_at: null, not_after: iso(now + 86400000 * 9), state: "expiring" }] }),
    source("wechat", "good", [destination("main", "http://127.0.0.1:3000/pay/wechat/notify", { dead: 4, under_way: 1 })], { keys: [{ label: "PUB_KEY_ID_0114232134912410000000000000", last_used_at: iso(now - 30000), not_after: null, state: "used" }, { label: "keys[1]", last_used_at: iso(now - 86400000 * 40), not_after: iso(now - 86400000 * 2), state: "expired" }] }),
    source("alipay", "paused", [destination("main", "http://127.0.0.1:3000/pay/alipay/notify", { paused: true, pauses: [{ destination: "main", by: "alice", since: iso(now - 7200000), reason: "the ERP is down for its update until 14:00", number: 6 }], owed: 6, oldest_owed_at: iso(now - 7200000) })]),
    source("paypal-eu", "quiet", [destination("main", "https://shop.internal/hooks/paypal", {})], { last_accepted_at: iso(now - 3600000 * 7), accepted_1h: 0, duplicate_1h: 0, rejected_1h: 0, rejected_share: null, usual_gap_seconds: 900 }),
    source("adyen", "good", [destination("main", "http://127.0.0.1:3000/adyen")]),
    source("github", "idle", [destination("main", "http://127.0.0.1:3000/hooks/github", { last_delivered_at: null, last_failed_at: null, last_error: "" })], { verified: false, last_accepted_at: null, last_rejected_at: null, rejected_share: null, accepted_1h: 0, rejected_1h: 0, duplicate_1h: 0, usual_gap_seconds: null, keys: [], contract: null }),
  ];
  const group = (source, stage, reason, count, cause, mend, command) => ({ source, stage, reason, count, first_at: iso(now - 86400000), last_at: iso(now - 60000 * count), peers: count > 4 ? 3 : 1, cause, mend, command });
  const groups = [
    group("shop", "rejected", "signature_mismatch", 37, "The secret of this source is not the one that signed. The same requests fit the key of no other source.", "Compare the endpoint’s signing secret at Stripe with keys of rules/shop.toml; while rotating, name both.", "callseal explain shop request.txt"),
    group(null, "refused", "not_found", 12, "Somebody scans for known paths.", "Nothing, unless a provider’s own address is among the senders.", null),
    group("paypal-eu", "rejected", "unready", 3, "The provider’s certificate host could not be reached.", "Look whether api.paypal.com can be reached from here.", "callseal check"),
    group("wechat", "rejected", "stale", 2, "A replay, or this machine’s clock is off.", "Compare the clock with a time server.", "callseal explain wechat request.txt"),
    group(null, "malformed", "both_lengths", 1, "A tool that tries request smuggling.", "Nothing.", null),
  ];
  const refusals = Array.from({ length: 130 }, (_, n) => {
    const g = pick([groups[0], groups[0], groups[0], groups[1], groups[2], groups[3], groups[4]]);
    return { number: 5000 - n, at: iso(now - n * 61000), source: g.source, peer: `203.0.113.${1 + (n % 30)}`, method: "POST", path: g.source ? `/${g.source}` : pick(["/wp-login.php", "/.env", "/admin"]), stage: g.stage, reason: g.reason, detail: { signature_mismatch: "none of 1 signatures fits any of 2 keys", unready: "cannot be verified now: no connection to the host", stale: "signed 3600 s ago" }[g.reason] ?? "" };
  });
  const deed = (number, ago, what, more) => ({ number, at: iso(now - ago), by: "operator[0]", what, source: null, destination: null, event: null, detail: "", count: 0, outcome: "done", ...more });
  const audit = [
    deed(9, 30000, "sign_in", {}),
    deed(8, 400000, "unmask", { event: events[0].id, source: "shop", destination: "main" }),
    deed(7, 700000, "redrive_many", { by: "alice", source: "shop", destination: "main", detail: "after the fix of the receiver", count: 1204 }),
    deed(6, 7200000, "pause", { by: "alice", source: "alipay", destination: "main", detail: "the ERP is down for its update until 14:00" }),
    deed(5, 7300000, "discard", { event: events[7].id, source: events[7].source, detail: "test order" }),
    deed(4, 90000000, "reload", { outcome: "reload_failed", detail: "rules/shop.toml" }),
    ...Array.from({ length: 70 }, (_, n) => deed(3 - n, 100000000 + n * 3000000, pick(["resume", "pause", "redrive", "reload"]), { source: pick(["shop", "wechat"]) })),
  ];
  return { now, started: now - 86400000 * 3.4, events, sources, groups, refusals, audit, jobs: [], paused: new Set(["alipay/main"]) };
}

export function overview(world) {
  const now = Date.now();
  const dead = world.events.filter((e) => e.state === "dead").length;
  const owed = world.events.filter((e) => e.state === "owed").length;
  return {
    version: "0.1.0",
    started_at: iso(world.started),
    now: iso(now),
    ready: true,
    accepting: true,
    draining: false,
    owed,
    oldest_owed_at: iso(now - 1800000),
    dead,
    claims: 184223,
    journal_bytes: 734003200,
    disk_free_bytes: 41234567890,
    certificate: { not_after: iso(now + 86400000 * 61), subject: "CN=pay.example.com" },
    rules_digest: "8d3f0a2b9c1e4f6a7b5c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
    rules_loaded_at: iso(now - 86400000),
    reload_error: null,
    rates: { accepted: 4.25, duplicate: 0.12, rejected: 0.31, refused: 0.02, delivered: 3.9, failed: 0.4 },
    acknowledge: { p50_ms: 1.24, p99_ms: 4.05 },
    delivery: { p50_ms: 21.4, p99_ms: 92 },
    attention: [
      { severity: "blocker", code: "disk_low", source: null, destination: null, count: null, since: null, until: null, detail: "The disk is below `inbox.low_water`: nothing is accepted until space returns.", text: "disk_low", facts: {} },
      { severity: "warning", code: "dead_letters", source: "shop", destination: "main", count: 31, since: iso(now - 5400000), until: null, detail: "31 dead letters wait for a word: redrive or discard.", text: "dead_letters", facts: { count: "31" } },
      { severity: "warning", code: "breaker_open", source: "shop", destination: "main", count: null, since: iso(now - 1500000), until: null, detail: "main of shop fails: its deliveries wait.", text: "breaker_open", facts: {} },
      { severity: "warning", code: "rejections", source: "shop", destination: null, count: 37, since: null, until: null, detail: "8 % of what came to shop in the last hour was rejected.", text: "rejections", facts: { share: "0.0822" } },
      { severity: "warning", code: "oldest_owed", source: null, destination: null, count: 20, since: iso(now - 7380000), until: null, detail: "The oldest delivery has been owed for 2h 3m.", text: "oldest_owed", facts: { seconds: "7380" } },
      { severity: "warning", code: "paused", source: "alipay", destination: "main", count: null, since: iso(now - 7200000), until: null, detail: "Nothing is sent to main of alipay until it is resumed.", text: "paused_because", facts: { by: "alice", reason: "the ERP is down for its update until 14:00" } },
      { severity: "warning", code: "quiet_source", source: "paypal-eu", destination: null, count: null, since: iso(now - 3600000 * 7), until: null, detail: "paypal-eu has been silent for much longer than usual.", text: "quiet_source", facts: {} },
      { severity: "note", code: "key_expiry", source: "shop", destination: null, count: null, since: null, until: iso(now + 86400000 * 9), detail: "keys[1] of shop ends soon.", text: "key_expiring", facts: { key: "keys[1]" } },
    ],
  };
}

export function stats(window, source) {
  const [count, step] = { "1h": [360, 10], "24h": [1440, 60], "7d": [1008, 600] }[window];
  const to = Math.floor(Date.now() / 1000 / step) * step * 1000;
  const from = to - count * step * 1000;
  seed = 11;
  const scale = source ? 0.3 : 1;
  const series = {};
  const gap = (n) => window === "7d" && n > 420 && n < 470;
  const make = (name, run) => {
    series[name] = Array.from({ length: count }, (_, n) => (gap(n) ? null : run(n)));
  };
  const wave = (n) => 1.2 + Math.sin((n / count) * 9) * 0.5 + Math.sin((n / count) * 31) * 0.25;
  make("accepted", (n) => Math.round(wave(n) * step * 3.2 * scale + random() * step * scale));
  make("duplicate", () => (random() > 0.9 ? Math.round(random() * step * 0.4) : 0));
  make("rejected", (n) => (n > count * 0.8 ? Math.round(random() * step * 0.8 * scale) : 0));
  make("refused", () => (random() > 0.97 ? 1 : 0));
  make("delivered", (n) => Math.round(wave(n) * step * 3 * scale + random() * step * scale * (n > count * 0.75 ? 0.2 : 1)));
  make("failed", (n) => (n > count * 0.75 ? Math.round(random() * step * 0.7) : 0));
  make("owed", (n) => (n > count * 0.75 ? Math.round((n - count * 0.75) * 0.2) : Math.round(random() * 3)));
  make("dead", (n) => (n > count * 0.85 ? Math.min(41, Math.round((n - count * 0.85) * 1.2)) : 3));
  make("acknowledge_p50_ms", () => 1.1 + random() * 0.3);
  make("acknowledge_p99_ms", () => 3 + random() * 2.5);
  make("delivery_p50_ms", (n) => (n % 97 === 0 ? null : 18 + random() * 8));
  make("delivery_p99_ms", (n) => (n % 97 === 0 ? null : 70 + random() * 60));
  return { window, step_seconds: step, from: iso(from), to: iso(to), source: source ?? null, series };
}

const BODY = `{"id":"evt_1PqLz82eZvKYlo2C","object":"event","api_version":"2026-08-01","created":1763800000,"data":{"object":{"id":"pi_3PqLz82eZvKYlo2C1","amount":12345678901234567890,"currency":"usd","status":"succeeded","receipt_email":"j***@e***.com","payment_method_details":{"card":{"brand":"visa","number":"4242 **** **** 4242","exp_month":8,"empty":{},"list":[]}},"metadata":{"order":"A-2026-10240","note":"Grüße aus Köln 🎁"}}},"livemode":true,"type":"payment_intent.succeeded"}`;

export function detail(world, row, unmask) {
  const at = Date.parse(row.received_at);
  const history = Array.from({ length: Math.max(row.attempts, row.state === "owed" ? 3 : row.attempts) }, (_, n) => {
    const last = row.state === "delivered" && n === row.attempts - 1;
    const silent = !last && n % 3 === 1;
    return {
      number: n + 1,
      started_at: iso(at + 200 + n * n * 60000),
      took_ms: last ? 23 : silent ? 10000 : 41 + n * 7,
      status: last ? 200 : silent ? null : 503,
      error: last ? "" : silent ? "timeout" : "status_5xx",
      response: silent ? null : { headers: [["content-type", last ? "application/json" : "text/html"], ["server", "nginx/1.25.3"], ["date", new Date(at).toUTCString()], ["retry-after", "120"]], body: last ? '{"ok":true}' : "<html><head><title>503 Service Temporarily Unavailable</title></head>\n<body>\n<center><h1>503</h1></center>\n</body></html>", cut: false },
    };
  });
  const body = unmask ? BODY.replace("j***@e***.com", "jane@example.com").replace("4242 **** **** 4242", "4242 4242 4242 4242") : BODY;
  return {
    ...row,
    peer: "203.0.113.14",
    method: "POST",
    target: `/${row.source}?account=acct_1032D82eZvKYlo2C`,
    verified: "hmac-sha256 keys[0]",
    conflict_of: row.conflict ? world.events[3].id : null,
    masked: !unmask,
    headers: [
      ["host", "pay.example.com"],
      ["user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"],
      ["content-type", "application/json; charset=utf-8"],
      ["content-length", "612"],
      ["stripe-signature", "t=1763800000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"],
      ["accept", "*/*; q=0.5, application/xml"],
    ],
    body: { text: body, cut: false, encoding: "utf8", kind: "json" },
    history,
    deliveries: [row, { ...world.events[12], destination: "ledger", source: row.source }],
    deeds: world.audit.filter((deed) => deed.event === row.id),
  };
}

export const verification = {
  verdict: "accepted",
  reason: null,
  note: "rules and keys as they are now, at the moment at which it came in",
  note_code: "kept",
  steps: [
    { name: "guard", outcome: "passed", facts: [{ name: "method", value: "POST" }, { name: "path", value: "/shop (source: /shop)" }, { name: "address", value: "203.0.113.14 (enforced)" }, { name: "body", value: "622 of at most 262144 bytes" }] },
    { name: "challenge", outcome: "noted", facts: [{ name: "questions", value: "this provider asks none" }] },
    { name: "decode", outcome: "passed", facts: [{ name: "content-type", value: "application/json; charset=utf-8" }, { name: "body", value: "622 bytes, sha256 5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592" }, { name: "as JSON", value: "good" }] },
    { name: "signature", outcome: "passed", facts: [{ name: "algorithm", value: "hmac-sha256" }, { name: "item t", value: "1763800000" }, { name: "item v1", value: "•••" }, { name: "candidate from {sig:v1}", value: "••• (32 bytes)" }, { name: "message", value: "{sig:t}.{body}" }, { name: "signed", value: '1763800000.{"id":"evt_1PqLz82eZvKYlo2C","object":"event","api_version":"2026-08-01" … 222 bytes (--full) … "livemode":true}' }, { name: "", value: "633 bytes, sha256 6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39" }, { name: "key tried", value: "keys[0]: fits" }, { name: "key tried", value: "keys[1]: does not fit" }] },
    { name: "freshness", outcome: "failed", facts: [{ name: "stamp from {sig:t}", value: "1763800000" }, { name: "now", value: "2025-11-22T08:26:42.000Z" }, { name: "tolerance", value: "5m" }, { name: "read", value: "2025-11-22T08:26:40.000Z" }, { name: "distance", value: "2 s behind this clock" }] },
    { name: "what must hold", outcome: "passed", facts: [{ name: "{json:/livemode}", value: "holds: true against true" }] },
    { name: "event", outcome: "passed", facts: [{ name: "sealed by", value: "keys[0]" }, { name: "id", value: "evt_1PqLz82eZvKYlo2C" }, { name: "type", value: "payment_intent.succeeded" }, { name: "idempotency key", value: "from the signed id {json:/id}" }, { name: "payment amount", value: "12.50" }] },
    { name: "answer", outcome: "noted", facts: [{ name: "the provider hears", value: "200" }] },
  ],
};

const REMARK = { code: "long_tolerance", file: "rules/wechat.toml", line: 3, column: 13, message: "a captured request stays good for longer than an hour", hint: "providers sign every try anew; five minutes is usual" };

export function rules(world) {
  const shown = Object.entries(KINDS).map(([name, [provider, title]]) => ({ name: provider, title, file: provider === "adyen" ? "rules/providers/adyen.toml" : null, digest: hex(64), used_by: [name] }));
  const idle = ["braintree", "coinbase", "gitlab", "line", "mollie", "paddle", "razorpay", "slack", "square", "twilio"].map((name) => ({ name, title: name[0].toUpperCase() + name.slice(1), file: null, digest: hex(64), used_by: [] }));
  return {
    digest: "8d3f0a2b9c1e4f6a7b5c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
    loaded_at: iso(Date.now() - 86400000),
    reload_error: null,
    sources: world.sources.map(({ name, file, digest }) => ({ name, file, digest })),
    providers: [...shown, ...idle],
    warnings: [`${REMARK.file}:3:13: ${REMARK.message} (${REMARK.hint})`],
    remarks: [REMARK, { code: "side_by_side", file: "rules/providers/adyen.toml", line: 21, column: 12, message: "nothing stands between {json:/id} and {json:/amount}", hint: "bytes can move from one to the other unseen; where the provider signs like this, say why that is no danger: `side_by_side = \"…\"`" }],
  };
}

const finding = (severity, code, subject, detail, mend, text, facts) => ({ severity, code, subject, detail, mend, text, facts });

export const doctor = {
  findings: [
    finding("blocker", "disk_low", "gateway", "The disk is below `inbox.low_water`: nothing is accepted until space returns.", "Give the disk room, or lower `keep` of large sources.", "disk_low", {}),
    finding("warning", "unused_key", "wechat", "keys[1] of wechat was not used since the start.", "Take it out if the provider no longer signs with it.", "unused_key", { key: "keys[1]", source: "wechat" }),
    finding("warning", "rule_warning", "rules", "rules/wechat.toml:3:13: …", "`callseal check` shows the place.", "rule_warning", { remark: "rules/wechat.toml:3:13: …", file: REMARK.file, line: "3", column: "13", message: REMARK.message, hint: REMARK.hint }),
    finding("fine", "certificate", "gateway", "Good until 2027-01-22T00:00:00.000Z.", null, "certificate_good", { until: "2027-01-22T00:00:00.000Z" }),
    finding("fine", "rules", "gateway", "6 sources, in force since 2026-11-21T12:00:00.000Z.", null, "rules", { count: "6", since: "2026-11-21T12:00:00.000Z" }),
    finding("fine", "oldest_owed", "gateway", "1 deliveries are owed, none for long.", null, "owed_fresh", { count: "1" }),
  ],
};

export const DIAGNOSTICS = `rules/shop.toml: callseal::rule::unknown_key

  × there is no key \`forwrad\` here
   ╭─[rules/shop.toml:4:1]
 3 │ keys     = ["env:STRIPE_WEBHOOK_SECRET"]
 4 │ forwrad  = "http://127.0.0.1:3000/webhooks/stripe"
   · ───┬───
   ·    ╰── not a key
   ╰────
  help: did you mean \`forward\`?`;
