"""
The server of one upstream: makes the protocol of each connection, sweeps and drains.

aiohttp's runner drives it (`runner.py`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, Literal

from sidecar.core.access.operations import Operations
from sidecar.core.http.request_head import RequestRules
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.credential.manager import CredentialManager
from sidecar.errors import Code, Refused
from sidecar.log import get_logger
from sidecar.metrics.hot import UpstreamStats
from sidecar.proxy.access import AccessLog
from sidecar.proxy.client import ClientConnection
from sidecar.proxy.connect import Connector
from sidecar.proxy.context import Deadlines, UpstreamContext
from sidecar.proxy.pool import Pool
from sidecar.settings.tables import GuardSettings, UpstreamSettings

SWEEP_SECONDS: Final = 0.25
"""How late a deadline may be noticed; a sweep over 1,000 connections takes 0.1 ms."""


class ProxyServer:
    """
    All connections of one upstream; aiohttp's runner calls it for each new one.

    Args:
        name: The upstream's, for logs.
        upstream: Its settings.
        guards: Which guards act, and how.
        access: Which calls get a line in the log.
        keys: Provides the key.
        operations: Which calls may pass.
        rules: How request heads are read.
        connector: Opens connections to the API.
        stats: Counters for the metrics.
        clock: Seconds, fine, for durations.
        monotonic: Seconds, for deadlines.
        group: Owns the tasks: opening connections, waiting for the first key.
    """

    def __init__(
        self,
        name: str,
        upstream: UpstreamSettings,
        *,
        guards: GuardSettings,
        access: Literal["off", "errors", "all"],
        keys: CredentialManager,
        operations: Operations,
        rules: RequestRules,
        connector: Connector,
        stats: UpstreamStats,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        group: asyncio.TaskGroup,
    ) -> None:
        self.name = name
        self.stats = stats
        self._connector = connector
        self._monotonic = monotonic
        self._group = group
        self._timer: asyncio.TimerHandle | None = None
        self._log = AccessLog(
            get_logger("sidecar.proxy").bind(upstream=name),
            access,
            stats,
        )
        self.pool = Pool(
            upstream.limits.max_upstream_connections, lambda: self._spawn(self._open())
        )
        stats.connections = self.pool.counts
        self.context = UpstreamContext(
            upstream,
            guards,
            keys=keys,
            operations=operations,
            request_rules=rules,
            stats=stats,
            clock=clock,
            deadlines=Deadlines(upstream.limits, monotonic()),
            log=self._log,
            pool=self.pool,
            spawn=self._spawn,
        )
        self.clients: set[ClientConnection] = set()
        self.on_disconnect: Callable[[], None] = lambda: None
        """Called when a client's connection has ended: another one may be accepted."""

    def learn(self, keys: KeyMatcher) -> None:
        """Guard these keys from now on (called when the known keys change)."""
        self.context.learn(keys)

    def __call__(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(self.context, self.clients.add, self._disconnected)

    def _disconnected(self, client: ClientConnection) -> None:
        self.clients.discard(client)
        self.on_disconnect()

    # Tasks.

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run rare work as a task; a bug in it is only logged."""
        self._group.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - one call's bug must not end the rest
            self._log.internal_error(error)

    async def _open(self) -> None:
        """Open a connection for the pool."""
        try:
            connection = await self._connector.open(self.pool)
        except Refused as refused:
            self.pool.not_opened(refused)
        except BaseException:
            self.pool.not_opened(Refused(Code.INTERNAL, "No connection was opened"))
            raise  # a bug is logged by `_guarded`
        else:
            self.pool.opened(connection, self.context.deadlines.now)

    # The life of the server.

    def start(self) -> None:
        """Begin to sweep."""
        self._sweep()

    def _sweep(self) -> None:
        now = self._monotonic()
        # The time of the next sweep: a deadline may be late by a sweep, but never early.
        self.context.deadlines.advance(now + SWEEP_SECONDS)
        self.expire(now)
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def expire(self, now: float) -> None:
        """Act on every deadline that has passed."""
        for client in tuple(self.clients):
            if client.deadline <= now:
                client.expired()
        self.pool.sweep(now)

    def pre_shutdown(self) -> None:
        """Start to drain: close idle connections, let calls in flight finish."""
        self.context.draining = True
        self._close_idle()
        self.pool.close()

    def _close_idle(self) -> None:
        for client in tuple(self.clients):
            if client.idle():
                client.close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's name
        """Wait this many seconds for calls in flight, then cut them."""
        try:
            async with asyncio.timeout(timeout):
                while self.clients:
                    await asyncio.sleep(SWEEP_SECONDS / 5)
                    self._close_idle()  # accepted just before the listener closed
        except TimeoutError:
            self._log.drain_cut()
            self._log.disconnecting = True
            for client in tuple(self.clients):
                client.abort()
        if self._timer is not None:
            self._timer.cancel()
        self.pool.abort()
