"""An application that takes every delivery. app.py ADDRESS PORT FILE: one line a delivery into FILE."""

import http.server
import sys

address, port, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(file, "a") as out:
            out.write("%s %s %d\n" % (self.headers["Callseal-Event"], self.path, len(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


open(file, "a").close()
http.server.ThreadingHTTPServer((address, port), App).serve_forever()
