"""A receiver of webhooks that remembers what it got, and answers as it is told to."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE_SECONDS = 20


@dataclass
class Received:
    path: str
    headers: dict
    body: bytes


class Receiver:
    def __init__(self):
        self._came = threading.Condition()
        self._received = []
        self._failing = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver._came:
                    fails = self.path in receiver._failing
                    receiver._received.append(Received(self.path, dict(self.headers), body))
                    receiver._came.notify_all()
                answer = b"not today" if fails else b"thank you"
                self.send_response(500 if fails else 200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def fail(self, path, fails):
        with self._came:
            (self._failing.add if fails else self._failing.discard)(path)

    def wait_for(self, path, count):
        """What came to this path, once it is so much."""
        here = lambda: [one for one in self._received if one.path == path]
        with self._came:
            if not self._came.wait_for(lambda: len(here()) >= count, PATIENCE_SECONDS):
                raise AssertionError(f"{len(here())} requests came to {path}, not {count}")
            return here()
