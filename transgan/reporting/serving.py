"""A live page of a run, served to this machine alone.

The server listens on the loopback address, and answers only requests that name it: a page of another site whose name
leads here (DNS rebinding) gets no answer. It reads the run folder and never writes to it.
"""

import json
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from transgan.plan import Plan
from transgan.reporting.html import KINDS, render_run
from transgan.reporting.runs import RunReader
from transgan.storage import RunFolder

ADDRESS = "127.0.0.1"
#: The names by which a browser on this machine, or at the other end of a tunnel, calls the server.
HOSTS = {"127.0.0.1", "localhost", "[::1]"}


class LivePage:
    """The page of a run, made anew where the run's files have changed since."""

    def __init__(self, folder: RunFolder, plan: Plan | None):
        self.folder = folder
        self._reader = RunReader(folder, plan, KINDS)
        self._lock = threading.Lock()
        self._salt = secrets.token_hex(4)  # a page of an earlier server is never the newest
        self._version = ""
        self._page = b""

    def version(self) -> str:
        """Return a text that differs where the run's files do, or where its process has ended."""
        folder = self.folder
        paths = (folder.metrics, folder.log, folder.samples, folder.result, folder.recipe, folder.fallback)
        state = ",".join(f"{size:x}.{time:x}" for size, time in map(_stamp, paths))
        return f"{self._salt},{state},{folder.in_use}"

    def page(self) -> bytes:
        """Return the page."""
        with self._lock:
            version = self.version()
            if version != self._version:
                self._page = render_run(self._reader.read(), version).encode()
                self._version = version
            return self._page


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
        return state.st_size, state.st_mtime_ns
    except OSError:
        return 0, 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, live: LivePage):
        self.live = live
        super().__init__((ADDRESS, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "transgan"
    sys_version = ""
    timeout = 30  # of a connection on which nothing comes

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            self._send(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", b"This server is for this machine.\n", body)
            return
        path = urlsplit(self.path).path
        if path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.live.page(), body)
        elif path == "/version":
            version = json.dumps({"version": self.server.live.version()}).encode()
            self._send(HTTPStatus.OK, "application/json", version, body)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"There is only one page, /.\n", body)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, body: bool) -> None:
        try:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
                ("Referrer-Policy", "no-referrer"),
            ):
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)
        except ConnectionError:  # the page was closed meanwhile
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing about requests."""


def serve(folder: RunFolder, plan: Plan | None, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of a run's page: `serve_forever` answers, `server_address` says where.

    Args:
        port: that it listens on; 0 for a free one.

    Raises:
        OSError: it cannot listen there.
    """
    return _Server(port, LivePage(folder, plan))
