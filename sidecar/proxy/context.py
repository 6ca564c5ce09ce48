"""
What all connections of one upstream share: settings, key, clock, guards, pool and log.

Deadlines are coarse: they move once per sweep, so a call needs no timer. Durations that
are reported come from `clock`.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

from sidecar.core.access.operations import Operation, Operations
from sidecar.core.http.line_cache import KnownRequest, RequestCache
from sidecar.core.http.request_head import RequestHead, RequestRules
from sidecar.core.http.target import BaseUrl
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.credential.manager import CredentialManager
from sidecar.errors import Code, Refused
from sidecar.metrics.hot import UpstreamStats
from sidecar.proxy.access import AccessLog
from sidecar.proxy.error_responses import body_too_large
from sidecar.proxy.pool import Pool
from sidecar.settings.tables import GuardSettings, LimitSettings, UpstreamSettings

NEVER: Final = float("inf")
"""A deadline that does not pass."""


class Deadlines:
    """Points in monotonic time by which something must happen, if it begins now."""

    __slots__ = (
        *("_limits", "head", "keepalive", "now", "progress", "queue", "response"),
    )

    def __init__(self, limits: LimitSettings, now: float) -> None:
        self._limits = limits
        self.advance(now)

    def advance(self, now: float) -> None:
        """Set the time (called by the sweep)."""
        limits = self._limits
        self.now = now
        self.head = now + limits.header_seconds
        """The head of a request is complete."""
        self.queue = now + limits.queue_seconds
        """A call in the queue has a connection."""
        self.response = now + limits.response_seconds
        """The response to a request that was sent has begun."""
        self.progress = now + limits.idle_seconds
        """The next byte of a body has come, or was taken."""
        self.keepalive = now + limits.keepalive_seconds
        """An idle connection of a client has a further call."""


class KeyGuard:
    """
    The known keys: no request and no response may contain one.

    Args:
        guards: Which of the two guards are on.
    """

    __slots__ = (
        *("_guards", "_shortest", "forbidden", "hidden", "overlap", "warn_only"),
    )

    def __init__(self, guards: GuardSettings) -> None:
        self._guards = guards
        self._shortest = 1
        self.warn_only = guards.tripwire == "warn"
        self.hidden: KeyMatcher | None = None
        """What no response may contain; None: the reflection guard is off."""
        self.forbidden: KeyMatcher | None = None
        """What no request may contain; None: the tripwire is off."""
        self.overlap = 0
        """How many bytes at the end of a piece may be the beginning of a key."""

    def learn(self, keys: KeyMatcher) -> None:
        """Guard these keys from now on."""
        self.hidden = keys if self._guards.reflection == "mask" else None
        self.forbidden = keys if self._guards.tripwire != "off" else None
        self.overlap = keys.reach
        self._shortest = min(map(len, keys.all), default=1)

    def in_head(self, data: bytes) -> bool:
        """Return whether a part of a request head contains a key."""
        return (
            self.forbidden is not None
            and len(data) >= self._shortest
            and self.forbidden.knows(data)
        )


@dataclass(eq=False, repr=False)
class UpstreamContext:
    """Made once for each upstream, and given to each of its connections."""

    upstream: UpstreamSettings
    guards: GuardSettings
    keys: CredentialManager
    operations: Operations
    """Which calls may pass."""
    request_rules: RequestRules
    stats: UpstreamStats
    clock: Callable[[], float]
    """Seconds, fine, for durations."""
    deadlines: Deadlines
    log: AccessLog
    pool: Pool
    spawn: Callable[[Coroutine[None, None, None]], None]
    """Runs a coroutine as a task."""
    draining: bool = False

    def __post_init__(self) -> None:
        self.base = BaseUrl.parse(self.upstream.base_url)
        self.limits = self.upstream.limits
        self.guard = KeyGuard(self.guards)
        self.known: RequestCache[Operation] = RequestCache()
        self.version_and_host = b" HTTP/1.1\r\nHost: %b\r\n" % self.base.host_header

    def learn(self, keys: KeyMatcher) -> None:
        """Guard these keys from now on (called when the known keys change)."""
        self.known.clear()  # each head was searched for the keys known until now
        self.guard.learn(keys)

    def admit(
        self, method: bytes, target: bytes, head: RequestHead, unsearched: bytes
    ) -> Operation:
        """
        Return the operation of a request whose head was read.

        Args:
            method: As received.
            target: As received; it is checked here.
            head: What the fields say.
            unsearched: The part of the head that was not yet searched for keys.

        Raises:
            Refused: The request must not be sent.
        """
        if self.draining:
            raise Refused(Code.DRAINING, "The sidecar is shutting down")
        operation = self.operations.match(method, target)
        if self.guard.in_head(unsearched):
            self.contains_key(operation.label, method)
        limit = self.limits.max_body_bytes
        if limit and head.framing is not None and head.framing > limit:
            raise body_too_large(limit)
        return operation

    def remember(self, raw: bytes, at: int, request: KnownRequest[Operation]) -> None:
        """Remember a request that was admitted; see `RequestCache.remember`."""
        # With `warn` it may contain a key, and must be counted each time.
        if not self.guard.warn_only:
            self.known.remember(raw, at, request)

    def contains_key(self, operation: str, method: bytes) -> None:
        """
        Count a request that contains the key.

        Raises:
            Refused: `guard.tripwire` is `block`.
        """
        if not self.guard.warn_only:
            raise Refused(
                Code.TRIPWIRE,
                "The call itself contains the API key, which the service must not have",
            )
        self.log.tripwire(operation, method)
