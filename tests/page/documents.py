"""Serves documents that a test wrote, each with its policy: documents.py DIRECTORY PORT; NAME.html is at port PORT + n.

At PORT - 1 is one that is broken on purpose: text too pale and too wide, a script that its policy forbids, an image.
"""

import base64
import hashlib
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


def serve(where, text, policy):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", where), handler(text.encode(), policy))
    threading.Thread(target=server.serve_forever).start()


def style(text):
    return text.split("<style>")[1].split("</style>")[0]


def allowed(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


for index, file in enumerate(sorted(directory.glob("*.html"))):
    text, policy = file.read_text(encoding="utf-8"), file.with_suffix(".policy").read_text(encoding="utf-8")
    serve(port + index, text, policy)
broken = text.replace("--weak:#7a4b00", "--weak:#e0d0c0").replace("<script>", "<script>0;")
broken = broken.replace("<footer>", "<footer>" + "x" * 200 + '<img alt="" src="http://127.0.0.1:9/image">')
serve(port - 1, broken, policy.replace(allowed(style(text)), allowed(style(broken))))
print("ready", flush=True)
