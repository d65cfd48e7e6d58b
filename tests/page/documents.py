"""Serves documents that a test wrote, each with its policy: documents.py DIRECTORY PORT; NAME.html is at port PORT + n."""

import http.server
import pathlib
import sys
import threading

directory, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])


def handler(text, policy):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    return Handler


for index, file in enumerate(sorted(directory.glob("*.html"))):
    served = handler(file.read_bytes(), file.with_suffix(".policy").read_text(encoding="utf-8"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port + index), served)
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
