"""
A switchboard in front of the emulated Secrets Manager: real HTTP, real faults.

The emulator itself never denies, throttles or hangs; real boto3 clients that talk to
this faulty_aws see all of it, and the faulty_aws counts what they asked for.
"""

import http.client
import json
import socket
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

HANG_SECONDS: Final = 30.0


@dataclass(frozen=True)
class AwsFault:
    """What goes wrong with a call."""

    error: str = ""
    """An AWS error code such as `AccessDeniedException`."""
    status: int = 400
    operation: str = ""
    """Only this one, such as `GetSecretValue`; empty = all."""
    hang: bool = False
    """No answer until the fault is cleared or the client has gone."""
    cut: bool = False
    """Head and half of a body, then the connection closes."""
    body: bytes | None = None
    """Answer 200 with this instead of asking the emulator."""


class FaultyAws:
    """
    The switchboard; a context manager.

    Args:
        endpoint: URL of the emulator behind it.
    """

    def __init__(self, endpoint: str) -> None:
        self.behind = endpoint
        self.calls: Counter[str] = Counter()
        """Operation -> calls, failed ones included."""
        self._fault: AwsFault | None = None
        self._cleared = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """What `[aws] endpoint_url` is set to."""
        return f"http://127.0.0.1:{self._port}"

    def fail(self, fault: AwsFault | None = None) -> None:
        """Switch a fault on; without an argument, off."""
        self._fault = fault
        self._cleared.set()
        self._cleared = threading.Event()

    def listen(self) -> None:
        """Accept connections, on the same port as before if there was one."""
        faulty_aws = self

        class Handler(_Handler):
            owner = faulty_aws

        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self._thread.start()

    def refuse(self) -> None:
        """Stop listening: connections are refused."""
        if self._server is None or self._thread is None:
            return
        self.fail()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = None

    def fault_for(self, operation: str) -> AwsFault | None:
        """Find the fault that meets this operation."""
        fault = self._fault
        if fault is None or fault.operation not in {"", operation}:
            return None
        return fault

    def wait_cleared(self) -> None:
        """Block a handler until its fault is cleared."""
        self._cleared.wait(HANG_SECONDS)

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()


class _Server(ThreadingHTTPServer):
    """Threads that end with their connection; a client that goes is no news."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one call after another, a connection each."""

    owner: FaultyAws

    def do_POST(self) -> None:
        """Count, then fail or ask the emulator."""
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.owner.calls[operation] += 1
        fault = self.owner.fault_for(operation)
        if fault is None:
            self._forward(body)
            return
        if fault.hang:
            self.owner.wait_cleared()
        if fault.cut:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"Name": "x"')
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.body is not None:
            self._answer(200, fault.body)
        elif fault.error:
            answer = {"__type": fault.error, "message": "as the test asked for"}
            self._answer(fault.status, json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _forward(self, body: bytes) -> None:
        """Let the emulator answer."""
        connection = http.client.HTTPConnection(
            urlsplit(self.owner.behind).netloc, timeout=10
        )
        try:
            fields = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            connection.request("POST", self.path, body, fields)
            answer = connection.getresponse()
            self._answer(answer.status, answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        """Answer in AWS's JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
