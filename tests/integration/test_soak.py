"""
Soaks: some seconds in CI, an hour by `make soak`.

What is counted is compared after a round that warms up and after a longer one: memory,
descriptors and threads stay.
"""

import logging
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo.traffic import IN_CHUNKS, WITH_BODY, WITHOUT_BODY, Call, Traffic
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import Issued
from tests.support.attack_rig import HOST, AttackRig, attacked
from tests.support.processes import (
    SECRET_ID,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import KEY, OK, Conversation, RawApi, RawClient, always
from tests.support.receiver_rig import PATH, request
from tests.support.webhook_fakes import SECRET, headers
from tests.support.webhook_process import TAKEN

SOAK_SECONDS: Final = float(os.environ.get("SOAK_SECONDS", "4"))
ROTATE_SECONDS: Final = min(20.0, SOAK_SECONDS / 4)
GROWTH_BYTES: Final = 6 << 20
GROWTH_FILES: Final = 10
"""Idle connections of a pool come and go."""

LOG: Final = logging.getLogger(__name__)

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
POST: Final = b"POST /contacts HTTP/1.1\r\n%bContent-Length: 5\r\n\r\nhello" % HOST
EVENT: Final = b'{"type": "contact.created"}'
LARGE: Final[Call] = ("GET", "/big?bytes=1000000", None)
FORBIDDEN: Final[Call] = ("GET", "/status/403", None)


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    memory_bytes: int
    files: int
    threads: int

    @classmethod
    def by(cls, process: SidecarProcess) -> "Held":
        """Count."""
        return cls(
            process.anonymous_bytes(),
            count(process, "fd"),
            count(process, "task"),
        )

    def assert_not_less_than(self, later: "Held") -> None:
        """Compare with what it holds after a longer round."""
        assert later.memory_bytes - self.memory_bytes < GROWTH_BYTES
        assert later.files - self.files < GROWTH_FILES
        assert later.threads <= self.threads


def count(process: SidecarProcess, what: str) -> int:
    """Count the descriptors (`fd`) or threads (`task`) of a process."""
    return sum(1 for _ in Path(f"/proc/{process.pid}/{what}").iterdir())


def rounds(one: Callable[[float], Held]) -> None:
    """Warm up, then go on; nothing grows."""
    warm = one(max(2.0, SOAK_SECONDS / 10))
    LOG.info("after a round that warms up: %s", warm)
    later = one(SOAK_SECONDS)
    LOG.info("after %g s: %s", SOAK_SECONDS, later)
    warm.assert_not_less_than(later)


def silence(process: SidecarProcess) -> None:
    """Let its log reach no disk: an hour of errors is long."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


@pytest.fixture(name="rig")
def _rig(tmp_path: Path) -> Iterator[AttackRig]:
    """A sidecar of this test alone."""
    with attacked(tmp_path, {"log": {"access": "all"}}) as rig:
        yield rig


def test_a_soak_of_bad_calls_leaves_everything_flat(rig: AttackRig) -> None:
    """Calls of all kinds, and all kinds of answers, on raw sockets."""
    chat: list[Callable[[], None]] = [
        lambda: speak(rig, GET, OK),
        lambda: speak(rig, POST, OK),
        lambda: speak(rig, b"GET /../x HTTP/1.1\r\n%b\r\n" % HOST, OK),
        lambda: speak(rig, GET, b"garbage\r\n\r\n"),
        lambda: speak(rig, GET, OK[:-1]),
        lambda: speak(rig, GET, OK + b"poison"),
        lambda: speak(rig, GET[:9], OK),
        lambda: speak(rig, GET, OK.replace(b"\r\n\r\n", b"\r\nA: %b\r\n\r\n" % KEY.encode())),
    ]  # fmt: skip
    silence(rig.process)

    def one(seconds: float) -> Held:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for speech in chat:
                speech()
        rig.api.hang_up()
        rig.api.forget()
        rig.at_rest()
        return Held.by(rig.process)

    rounds(one)
    rig.healthy()


def speak(rig: AttackRig, request: bytes, answer: bytes) -> None:
    """Make a call that is answered so, and hang up before a stalled one ends."""
    rig.api.script = always(answer)
    with RawClient(rig.address) as client:
        client.send(request)
        if request.endswith(b"\r\n\r\n") or request == POST:
            client.read()


def test_a_soak_of_the_whole_job_leaves_everything_flat(
    tmp_path: Path,
    api: EmulatedApi,
    moto: AwsClient,
    issued: Issued,
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
) -> None:
    """Calls over TLS, keys rotated and revoked, webhooks, scrapes: and no call fails."""
    secret = tmp_path / "webhook"
    secret.write_text(SECRET)
    with RawApi() as app:
        app.script = take
        forward = f"{app.base_url}/hooks"
        process = sidecar_process(
            merge(
                settings,
                {
                    "webhooks": {
                        "inbox": {
                            "file": str(secret),
                            "forward_to": forward,
                            # Four days of ids would be what grows, and have a bound.
                            "dedupe_seconds": 60,
                        }
                    },
                    "webhook_listener": {"listen": "127.0.0.1:0"},
                    "log": {"access": "errors"},
                },
            )
        )
        process.wait_ready()
        soak = Soak(api, moto, issued, app, process)
        silence(process)
        rounds(soak.one)

    assert soak.rotations >= 4
    assert set(soak.calls) == {"200", "403"}
    assert set(soak.deliveries) == {(204, 200)}


def take(conversation: Conversation) -> None:
    """Be the app behind the webhooks."""
    while conversation.request() is not None:
        conversation.send(TAKEN)


class Soak:
    """One sidecar, and everything that happens to it in a long life."""

    def __init__(
        self,
        api: EmulatedApi,
        moto: AwsClient,
        issued: Issued,
        app: RawApi,
        process: SidecarProcess,
    ) -> None:
        self._api = api
        self._moto = moto
        self._app = app
        self._process = process
        self._key = issued
        # Read before the log is silenced, and its lines with the addresses are far.
        self._upstream = process.address()
        self._webhooks = process.address("webhooks")
        self.rotations = 0
        self.calls: Counter[str] = Counter()
        self.deliveries: Counter[tuple[int, ...]] = Counter()
        """How an event and its copy were answered."""

    def one(self, seconds: float) -> Held:
        """Live for a while, then come to rest."""
        stop = threading.Event()
        events = threading.Thread(target=self._send_events, args=(stop,))
        calls = [WITHOUT_BODY, WITH_BODY, IN_CHUNKS, FORBIDDEN, LARGE]
        with Traffic(self._upstream, 4, calls) as traffic:
            events.start()
            try:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    stop.wait(min(ROTATE_SECONDS, seconds / 2))
                    self._rotate()
                    self._look()
            finally:
                stop.set()
                events.join()
        self.calls += traffic.counts
        self._app.hang_up()
        self._app.forget()
        wait_until(self._at_rest, "rest")
        return Held.by(self._process)

    def _rotate(self) -> None:
        """Store a new key; every second time the old one is revoked in the same breath."""
        old, self._key = self._key, self._api.issue()
        self._moto.rotate(SECRET_ID, self._key.key)
        if self.rotations % 2:
            self._process.admin("/-/reload", "POST")
            wait_until(lambda: self._api.state.counts[self._key.id, 200], "the new key")
        self._api.revoke(old.id)
        self.rotations += 1

    def _look(self) -> None:
        """Be Prometheus, and a person."""
        calls = self._process.metrics().value("sidecar_requests_total")
        self._process.status()
        LOG.info("%d keys, %d calls, %s", self.rotations, calls, Held.by(self._process))

    def _send_events(self, stop: threading.Event) -> None:
        """Send each delivery twice: the second is a duplicate."""
        while not stop.wait(0.05):
            id_ = f"msg_{self.deliveries.total()}"
            fields = headers(EVENT, id_, time.time())
            fields["Content-Length"] = str(len(EVENT))
            delivery = request(fields, EVENT, PATH)
            self.deliveries[tuple(self._sent(delivery) for _ in range(2))] += 1

    def _sent(self, delivery: bytes) -> int:
        with RawClient(self._webhooks) as client:
            client.send(delivery)
            return client.answer(b"POST").status

    def _at_rest(self) -> bool:
        return not self._process.metrics().value("sidecar_inflight_requests")
