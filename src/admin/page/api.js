// Everything that is asked of the gateway goes through here: the session, changes with their CSRF
// token, and errors as problems.

/** The session: role, label, csrf, expires_at. Null: nobody is signed in. */
export let session = null;

/** Events: `ended` (the session; detail: by itself), `reach` (detail: true when the gateway answers). */
export const news = new EventTarget();

let reachable = true;

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
  }
}

async function problem(response) {
  const wait = Number(response.headers.get("retry-after")) || null;
  try {
    const said = await response.json();
    return new Problem(response.status, String(said.code || "unknown"), String(said.detail ?? ""), wait);
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

async function ask(method, path, options = {}) {
  for (let turn = 1; ; turn += 1) {
    try {
      return await once(method, path, options);
    } catch (error) {
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
  let response;
  try {
    response = await fetch(path + query(params), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    reach(false);
    throw new Problem(0, "offline", "");
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
    if (error.name === "AbortError") throw error;
    throw new Problem(response.status, "unreadable", "");
  }
}

export const get = (path, params, signal) => ask("GET", path, { params, signal });
export const post = (path, body, params, signal) => ask("POST", path, { body, params, signal });

function end(byItself) {
  if (!session) return;
  session = null;
  news.dispatchEvent(new CustomEvent("ended", { detail: byItself }));
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

export async function signIn(token) {
  session = await post("/session", { token });
}

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
