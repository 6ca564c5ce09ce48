"""
The sidecar as a whole: makes every part from the settings, runs it, drains it.

Order of the start: `run` has hardened the process; the log is up and has proven that it
shows no key; every socket is bound, so that a clash of ports is a settings error and not a
crash later; then each manager fetches its key, and the listeners open. They are open
before there is a key: a call that comes early waits for it.

Order of the end: not ready; listeners closed; calls in flight finish; managers stop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from sidecar import __version__
from sidecar.admin.app import AdminHooks, AdminRunner, admin_app
from sidecar.core.http.response_head import ResponseRules
from sidecar.core.http.target import BaseUrl
from sidecar.core.secrecy.masking import KeyMatcher
from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Exit, RefreshResult
from sidecar.hardening import read_status
from sidecar.log import canary_survives, configure, get_logger, loop_exception_handler
from sidecar.metrics import Metrics
from sidecar.proxy.connect import Connector
from sidecar.proxy.runner import LimitedSite, ProxyRunner
from sidecar.proxy.server import ProxyServer
from sidecar.settings.model import Settings
from sidecar.status_report import Report
from sidecar.wiring import (
    ADMIN,
    WEBHOOKS,
    address_of,
    all_bound,
    credential_manager_of,
    operations_of,
    receiver_of,
    request_rules_of,
    tls_of,
)

if TYPE_CHECKING:
    from sidecar.webhook.receiver import WebhookReceiver

Addresses = Mapping[str, str]
"""Listener -> `host:port` or `unix:/path`, as bound."""

GC_THRESHOLDS: Final = (50_000, 20, 100)
"""Calls make no cycles, so collections find nothing; see benchmarks/."""
SECOND_SIGNAL_EXIT: Final = 1
AGAIN_SECONDS: Final = 0.25
"""
A signal so soon after the first is the same one: `timeout` and others signal the process
and then its group.
"""


def run(
    settings: Settings,
    on_ready: Callable[[Addresses], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Exit:
    """
    Run until SIGTERM, SIGINT, `POST /-/quit` or `stop`.

    Args:
        settings: All of them.
        on_ready: Called with the addresses once every listener is open.
        stop: Ends the run as SIGTERM does; for tests.

    Raises:
        SettingsInvalid: An address cannot be bound, a file cannot be read.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sidecar = Sidecar(settings)
        return runner.run(sidecar.serve(on_ready, stop or asyncio.Event()))


class Sidecar:
    """One process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.metrics = Metrics(__version__)
        self._redactor = Redactor(self.metrics.log_redacted)
        configure(settings.log.level, settings.log.format, self._redactor)
        self._log = get_logger("sidecar.app")
        canary = Secret(f"canary_{secrets.token_urlsafe(24)}")
        leaks = canary_survives(self._redactor, canary)
        if leaks:
            self._log.critical("canary_survived", paths=list(leaks))
        self._receiver: WebhookReceiver | None = None
        self._stop = asyncio.Event()
        self._quit_at = 0.0
        self._report = Report(
            settings,
            self.metrics,
            read_status(),
            leaks,
            draining=self._draining,
            webhooks_ready=lambda: self._receiver is not None and self._receiver.ready,
        )
        self._group: asyncio.TaskGroup

    async def serve(
        self, on_ready: Callable[[Addresses], None] | None, stop: asyncio.Event
    ) -> Exit:
        """Run everything until `stop`; then drain."""
        self._stop = stop
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loop_exception_handler)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        async with AsyncExitStack() as stack:
            sockets = stack.enter_context(all_bound(self._settings))
            admin = await self._start_admin(sockets[ADMIN])
            async with asyncio.TaskGroup() as group:
                self._group = group
                runners = [
                    await self._start_upstream(name, sockets[name], group)
                    for name in self._settings.upstreams
                ]
                background = [
                    group.create_task(keeper.run(), name=f"keeper:{name}")
                    for name, keeper in self._report.keepers.items()
                ]
                if self._settings.webhooks:
                    runners.append(await self._start_webhooks(sockets, stack))
                background.append(group.create_task(self._report.watch.run()))
                self._tell(sockets, on_ready)
                await stop.wait()
                await self._drain(runners)
                for task in background:
                    task.cancel()
            await admin.cleanup()
        self._log.info("stopped")
        return Exit.OK

    # The start.

    async def _start_upstream(
        self, name: str, sock: socket.socket, group: asyncio.TaskGroup
    ) -> web.BaseRunner:
        settings = self._settings
        upstream = settings.upstreams[name]
        operations = operations_of(upstream)
        context = tls_of(name, upstream)
        keeper = credential_manager_of(
            settings, name, self.metrics, context, self._learn
        )
        self._report.keepers[name] = keeper
        proxy = ProxyServer(
            name,
            upstream,
            guards=settings.guard,
            access=settings.log.access,
            keys=keeper,
            operations=operations,
            rules=request_rules_of(settings, upstream, operations),
            connector=Connector(
                BaseUrl.parse(upstream.base_url),
                context,
                ResponseRules(),
                upstream.limits.connect_seconds,
            ),
            stats=self.metrics.upstream(name, operations.labels),
            clock=time.perf_counter,
            monotonic=time.monotonic,
            group=group,
        )
        self._report.proxies[name] = proxy
        runner = ProxyRunner(proxy, shutdown_timeout=settings.drain.timeout_seconds)
        await runner.setup()
        uids = upstream.allow_uids
        allowed = None if uids is None else frozenset(uids)
        await LimitedSite(runner, sock, group, allowed).start()
        return runner

    async def _start_webhooks(
        self, sockets: Mapping[str, socket.socket], stack: AsyncExitStack
    ) -> web.BaseRunner:
        self._receiver = await stack.enter_async_context(
            receiver_of(self._settings, self.metrics, self._redactor.hold)
        )
        runner = self._receiver.runner(self._settings.drain.timeout_seconds)
        await runner.setup()
        await web.SockSite(runner, sockets[WEBHOOKS]).start()
        return runner

    def _tell(
        self,
        sockets: Mapping[str, socket.socket],
        on_ready: Callable[[Addresses], None] | None,
    ) -> None:
        """Say where the listeners are, and settle the heap for the long run."""
        self._report.addresses = {
            name: address_of(sock) for name, sock in sockets.items()
        }
        for name, address in self._report.addresses.items():
            self._log.info("listening", name=name, address=address)
        # What exists now stays: no collection needs to visit it again, and
        # its pages stay shared and clean.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        if on_ready is not None:
            on_ready(self._report.addresses)

    def _learn(self, name: str, held: tuple[Secret, ...]) -> None:
        """Let every guard know the keys of an upstream before one of them is used."""
        self._redactor.hold(name, held)
        credential = self._settings.upstreams[name].credential
        self._report.proxies[name].learn(KeyMatcher(held, credential.key_prefix or ""))

    async def _start_admin(self, sock: socket.socket) -> web.AppRunner:
        hooks = AdminHooks(
            facts=self._report.facts,
            status=self._report.status,
            exposition=self.metrics.exposition,
            reload=self._reload,
            quit=self._quit,
            redact=lambda text: self._redactor.masked(text)[0],
        )
        runner = AdminRunner(admin_app(hooks))
        await runner.setup()
        await web.SockSite(runner, sock).start()
        return runner

    def _draining(self) -> bool:
        return self._stop.is_set()

    def _quit(self) -> None:
        seconds = self._settings.drain.timeout_seconds
        self._log.info("draining", seconds=seconds, calls=self._report.inflight)
        self._quit_at = time.monotonic()
        self._stop.set()

    # The run.

    async def _reload(self) -> dict[str, RefreshResult]:
        names = list(self._report.keepers)
        async with asyncio.TaskGroup() as group:
            refreshes = [
                group.create_task(keeper.refresh())
                for keeper in self._report.keepers.values()
            ]
            if self._receiver is not None:
                group.create_task(self._receiver.refresh())
        return dict(
            zip(names, (refresh.result() for refresh in refreshes), strict=True)
        )

    def _reload_soon(self) -> None:
        """Obey SIGHUP."""
        self._log.info("reload_asked", by="SIGHUP")
        self._group.create_task(self._reload())

    def _signalled(self) -> None:
        """Drain on the first signal, end at once on the second."""
        if not self._stop.is_set():
            self._quit()
        elif time.monotonic() - self._quit_at >= AGAIN_SECONDS:
            calls = self._report.inflight
            self._log.warning("stopped_at_once", reason="a second signal", calls=calls)
            os._exit(SECOND_SIGNAL_EXIT)

    # The end.

    async def _drain(self, runners: Sequence[web.BaseRunner]) -> None:
        async with asyncio.TaskGroup() as group:
            for runner in runners:
                group.create_task(runner.cleanup())
