"""
A real receiver process with failing connections to its app or its DynamoDB table.

Each delivery is checked in all observable places: the sender's answer, the requests that
the app received, the metric, and the log line.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidecar.core.secrecy.secret import digest_of
from tests.support.faulty_proxy import FaultyProxy
from tests.support.processes import ScrapedMetrics, Settings, SidecarProcess, merge
from tests.support.raw_http import Conversation, RawApi, RawClient, Seen
from tests.support.receiver_rig import PATH, request
from tests.support.webhook_fakes import JOB, SECRET, headers

BODY: Final = b'{"type": "contact.created"}'
TOLD: Final = b"taken " * 300
TAKEN: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TOLD), TOLD)
HEAD_BYTES: Final = len(TAKEN) - len(TOLD)
FINGERPRINT: Final = digest_of(SECRET)
RETRY: Final = {503: b"5", 409: b"5"}
"""The `Retry-After` in seconds by status; other answers have none."""

_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True)
class Expected:
    """The expected result of one delivery."""

    status: int
    result: str
    """The metric's label; for a failure also the sender's code and the log's word."""
    words: str = ""
    """In the reason that is logged; without it a success has no line."""


@dataclass
class Receiver:
    """A receiver, the app behind a relay, and the relay."""

    process: SidecarProcess
    app: RawApi
    relay: FaultyProxy
    """Between the receiver and what this module is about."""
    taken: list[bytes] = field(default_factory=list)
    """Requests that the app has received completely."""
    answer: bytes = TAKEN

    def take(self, conversation: Conversation) -> None:
        """Act as the app: read each delivery and answer it."""
        while (whole := conversation.request()) is not None:
            self.taken.append(whole)
            conversation.send(self.answer)

    def new_id(self) -> str:
        """Return an id of this delivery alone; all have one length."""
        return f"msg_{next(_NUMBERS):04}"

    def signed(self, id_: str) -> bytes:
        """Return a delivery, signed as of now."""
        fields = headers(BODY, id_, time.time())
        fields["Content-Length"] = str(len(BODY))
        return request(fields, BODY, PATH)

    def send(self, id_: str) -> Seen:
        """Send a delivery on a connection of its own."""
        with RawClient(self.process.address("webhooks")) as client:
            client.send(self.signed(id_))
            return client.answer(b"POST")

    def judge(self, id_: str, want: Expected) -> None:
        """Send a delivery and check answer, metric and log line."""
        before = self.counts()
        seen = self.send(id_)
        after = self.counts()
        lines = [line for line in self.process.logs("webhook") if line["id"] == id_]

        well = want.result in {"delivered", "duplicate"}
        answered = (seen.status, seen.code)
        assert answered == (want.status, "" if well else want.result), answered
        assert seen.field(b"retry-after") == RETRY.get(want.status, b"")
        assert b"127.0.0.1" not in seen.body
        grown = {name: n - before[name] for name, n in after.items()}
        assert grown == {name: float(name == want.result) for name in grown}, grown
        if want.words or not well:
            assert lines[-1]["result"] == want.result
            assert want.words in lines[-1]["reason"], lines[-1]
            assert lines[-1]["fingerprint"] == FINGERPRINT

    def counts(self) -> dict[str, float]:
        """Return what was counted, by result."""
        metrics: ScrapedMetrics = self.process.metrics()
        return {
            labels["result"]: metrics.value("sidecar_webhooks_total", **labels)
            for labels in metrics.labels("sidecar_webhooks_total")
        }

    def times(self, id_: str) -> int:
        """Return how often the app has received a delivery."""
        return sum(f"webhook-id: {id_}\r\n".encode() in one for one in self.taken)


@contextlib.contextmanager
def receiving(
    directory: Path, app: RawApi, relay: FaultyProxy, changes: Settings
) -> Iterator[Receiver]:
    """Run a receiver with its secret in a file."""
    file = directory / "secret"
    file.write_text(SECRET, encoding="ascii")
    file.chmod(0o600)
    base: dict[str, Any] = {
        "job": {"name": JOB, "environment": "staging"},
        "webhooks": {"inbox": {"file": str(file)}},
        "webhook_listener": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
    }
    process = SidecarProcess(directory / "sidecar", merge(base, changes))
    try:
        process.wait_ready()
        receiver = Receiver(process, app, relay)
        app.script = receiver.take
        yield receiver
        process.assert_never_shown(SECRET)
        masked = process.metrics().value("sidecar_redactions_total", sink="log")
        assert masked == 0, "a log line contained a secret and had to be masked"
        for event in ("webhook_failed", "loop_exception", "uncaught_exception"):
            assert process.logs(event) == []
    finally:
        process.close()
