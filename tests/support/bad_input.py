"""
What must be seen of a bad input: its code, its numbers, its log line, and no secret.

A table names an input and what it becomes; the witness looks at the process before and
after it, from outside: answers, `/metrics`, the log. After every row a call must work.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from sidecar.errors import RETRY_AFTER_SECONDS, STATUS, Code
from tests.support.processes import UPSTREAM, SidecarProcess, wait_until
from tests.support.raw_http import RawClient, Seen

HOST: Final = b"Host: localhost\r\n"
ADDRESS: Final = re.compile(rb"\d+\.\d+\.\d+|[a-z]://|\.(?:example|invalid|com)\b")
GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST


@dataclass(frozen=True)
class Becomes:
    """What a bad input must become."""

    code: Code
    words: str
    """Part of the sentence in the answer and in the log."""


def post(size: int, fields: bytes = b"") -> bytes:
    """Return the head of a POST with a body of this size."""
    return b"POST /contacts HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (
        HOST,
        fields,
        size,
    )


class Witness:
    """What a process has told and counted since this was made."""

    def __init__(self, process: SidecarProcess) -> None:
        self._process = process
        self._lines = len(process.logs())
        self._metrics = process.metrics()

    def grew(self, name: str, **labels: str) -> float:
        """Return by how much a number has grown."""
        now = self._process.metrics().value(name, **labels)
        return now - self._metrics.value(name, **labels)

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the new log lines of an event."""
        lines = self._process.logs()[self._lines :]
        return [line for line in lines if line.get("event") == event]

    def wait_told(self, event: str) -> dict[str, Any]:
        """Wait for the first new log line of an event."""
        return wait_until(lambda: self.told(event), event)[0]

    def refused(self, seen: Seen, want: Becomes, upstream: str = UPSTREAM) -> None:
        """Hold an answer, the numbers and the log to what they must say."""
        status, code = STATUS[want.code], str(want.code)
        assert (seen.status, seen.code) == (status, code)
        error = json.loads(seen.body)["error"]
        assert error["code"] == code
        assert want.words in error["message"]
        assert not ADDRESS.search(seen.body), "an address of the inside"
        retry = RETRY_AFTER_SECONDS.get(want.code)
        assert seen.field(b"retry-after") == (str(retry).encode() if retry else b"")

        names = {"upstream": upstream}
        rejections = self.grew("sidecar_rejections_total", reason=code, **names)
        assert rejections == 1
        assert self.grew("sidecar_rejections_total", **names) == 1, "one reason only"
        ours = {"origin": "sidecar", "code": str(status), **names}
        assert self.grew("sidecar_requests_total", **ours) == 1
        assert self.grew("sidecar_auth_failures_total") == 0

        line = self.wait_told("call_rejected")
        assert (line["code"], line["status"], line["level"]) == (
            code,
            status,
            "warning",
        )
        assert line["reason"] == error["message"]
        assert line["upstream"] == upstream


def ask(address: str, data: bytes = GET, method: bytes = b"GET") -> Seen:
    """Send bytes on a connection of their own, and read the answer to one call."""
    with RawClient(address) as client:
        client.send(data)
        return client.answer(method)


def serves(address: str) -> None:
    """Make a call as a service would."""
    seen = ask(address)
    assert (seen.status, seen.code) == (200, ""), seen


def no_bug(process: SidecarProcess) -> None:
    """Hold the log to having no fault of ours in it."""
    for event in ("internal_error", "loop_exception", "uncaught_exception"):
        assert process.logs(event) == []
    assert "Traceback" not in process.output()
