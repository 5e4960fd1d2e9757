// A real gateway for the tests: settings, rules and keys in a scratch directory, an application that
// takes some callbacks and fails on others, and a provider that signs and sends through TLS.

import { createHash, createHmac, randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";

const secret = () => randomBytes(24).toString("hex");
const bytes = (text) => Buffer.from(text.toWellFormed(), "utf8");

/** As it may stand in a header field: without controls, and without space around it. */
export const field = (text) => text.toWellFormed().replace(/[\u0000-\u001f\u007f]/g, "").trim().slice(0, 900);

/** The application: `/broken` answers 500 with what it was sent, all else is taken. */
function application() {
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const broken = request.url.startsWith("/broken");
    const note = Buffer.from(request.headers["x-note"] ?? "", "latin1").toString("latin1");
    response.writeHead(broken ? 500 : 200, { "content-type": "text/html", "x-said": note.replace(/[^\t\x20-\x7e\x80-\xff]/g, "") });
    response.end(broken ? Buffer.concat(parts) : "ok");
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve({ port: server.address().port, close: () => { server.closeAllConnections(); server.close(); } }));
  });
}

/** One request as its bytes are, and the status of its answer (0: the connection ended without one). */
function speak(port, ca, head, body) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", servername: "localhost", ca, ALPNProtocols: ["http/1.1"] }, () => socket.write(Buffer.concat([head, body])));
    let heard = "";
    socket.setTimeout(60000, () => socket.destroy(new Error("no answer in a minute")));
    socket.on("data", (part) => {
      heard += part.toString("latin1");
    });
    socket.on("error", (error) => (error.code === "ECONNRESET" || error.code === "EPIPE" ? resolve(0) : reject(error)));
    socket.on("close", () => resolve(Number(/^HTTP\/1\.[01] (\d{3})/.exec(heard)?.[1] ?? 0)));
  });
}

/** Starts `binary` on a site of its own. */
export async function startSite(binary) {
  const app = await application();
  const place = mkdtempSync(join(tmpdir(), "callseal-page-"));
  mkdirSync(join(place, "rules/keys"), { recursive: true });
  const keys = { shop: `whsec_${secret()}`, wallet: secret(), hostile: secret(), unheard: secret() };
  const tokens = { operator: secret(), viewer: secret() };
  const put = (name, text) => writeFileSync(join(place, name), text, { mode: 0o600 });
  for (const [name, key] of Object.entries({ ...tokens })) put(name, key);
  for (const [name, key] of Object.entries(keys)) put(`rules/keys/${name}`, key);
  const rule = (name, provider, path, more = "") => put(`rules/${name}.toml`, `provider = "${provider}"\npath     = "/${name}"\nkeys     = ["file:keys/${name}"]\nforward  = "${path}"\n${more}`);
  const at = (path) => `http://127.0.0.1:${app.port}/${path}`;
  const give_up = '\n[relay]\nbreaker = "off"\nretry = { after = ["100ms"], then = "dead" }\n';
  rule("shop", "stripe", at("shop"), `${give_up}\n[[relay.to]]\nname = "ledger"\nforward = "${at("broken")}"\nbreaker = "off"\nretry = { after = ["100ms"], then = "dead" }\n`);
  rule("wallet", "generic-hmac", at("wallet"));
  rule("hostile", "generic-hmac", at("broken"), give_up);
  // Nobody listens there: what is owed stays owed.
  rule("unheard", "generic-hmac", "http://127.0.0.1:9/unheard");
  put("callseal.toml", `rules = "rules"\n[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"\noperator = [{ from = "file:operator", name = "alice" }]\nviewer = ["file:viewer"]\n[inbox]\nstore = "data"\nsegment = "8 MiB"\n`);
  const gateway = spawn(binary, ["--config", join(place, "callseal.toml"), "serve"], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  process.once("exit", () => {
    gateway.kill("SIGKILL");
    rmSync(place, { recursive: true, force: true });
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
  const ended = new Promise((resolve) => gateway.once("exit", resolve));
  const stop = async () => {
    if (gateway.exitCode === null && gateway.signalCode === null) gateway.kill("SIGTERM");
    await ended;
    app.close();
    rmSync(place, { recursive: true, force: true });
  };
  try {
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the gateway does not start:\n${log}`)), 60000);
      gateway.stderr.on("data", (part) => {
        log = (log + part).slice(-20000);
        if (/^ {2}admin +http:/m.test(log) && /^ {2}public +https:/m.test(log)) resolve(clearTimeout(late));
      });
      gateway.once("error", reject);
      gateway.once("exit", (code) => reject(new Error(`the gateway ended with ${code}:\n${log}`)));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  const url = /^ {2}admin +(http:\S+)/m.exec(log)[1];
  const port = Number(/^ {2}public +https:\S+:(\d+)/m.exec(log)[1]);
  const ca = readFileSync(join(place, "data/tls/dev-ca.pem"));

  /** `{ method, target, headers: [[name, value]], body }` to the public port. */
  const raw = ({ method = "POST", target, headers = [], body = Buffer.alloc(0) }) => {
    const lines = [[bytes(`${method} ${target} HTTP/1.1`)], ...[["host", "localhost"], ["content-length", String(body.length)], ["connection", "close"], ...headers].map(([name, value]) => [bytes(`${name}: ${value}`)])];
    return speak(port, ca, Buffer.concat([...lines.flatMap(([line]) => [line, bytes("\r\n")]), bytes("\r\n")]), body);
  };
  /** A callback to a source of `generic-hmac`, signed. */
  const signed = (source, { id, type, body, query = "", headers = [] }) => {
    const target = `/${source}${query}`;
    const now = String(Math.floor(Date.now() / 1000));
    const digest = createHash("sha256").update(body).digest("hex");
    const mac = createHmac("sha256", keys[source]).update(bytes([id, now, "POST", target, digest].join("\n"))).digest("hex");
    return raw({ target, headers: [["x-event-id", id], ["x-event-type", type], ["x-timestamp", now], ["x-signature", `v1=${mac}`], ...headers], body });
  };
  /** An event of Stripe's, signed; `right` false: by somebody else. */
  const stripe = (body, right = true) => {
    const now = Math.floor(Date.now() / 1000);
    const mac = createHmac("sha256", right ? keys.shop : "whsec_of_somebody_else").update(`${now}.`).update(body).digest("hex");
    return raw({ target: "/shop", headers: [["stripe-signature", `t=${now},v1=${mac}`], ["content-type", "application/json"]], body });
  };
  return { url, ...tokens, raw, signed, stripe, stop, log: () => log };
}
