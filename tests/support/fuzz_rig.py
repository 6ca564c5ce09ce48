"""
The proxy without sockets, loop or time: its own protocols between two fake wires.

Everything that the loop would do later is done by `settle`, in order; so an example is
one deterministic run of a fraction of a millisecond, and Hypothesis can shrink it. A bug
of ours is raised, not answered with a 500.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, cast

from sidecar.core.access.operations import Operations
from sidecar.core.http.line_cache import LineCache
from sidecar.core.http.request_head import RequestRules
from sidecar.core.http.response_head import ResponseRules
from sidecar.core.http.target import BaseUrl
from sidecar.core.keylife.messages import PassThrough, Replay, Verdict
from sidecar.core.secrecy.masking import KeyMatcher
from sidecar.core.secrecy.secret import Credential, Secret, SecretRules, header_line
from sidecar.credential.manager import CredentialManager
from sidecar.errors import Code
from sidecar.metrics.hot import UpstreamStats
from sidecar.proxy.connect import Connector
from sidecar.proxy.pool import Pool
from sidecar.proxy.server import ProxyServer
from sidecar.proxy.upstream import UpstreamConnection
from sidecar.settings.tables import (
    CredentialSettings,
    GuardSettings,
    LimitSettings,
    UpstreamSettings,
)

KEY: Final = "fln_test_Fuzz0123456789abcdefgh"
NEXT_KEY: Final = "fln_test_Next9876543210zyxwvuts"
BASE_URL: Final = "https://api.flownally.com/v1"
BASE: Final = BaseUrl.parse(BASE_URL)
MOST_STEPS: Final = 10_000
# Costly to make, and never changed by a run.
NEEDLES: Final = KeyMatcher([Secret(KEY), Secret(NEXT_KEY)])
OPERATIONS: Final = Operations(None, ("* /service-accounts/**", "POST /denied"))


class Wire(asyncio.Transport):
    """One end of a connection, as the proxy's protocol sees its transport."""

    def __init__(self, rig: "FuzzRig", protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.out = bytearray()
        """What the proxy sent."""
        self.ended = False
        """The proxy sent its end, or closed."""
        self.closed = False
        self.written = 0
        self._rig = rig
        self._protocol = protocol
        self._paused = False
        self._waiting: list[bytes] = []
        self._eof = False
        protocol.connection_made(self)

    # What the other end does.

    def feed(self, data: bytes) -> None:
        """Let bytes come from the other end; they wait while the proxy does not read."""
        if data and not self.closed:
            self._waiting.append(data)
            self.deliver()

    def end(self) -> None:
        """Let the other end close its side."""
        self._eof = True
        self.deliver()

    def cut(self) -> None:
        """Let the connection be reset."""
        self._waiting.clear()
        self._lose()

    def deliver(self) -> None:
        """Hand over what waits."""
        while self._waiting and not self._paused and not self.closed:
            self._protocol.data_received(self._waiting.pop(0))
            self._rig.settle()
        if self._eof and not self._waiting and not self.closed:
            self._eof = False
            if not self._protocol.eof_received():
                self.close()
            self._rig.settle()

    # What the proxy does.

    def write(self, data: Any) -> None:
        """Keep what is sent."""
        if not self.closed and not self.ended:
            self.out += data
            self.written += len(data)

    def write_eof(self) -> None:
        """Send nothing more."""
        self.ended = True

    def can_write_eof(self) -> bool:
        """Say that it can."""
        return True

    def close(self) -> None:
        """Close."""
        self._lose()

    def abort(self) -> None:
        """Cut."""
        self._lose()

    def is_closing(self) -> bool:
        """Tell."""
        return self.closed

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self._paused = True

    def resume_reading(self) -> None:
        """Take what waited, later as a loop would."""
        if self._paused:
            self._paused = False
            self._rig.later(self.deliver)

    def get_write_buffer_size(self) -> int:
        """Tell that everything was sent."""
        return 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Give something with `setsockopt`."""
        return self if name == "socket" else default

    def setsockopt(self, *_: object) -> None:
        """Accept any."""

    def _lose(self) -> None:
        if not self.closed:
            self.closed = self.ended = True
            self._rig.later(lambda: self._protocol.connection_lost(None))


class _Opener:
    """A connector whose connections are wires of the rig."""

    def __init__(self, rig: "FuzzRig") -> None:
        self._rig = rig
        self._rules = ResponseRules()
        self._known = LineCache(self._rules)

    async def open(self, pool: Pool) -> UpstreamConnection:
        """Open one at once."""
        connection = UpstreamConnection(pool, self._rules, self._known)
        self._rig.upstream.append(Wire(self._rig, connection))
        return connection


class _Group:
    """A task group whose tasks never wait."""

    def __init__(self, rig: "FuzzRig") -> None:
        self._rig = rig

    def create_task(self, work: Coroutine[Any, Any, None], **_: object) -> None:
        """Run it with the next `settle`."""

        def run() -> None:
            try:
                work.send(None)
            except StopIteration:
                return
            work.close()
            message = "a task waited for something that is not here"
            raise AssertionError(message)

        self._rig.later(run)


class FakeKeys:
    """A keeper with one key, and a verdict that the example chooses."""

    unavailable_code = Code.CREDENTIAL_UNAVAILABLE

    def __init__(self) -> None:
        self.current: Credential | None = credential(KEY, 1)
        self.wants_outcomes = False
        self.replays = False

    async def wait(self, _seconds: float) -> Credential | None:
        """Give what there is."""
        return self.current

    def challenge(
        self, used: Credential, *, replayable: bool = True, **_call: bytes
    ) -> "Verdict | asyncio.Future[Verdict]":
        """Replay with the next key, or pass the 401 on."""
        if self.replays and replayable and used is self.current:
            return Replay(credential(NEXT_KEY, 2), "replay")
        return PassThrough()

    def tried(self, *_told: object) -> None:
        """Hear it."""


def credential(key: str, generation: int) -> Credential:
    """Make a credential of a key."""
    secret = Secret(key)
    line = header_line(SecretRules(), secret)
    return Credential(secret, line, generation, f"v{generation}", f"v{generation}")


class FuzzRig:
    """A proxy, the wires on both sides of it, and what is still to be done."""

    def __init__(self, **limits: Any) -> None:
        self.upstream: list[Wire] = []
        self.now = 0.0
        self.keys = FakeKeys()
        self._queue: list[Callable[[], object]] = []
        self.stats = UpstreamStats(("*",))
        self.server = ProxyServer(
            "api",
            UpstreamSettings(
                base_url=BASE_URL,
                credential=CredentialSettings(secret_id="key"),
                limits=LimitSettings(**limits),
            ),
            guards=GuardSettings(),
            access="errors",
            keys=cast("CredentialManager", self.keys),
            operations=OPERATIONS,
            rules=RequestRules(),
            connector=cast("Connector", _Opener(self)),
            stats=self.stats,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            group=cast("asyncio.TaskGroup", _Group(self)),
        )
        self.server.context.log.internal_error = self._bug  # type: ignore[method-assign]  # raised, not logged
        self.server.learn(NEEDLES)

    @staticmethod
    def _bug(error: Exception) -> NoReturn:
        raise error

    def service(self) -> Wire:
        """Let the service connect."""
        return Wire(self, self.server())

    def later(self, work: Callable[[], object]) -> None:
        """Do something when the present callback has returned."""
        self._queue.append(work)

    def settle(self) -> None:
        """Do everything that is to be done."""
        for _ in range(MOST_STEPS):
            if not self._queue:
                return
            self._queue.pop(0)()
        message = "it never comes to rest"
        raise AssertionError(message)

    def wait(self, seconds: float) -> None:
        """Let time pass, as the sweep sees it."""
        self.now += seconds
        self.server.context.deadlines.advance(self.now)
        self.server.expire(self.now)
        self.settle()
