"""
The webhook receiver: it connects secrets, stores, apps and the listener.

    async with WebhookReceiver(options, sources, dependencies) as receiver:
        runner = receiver.runner(drain_seconds=25)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 8702).start()
        ...
        await runner.cleanup()
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiohttp import web

from sidecar.core.secrecy.secret import Secret
from sidecar.credential.sources.base import Source
from sidecar.webhook.body import Bodies
from sidecar.webhook.dedupe import MemoryIds, Window
from sidecar.webhook.delivery import AppClient
from sidecar.webhook.dynamodb import Namespace, TableWindow
from sidecar.webhook.handler import PREFIX, Endpoint, Handler
from sidecar.webhook.options import EndpointOptions, ReceiverOptions, Target
from sidecar.webhook.runner import Runner
from sidecar.webhook.secrets import SecretsOptions, WebhookSecrets
from sidecar.webhook.table import DynamoTable, TableOptions, make_client

if TYPE_CHECKING:
    from sidecar.metrics import WebhookMetrics


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Clocks, random numbers, metrics and the redactor of the process."""

    now: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    """A number in [0, 1)."""
    token: Callable[[], str]
    """Return a name for a claim, unique in the fleet."""
    metrics: "Callable[[str], WebhookMetrics]"
    """Return the metrics of an endpoint."""
    aws: Callable[[str, str, str], None] = lambda _service, _operation, _result: None
    """Counts an AWS call; called in threads."""
    on_secrets: Callable[[str, tuple[Secret, ...]], None] = lambda _name, _secrets: None
    """Called with an endpoint and its secrets before a new one is used."""


class WebhookReceiver:
    """
    All endpoints behind the webhook listener; an async context manager.

    Args:
        options: all endpoints.
        sources: the source of each endpoint's secret, by endpoint name. Endpoints with
            the same source object share one refresher. Closed at the end.
        dependencies: clocks, random numbers and metrics of the process.
    """

    def __init__(
        self,
        options: ReceiverOptions,
        sources: Mapping[str, Source],
        dependencies: Dependencies,
    ) -> None:
        self._options = options
        self._dependencies = dependencies
        self._stack = AsyncExitStack()
        self._tables: dict[str, DynamoTable] = {}
        self._ids = MemoryIds(options.max_ids, dependencies.monotonic)
        self._app = AppClient()
        shared: dict[int, WebhookSecrets] = {}
        self._closing: dict[int, Source] = {}
        for endpoint in options.endpoints:
            source = sources[endpoint.name]
            if id(source) not in shared:
                shared[id(source)] = self._secrets_of(endpoint, source)
            self._closing[id(source)] = source
        self._refreshers = tuple(shared.values())
        self.endpoints = {
            endpoint.name: Endpoint(
                endpoint,
                Target.parse(endpoint.forward_to),
                shared[id(sources[endpoint.name])],
                self._window_of(endpoint),
                dependencies.metrics(endpoint.name),
            )
            for endpoint in options.endpoints
        }
        self._handler = Handler(
            {f"{PREFIX}{name}": one for name, one in self.endpoints.items()},
            self._app,
            Bodies(options.max_buffered_bytes, options.body_seconds),
            dependencies.now,
            dependencies.monotonic,
            log_delivered=options.log_delivered,
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for table in self._tables.values():
                await stack.enter_async_context(table)
            await stack.enter_async_context(self._app)
            for source in self._closing.values():
                stack.push_async_callback(source.close)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for secrets in self._refreshers:
                task = group.create_task(secrets.run(), name=f"webhook:{secrets.name}")
                stack.callback(task.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def ready(self) -> bool:
        """Whether every endpoint has a secret to verify with."""
        return all(secrets.keys for secrets in self._refreshers)

    async def refresh(self) -> None:
        """Refresh the secrets of all endpoints now."""
        async with asyncio.TaskGroup() as group:
            for secrets in self._refreshers:
                group.create_task(secrets.refresh())

    def runner(self, drain_seconds: float = 25) -> web.AppRunner:
        """
        Return the runner of the listener. The caller adds sites and cleans it up.

        Args:
            drain_seconds: how long a cleanup waits for deliveries in progress.
        """
        return Runner(receiver_app(self._handler), self._options, drain_seconds)

    def _secrets_of(self, endpoint: EndpointOptions, source: Source) -> WebhookSecrets:
        options = SecretsOptions(
            refresh_seconds=endpoint.refresh_seconds,
            monotonic=self._dependencies.monotonic,
            jitter=self._dependencies.jitter,
            json_key=endpoint.json_key,
            on_secrets=partial(self._dependencies.on_secrets, endpoint.name),
        )
        return WebhookSecrets(endpoint.name, source, options)

    def _window_of(self, endpoint: EndpointOptions) -> Window:
        if not endpoint.table:
            return self._ids.window(endpoint.window_seconds)
        if endpoint.table not in self._tables:
            options = TableOptions(
                endpoint.table,
                partial(make_client, self._options.region, self._options.endpoint_url),
                self._dependencies.now,
                self._dependencies.token,
                partial(self._dependencies.aws, "dynamodb"),
            )
            self._tables[endpoint.table] = DynamoTable(options)
        return TableWindow(
            self._tables[endpoint.table],
            Namespace(self._options.job, endpoint.name),
            endpoint.window_seconds,
            endpoint.response_seconds,
        )


def receiver_app(handler: Handler) -> web.Application:
    """Return the application. One route serves all; the handler compares the target."""
    app = web.Application()
    # `body.py` answers Expect, after it has checked the announced length.
    app.router.add_route("*", "/{any:.*}", handler.handle, expect_handler=_expect)
    return app


async def _expect(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(headers={"Server": "sidecar"})
