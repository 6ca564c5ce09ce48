"""
The webhook receiver: it connects secrets, stores, apps and the listener.

    async with WebhookReceiver(webhooks, sources, dependencies, job="...") as receiver:
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
from typing import Final, Self

from aiohttp import web

from sidecar.aws.client import dynamodb_client
from sidecar.core.secrecy.secret import Secret
from sidecar.credential.sources.base import Source
from sidecar.metrics import WebhookMetrics
from sidecar.settings.tables import AwsSettings, WebhookSettings
from sidecar.webhook.body import Bodies
from sidecar.webhook.dedupe import MemoryIds, Window
from sidecar.webhook.delivery import AppClient, Target
from sidecar.webhook.dynamodb import Namespace, TableWindow
from sidecar.webhook.handler import PREFIX, Endpoint, Handler
from sidecar.webhook.runner import PortLimits, Runner
from sidecar.webhook.secrets import SecretsOptions, WebhookSecrets
from sidecar.webhook.table import LIMITS, DynamoTable, TableOptions

MEMORY: Final = "memory"
DYNAMODB: Final = "dynamodb:"


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
        webhooks: the settings of each endpoint, by its name.
        sources: where the secret of each endpoint is, by the endpoint's name. Endpoints
            with the same source object share one refresher. Closed at the end.
        dependencies: of the process.
        job: whose receiver it is; it separates the ids of jobs that share a table.
        aws: for DynamoDB.
        log_delivered: whether a delivery that went well gets a line too.
        limits: of the public port.
    """

    def __init__(
        self,
        webhooks: Mapping[str, WebhookSettings],
        sources: Mapping[str, Source],
        dependencies: Dependencies,
        *,
        job: str,
        aws: AwsSettings = AwsSettings(),
        log_delivered: bool = False,
        limits: PortLimits = PortLimits(),
    ) -> None:
        self._job = job
        self._aws = aws
        self._limits = limits
        self._dependencies = dependencies
        self._stack = AsyncExitStack()
        self._tables: dict[str, DynamoTable] = {}
        self._ids = MemoryIds(limits.max_ids, dependencies.monotonic)
        self._app = AppClient()
        shared: dict[int, WebhookSecrets] = {}
        self._closing: dict[int, Source] = {}
        for name, webhook in webhooks.items():
            source = sources[name]
            if id(source) not in shared:
                shared[id(source)] = self._watch(name, webhook, source)
            self._closing[id(source)] = source
        self._refreshers = tuple(shared.values())
        self.endpoints = {
            name: Endpoint(
                name,
                webhook,
                Target.parse(webhook.forward_to),
                shared[id(sources[name])],
                self._window(name, webhook),
                dependencies.metrics(name),
            )
            for name, webhook in webhooks.items()
        }
        self._handler = Handler(
            {f"{PREFIX}{name}": one for name, one in self.endpoints.items()},
            self._app,
            Bodies(limits.max_buffered_bytes, limits.body_seconds),
            dependencies.now,
            dependencies.monotonic,
            log_delivered=log_delivered,
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
        return Runner(receiver_app(self._handler), self._limits, drain_seconds)

    def _watch(
        self, name: str, webhook: WebhookSettings, source: Source
    ) -> WebhookSecrets:
        options = SecretsOptions(
            refresh_seconds=webhook.refresh_seconds,
            monotonic=self._dependencies.monotonic,
            jitter=self._dependencies.jitter,
            json_key=webhook.json_key,
            on_secrets=partial(self._dependencies.on_secrets, name),
        )
        return WebhookSecrets(name, source, options)

    def _window(self, name: str, webhook: WebhookSettings) -> Window:
        # A timestamp from the far side of the tolerance stays fresh for twice as long:
        # an id that is forgotten before that could be replayed.
        seconds = max(webhook.dedupe_seconds, 2 * webhook.tolerance_seconds)
        if webhook.dedupe == MEMORY:
            return self._ids.window(seconds)
        table = webhook.dedupe.removeprefix(DYNAMODB)
        if table not in self._tables:
            options = TableOptions(
                table,
                partial(
                    dynamodb_client, self._aws.region, self._aws.endpoint_url, LIMITS
                ),
                self._dependencies.now,
                self._dependencies.token,
                partial(self._dependencies.aws, "dynamodb"),
            )
            self._tables[table] = DynamoTable(options)
        return TableWindow(
            self._tables[table],
            Namespace(self._job, name),
            seconds,
            webhook.response_seconds,
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
