// Everything that is asked of the gateway goes through here: the session, changes with their CSRF
// token, and errors as problems.

/** The session: role, label, csrf, expires_at. Null: nobody is signed in. */
export let session = null;

/**
 * Events: `ended` (the session; detail: { byItself, was }), `signed` (somebody has signed in),
 * `reach` (detail: true when the gateway answers).
 */
export const news = new EventTarget();

/** False since a request got no answer, until one gets one. */
export let reachable = true;

// So long a request may take. A change is given more: whether it was done is not known afterwards.
const PATIENT = { GET: 30000, POST: 90000, DELETE: 15000 };

function reach(now) {
  if (now === reachable) return;
  reachable = now;
  news.dispatchEvent(new CustomEvent("reach", { detail: now }));
}

export class Problem extends Error {
  constructor(status, code, detail, wait = null) {
    super(detail || code);
    this.status = status;
    this.code = code;
    this.detail = detail;
    /** Seconds to wait, where the gateway says so. */
    this.wait = wait;
    /** The detail once more, as a code and what it says. */
    this.text = null;
    this.facts = {};
  }
}

async function problem(response) {
  const wait = Number(response.headers.get("retry-after")) || null;
  try {
    const said = await response.json();
    const made = new Problem(response.status, String(said.code || "unknown"), String(said.detail ?? ""), wait);
    made.text = said.text ? String(said.text) : null;
    made.facts = Object.fromEntries(Object.entries(said.facts ?? {}).map(([name, text]) => [name, String(text)]));
    return made;
  } catch {
    return new Problem(response.status, "unknown", "", wait);
  }
}

export function query(params) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `?${text}` : "";
}

// A long row of questions may be too quick for the gateway, which says when to go on.
const PATIENCE = 3;

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("", "AbortError"));
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
  });

// Until somebody has signed in.
const signedIn = (signal) =>
  new Promise((resolve, reject) => {
    news.addEventListener("signed", resolve, { once: true });
    signal?.addEventListener("abort", () => reject(new DOMException("", "AbortError")), { once: true });
  });

async function ask(method, path, options = {}) {
  // Nobody is signed in: what asks by itself is not to queue up until somebody is.
  if (!session && path !== "/session") throw new Problem(401, "unauthorized", "");
  for (let turn = 1; ; turn += 1) {
    try {
      return await once(method, path, options);
    } catch (error) {
      if (error.status === 401 && path !== "/session") {
        // Nothing was changed, and nothing is changed without another word.
        if (method !== "GET") throw new Problem(401, "session_over", "");
        await signedIn(options.signal);
        continue;
      }
      const again = method === "GET" && error.status === 429 && error.wait !== null && error.wait <= 5 && turn < PATIENCE;
      if (!again) throw error;
      await pause(error.wait, options.signal);
    }
  }
}

async function once(method, path, { body, params, signal } = {}) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && session?.csrf) headers["x-callseal-csrf"] = session.csrf;
  const late = AbortSignal.timeout(PATIENT[method]);
  const silent = (error) => {
    if (signal?.aborted) return error;
    reach(false);
    if (method !== "GET" && path !== "/session") return new Problem(0, "unknown_outcome", "");
    return new Problem(0, late.aborted ? "slow" : "offline", "");
  };
  let response;
  try {
    response = await fetch(path + query(params), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, late]) : late,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    throw silent(error);
  }
  reach(true);
  if (!response.ok) {
    const said = await problem(response);
    if (said.status === 401 && path !== "/session") end(true);
    throw said;
  }
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "SyntaxError") throw new Problem(response.status, "unreadable", "");
    throw silent(error);
  }
}

export const get = (path, params, signal) => ask("GET", path, { params, signal });
export const post = (path, body, params, signal) => ask("POST", path, { body, params, signal });

function end(byItself) {
  if (!session) return;
  const was = session;
  session = null;
  news.dispatchEvent(new CustomEvent("ended", { detail: { byItself, was } }));
}

/** True when a session of this browser is still good. */
export async function resume() {
  try {
    session = await get("/session");
  } catch (error) {
    if (error.status !== 401) throw error;
    session = null;
  }
  return session !== null;
}

/** `was`: the session that ended. What it waits for goes on only if it is the same person again. */
export async function signIn(token, was = null) {
  session = await post("/session", { token });
  if (was === null || samePerson(was)) news.dispatchEvent(new CustomEvent("signed"));
}

export const samePerson = (was) => session?.label === was.label && session.role === was.role;

export async function signOut() {
  try {
    await ask("DELETE", "/session");
  } finally {
    end(false);
  }
}

export const mayChange = () => session?.role === "operator";

// A dot segment would lead elsewhere, however it is written.
function segment(name) {
  if (/^\.{0,2}$/.test(name)) return "_";
  const written = encodeURIComponent(String(name).toWellFormed());
  return written.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A path out of ids and names. */
export const at = (...segments) => `/${segments.map(segment).join("/")}`;
