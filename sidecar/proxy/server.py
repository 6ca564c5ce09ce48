"""
What the connections of one upstream share, and the server that aiohttp's runner drives.

`now` is coarse: it moves once per sweep, and every deadline is set by it, so that a call
costs no timer. Durations that are reported come from `clock`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, Literal, Protocol

from sidecar.core.access.operations import Operation, Operations
from sidecar.core.http.request_head import RequestHead, RequestRules
from sidecar.core.http.target import BaseUrl, localise
from sidecar.core.keylife.messages import Verdict
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import STATUS, Code, Refused
from sidecar.log import get_logger
from sidecar.metrics.hot import METHODS, OTHER_METHOD, SIDECAR, UpstreamStats
from sidecar.proxy.access import AccessLog
from sidecar.proxy.client import ClientConnection
from sidecar.proxy.connect import Connector
from sidecar.proxy.error_responses import body_too_large
from sidecar.proxy.known_calls import CallCache, KnownCall
from sidecar.proxy.pool import Pool
from sidecar.settings.tables import GuardSettings, UpstreamSettings

SWEEP_SECONDS: Final = 0.25
"""How late a deadline may be noticed; a sweep over 1,000 connections takes 0.1 ms."""


class CredentialProvider(Protocol):
    """What the hot path needs of a keeper."""

    current: Credential | None
    unavailable_code: Code
    wants_outcomes: bool

    async def wait(self, seconds: float) -> Credential | None:
        """Return a key as soon as there is one, or None after so many seconds."""

    def challenge(
        self, used: Credential, *, replayable: bool = True, call: bytes = b""
    ) -> "Verdict | asyncio.Future[Verdict]":
        """Judge a 401 that a call with this key has drawn."""

    def tried(
        self, credential: Credential, proved: bool | None, call: bytes = b""
    ) -> None:
        """Hear how a trial went."""


class ProxyServer:
    """
    All connections of one upstream; aiohttp's runner calls it for each new one.

    Args:
        name: The upstream's, for logs.
        upstream: Its settings.
        guard: Which guards act, and how.
        access: Which calls get a line in the log.
        keys: The keeper of its key.
        operations: What the service may do.
        rules: How its requests are read.
        connector: Opens connections to the API.
        stats: Numbers for the metrics.
        clock: Seconds, fine, for durations.
        monotonic: Seconds, for deadlines.
        group: Owns the tasks: opening connections, waiting for a first key.
    """

    def __init__(
        self,
        name: str,
        upstream: UpstreamSettings,
        *,
        guard: GuardSettings,
        access: Literal["off", "errors", "all"],
        keys: CredentialProvider,
        operations: Operations,
        rules: RequestRules,
        connector: Connector,
        stats: UpstreamStats,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        group: asyncio.TaskGroup,
    ) -> None:
        self.name = name
        self.base = BaseUrl.parse(upstream.base_url)
        self.limits = upstream.limits
        self.max_header_bytes = upstream.limits.max_header_bytes
        self.keys = keys
        self.operations = operations
        self.request_rules = rules
        self.stats = stats
        self.clock = clock
        self.now = monotonic()
        self.answer_by = self.now + upstream.limits.response_seconds
        """When an answer must have begun to a call that is sent now."""
        self.idle_by = self.now + upstream.limits.keepalive_seconds
        """When a connection of the service that is idle from now is closed."""
        self.needles: KeyMatcher | None = None
        """What no answer may hold; None: the reflection guard is off."""
        self._forbidden: KeyMatcher | None = None
        self._shortest = 1
        self.seam_bytes = 0
        """How much of a body's piece may be the beginning of a key."""
        self._guard = guard
        self._warn_only = guard.tripwire == "warn"
        self.base_path = self.base.path
        self.version_and_host = b" HTTP/1.1\r\nHost: %b\r\n" % self.base.host_header
        self.known = CallCache()
        self.draining = False
        self._cutting = False
        """Who leaves now was cut by us."""
        self.services: set[ClientConnection] = set()
        self.pool = Pool(upstream.limits.max_upstream_connections, self._open_one)
        stats.connections = self.pool.counts
        self._connector = connector
        self._monotonic = monotonic
        self._group = group
        self._timer: asyncio.TimerHandle | None = None
        self.on_left: Callable[[], None] = lambda: None
        """Called when a connection of the service has ended: there is room for another."""
        self._access = AccessLog(
            get_logger("sidecar.proxy").bind(upstream=name), access
        )
        self.log_all = access == "all"

    def learn(self, needles: KeyMatcher) -> None:
        """Guard against these keys from now on (called when the known keys change)."""
        self.known.forget()  # each was searched for the keys known so far
        self.needles = needles if self._guard.reflection == "mask" else None
        self._forbidden = needles if self._guard.tripwire != "off" else None
        self.seam_bytes = needles.reach
        self._shortest = min(map(len, needles.all), default=1)

    # For the connections.

    def admit(
        self, method: bytes, target: bytes, head: RequestHead, unsearched: bytes
    ) -> Operation:
        """
        Judge a call whose head could be read.

        Args:
            method: As it came; so is the target.
            target: Judged here.
            head: What the fields say.
            unsearched: What of the head was not yet searched for keys.

        Raises:
            Refused: It is not to be sent.
        """
        if self.draining:
            raise Refused(Code.DRAINING, "the sidecar is shutting down")
        operation = self.operations.match(method, target)
        forbidden = self._forbidden
        if (
            forbidden is not None
            and len(unsearched) >= self._shortest
            and forbidden.knows(unsearched)
        ):
            self.tripped(operation.label, method)
        limit = self.limits.max_body_bytes
        if limit and head.framing is not None and head.framing > limit:
            raise body_too_large(limit)
        return operation

    def remember(self, raw: bytes, at: int, call: KnownCall) -> None:
        """Remember a call that was admitted; see `CallCache.remember`."""
        if not self._warn_only:  # it may hold a key, and is to be counted each time
            self.known.remember(raw, at, call)

    def holds_key(self, data: bytes) -> bool:
        """Tell whether a body of the service's has a key in it."""
        return self._forbidden is not None and self._forbidden.knows(data)

    def tripped(self, operation: str, method: bytes) -> None:
        """
        Count a call of the service that has the key in it.

        Raises:
            Refused: `guard.tripwire` is `block`.
        """
        if not self._warn_only:
            raise Refused(
                Code.TRIPWIRE,
                "the call itself holds the API key, which the service must not have",
            )
        self.stats.rejections[Code.TRIPWIRE] += 1
        self._access.tripwire(operation, method)

    def localise(self, location: bytes) -> bytes:
        """Turn a Location under the API's base into one on this listener."""
        return localise(location, self.base)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run rare work as a task of the owner's group; a bug in it is only logged."""
        self._group.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - one call's bug must not end the rest
            self.bug(error)

    def left(self, service: ClientConnection) -> None:
        """Forget a connection of the service."""
        self.services.discard(service)
        self.on_left()

    # Counting and telling.

    def refused_early(self, refused: Refused, method: bytes, started: float) -> None:
        """Count and log a call that was refused before its operation was known."""
        self.rejected(refused, "*", method)
        self.stats.operation("*").answered(
            METHODS.get(method, OTHER_METHOD),
            STATUS[refused.code],
            SIDECAR,
            self.clock() - started,
        )

    def rejected(self, refused: Refused, operation: str, method: bytes) -> None:
        """Count and log a call that the sidecar answers itself."""
        self.stats.rejections[refused.code] += 1
        self._access.rejected(refused, operation, method)

    def cut(self, code: Code, operation: str, method: bytes, status: int) -> None:
        """Count and log an answer that had begun and could not be ended."""
        self.stats.rejections[code] += 1
        self._access.cut(code, operation, method, status)

    def redacted(self, hits: int, operation: str) -> None:
        """Count and log keys that were overwritten in an answer."""
        self.stats.redactions += hits
        self._access.redacted(hits, operation)

    def bug(self, error: Exception) -> Refused:
        """Log a bug of ours; return the answer to the call that met it."""
        self._access.bug(error)
        return Refused(Code.INTERNAL, "the sidecar has a bug; its log names the place")

    def log_answer(
        self, operation: Operation, method: bytes, status: int, seconds: float
    ) -> None:
        """Log an answer of the API."""
        self._access.answer(operation, method, status, seconds)

    def log_gone(self, operation: Operation, method: bytes, seconds: float) -> None:
        """Log that the service left before its answer was whole."""
        if not self._cutting:
            self._access.gone(operation, method, seconds)

    # Opening connections.

    def _open_one(self) -> None:
        self.spawn(self._open())

    async def _open(self) -> None:
        try:
            connection = await self._connector.open(self.pool)
        except Refused as refused:
            self.pool.not_opened(refused)
        except BaseException:
            self.pool.not_opened(Refused(Code.INTERNAL, "no connection was opened"))
            raise  # a bug is logged by `_guarded`
        else:
            self.pool.opened(connection, self.now)

    # The life of the server.

    def start(self) -> None:
        """Begin to sweep."""
        self._sweep()

    def _sweep(self) -> None:
        now = self._monotonic()
        # Of the next sweep: a deadline may be late by a sweep, and never early.
        self.now = now + SWEEP_SECONDS
        self.answer_by = self.now + self.limits.response_seconds
        self.idle_by = self.now + self.limits.keepalive_seconds
        for service in tuple(self.services):
            if service.deadline <= now:
                service.expired()
        self.pool.sweep(now)
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def __call__(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(self)

    def pre_shutdown(self) -> None:
        """Drain: close idle connections, let calls in flight finish (for the runner)."""
        self.draining = True
        self._close_idle()
        self.pool.close()

    def _close_idle(self) -> None:
        for service in tuple(self.services):
            if service.idle():
                service.close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's name
        """Wait so many seconds for calls in flight, then cut them (for the runner)."""
        try:
            async with asyncio.timeout(timeout):
                while self.services:
                    await asyncio.sleep(SWEEP_SECONDS / 5)
                    self._close_idle()  # accepted just before the listener closed
        except TimeoutError:
            if self.stats.inflight:
                self._access.drain_cut(self.stats.inflight)
            self._cutting = True
            for service in tuple(self.services):
                service.abort()
        if self._timer is not None:
            self._timer.cancel()
        self.pool.abort()
