// What happens now: server-sent events, and asking again every few seconds where these do not come.
// A page that nobody looks at holds no stream: browsers allow six connections to a host.

import { news, query, session } from "/api.js";

const POLL = 5000;
const AGAIN = 30000;

/**
 * Listens to `kinds`. `on[kind](data)` hears each; `on.poll()` is called while there is no stream,
 * and once after one came back, because something may have been missed.
 */
export function live(kinds, params, on) {
  let stream = null;
  let polling = null;
  let again = null;
  let closed = false;

  const tell = (state) => news.dispatchEvent(new CustomEvent("live", { detail: state }));

  const poll = () => {
    if (polling !== null || closed) return;
    tell("polling");
    polling = setInterval(() => session && on.poll?.(), POLL);
  };
  const rest = () => {
    clearInterval(polling);
    clearTimeout(again);
    polling = null;
    again = null;
  };
  const hang = () => {
    stream?.close();
    stream = null;
    rest();
  };

  const hear = (kind) => (message) => {
    let data;
    try {
      data = JSON.parse(message.data);
    } catch {
      return;
    }
    on[kind]?.(data);
  };

  let missed = false;
  function open() {
    hang();
    if (closed || document.hidden || !session) return;
    stream = new EventSource(`/v1/stream${query({ ...params, kinds: kinds.join(",") })}`);
    for (const kind of kinds) stream.addEventListener(kind, hear(kind));
    stream.addEventListener("lagged", () => on.poll?.());
    stream.addEventListener("open", () => {
      rest();
      tell("live");
      if (missed) on.poll?.();
      missed = false;
    });
    stream.addEventListener("error", () => {
      missed = true;
      poll();
      // A refused stream is not tried again by the browser.
      if (stream?.readyState === EventSource.CLOSED && again === null) again = setTimeout(open, AGAIN);
    });
  }

  const look = () => {
    if (document.hidden) {
      hang();
      missed = true;
    } else open();
  };
  const signed = () => {
    missed = true;
    open();
  };
  document.addEventListener("visibilitychange", look);
  // The stream of a session that ended was refused; the new one has its own.
  news.addEventListener("signed", signed);
  open();

  return {
    close() {
      closed = true;
      document.removeEventListener("visibilitychange", look);
      news.removeEventListener("signed", signed);
      hang();
      tell("none");
    },
  };
}
