// The page and the mock API on a port of this machine. `node server.mjs [PORT]` serves it for a look.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { Gateway, OPERATOR } from "./handler.mjs";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "../../../src/admin/page");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };
export const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HEADERS = { "content-security-policy": CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store" };

async function read(request) {
  let text = "";
  for await (const part of request) text += part;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function serve(gateway, port = 0) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    const cookie = /session=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
    if (url.pathname === "/v1/stream" && gateway.sessions.has(cookie)) {
      response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream" });
      response.write(":\n\n");
      const kinds = (url.searchParams.get("kinds") ?? "").split(",");
      const hear = (kind, data) => kinds.includes(kind) && response.write(`event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
      gateway.listeners.add(hear);
      gateway.streams.add(response);
      request.on("close", () => {
        gateway.listeners.delete(hear);
        gateway.streams.delete(response);
      });
      return;
    }
    if (url.pathname.startsWith("/v1/") || url.pathname === "/session") {
      const answer = gateway.answer({ method: request.method, path: url.pathname, query: url.searchParams, body: await read(request), cookie, csrf: request.headers["x-callseal-csrf"] });
      response.writeHead(answer.status, { ...HEADERS, ...(answer.type ? { "content-type": answer.type } : {}), ...(answer.cookie ? { "set-cookie": answer.cookie } : {}) });
      response.end(answer.json === undefined ? "" : JSON.stringify(answer.json));
      return;
    }
    const name = url.pathname === "/" ? "/index.html" : url.pathname;
    try {
      if (!/^(\/[\w-]+)+\.(html|js|css|svg)$/.test(name)) throw new Error("no file of the page");
      const file = await readFile(join(PAGE, name));
      response.writeHead(200, { ...HEADERS, "content-type": TYPES[extname(name)] });
      response.end(file);
    } catch {
      response.writeHead(404, HEADERS);
      response.end();
    }
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => resolve({ url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } }));
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { url } = await serve(new Gateway(), Number(process.argv[2] ?? 8480));
  console.log(`${url}  token: ${OPERATOR}`);
}
