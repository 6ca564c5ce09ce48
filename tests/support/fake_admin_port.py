"""A running sidecar's admin port, as the commands see it."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Admin:
    """What it answers, and what it was asked."""

    statuses: Iterator[int]
    port: int = 0
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def admin_port(statuses: Iterable[int], body: bytes = b"") -> Iterator[Admin]:
    """Answer each call with the next status; the last one is for ever."""
    last = 0

    def endless() -> Iterator[int]:
        nonlocal last
        for status in statuses:
            last = status
            yield status
        while True:
            yield last

    admin = Admin(endless())

    class Handler(BaseHTTPRequestHandler):
        """One call."""

        def answer(self) -> None:
            """Note the call and answer it."""
            admin.seen.append((self.command, self.path))
            admin.headers.append(dict(self.headers))
            self.send_response(next(admin.statuses))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815  (http.server's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (same)
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    admin.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield admin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
