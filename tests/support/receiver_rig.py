"""A webhook receiver on a real port, between a sender and an app."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self, cast

from aiohttp import web

from sidecar.core.secrecy.secret import Secret
from sidecar.metrics import WebhookMetrics
from sidecar.settings.tables import AwsSettings, WebhookSettings
from sidecar.webhook.receiver import Dependencies, WebhookReceiver
from sidecar.webhook.runner import PortLimits
from tests.support.webhook_app import App
from tests.support.webhook_fakes import JOB, Clock, FakeSource, headers, until

PATH = "/webhooks/inbox"


@dataclass
class Counts:
    """A fake for the metrics of an endpoint."""

    results: list[str] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)

    def result(self, name: str) -> None:
        """Keep a result."""
        self.results.append(name)

    def seconds(self, seconds: float) -> None:
        """Keep a duration."""
        self.durations.append(seconds)

    def age(self, seconds: float) -> None:
        """Keep an age."""
        self.ages.append(seconds)


@dataclass(frozen=True)
class Answer:
    """The answer to the sender."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an error, the same in the field and in the body."""
        code = json.loads(self.body)["error"]["code"]
        assert code == self.fields["x-sidecar-error"]
        return str(code)


class ReceiverRig:
    """A receiver, its app and its source; an async context manager."""

    def __init__(self, app: App | None = None, **changes: Any) -> None:
        self.app = app or App()
        self.source = changes.pop("source", None) or FakeSource()
        self.clock = Clock()
        self.counts: dict[str, Counts] = {}
        self.learned: list[Secret] = []
        self.aws: list[tuple[str, str, str]] = []
        self.wait_for_secrets = changes.pop("wait_for_secrets", True)
        self.names = changes.pop("names", ("inbox",))
        self._endpoint = changes.pop("endpoint", {})
        self._aws = changes.pop("aws", AwsSettings())
        self._log_delivered = changes.pop("log_delivered", False)
        self._limits = changes
        self._stack = AsyncExitStack()
        self.port = 0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if not self.app.serving:
                await stack.enter_async_context(self.app)
            dependencies = Dependencies(
                now=self.clock,
                monotonic=self.clock,
                jitter=lambda: 0.5,
                token=lambda: uuid.uuid4().hex,
                metrics=self._metrics,
                aws=lambda *call: self.aws.append(call),
                on_secrets=lambda _, held: self.learned.extend(held),
            )
            self.receiver = await stack.enter_async_context(
                WebhookReceiver(
                    dict.fromkeys(self.names, self._settings()),
                    dict.fromkeys(self.names, self.source),
                    dependencies,
                    job=JOB,
                    aws=self._aws,
                    log_delivered=self._log_delivered,
                    limits=PortLimits(**self._limits),
                )
            )
            self.runner = self.receiver.runner(drain_seconds=1)
            await self.runner.setup()
            stack.push_async_callback(self.runner.cleanup)
            await web.TCPSite(self.runner, "127.0.0.1", 0).start()
            self.port = self.runner.addresses[0][1]
            if self.wait_for_secrets:
                await until(lambda: self.receiver.ready)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _settings(self) -> WebhookSettings:
        changes = {"secret_id": "x", "forward_to": self.app.url, **self._endpoint}
        return WebhookSettings(**changes)

    def _metrics(self, name: str) -> WebhookMetrics:
        # `Counts` has the methods that the receiver calls.
        return cast("WebhookMetrics", self.counts.setdefault(name, Counts()))

    @property
    def results(self) -> list[str]:
        """The results that were counted for the endpoint."""
        return self.counts["inbox"].results

    @property
    def connections(self) -> int:
        """Number of open connections from senders."""
        server = self.runner.server
        return len(server.connections) if server else 0

    def headers(self, body: bytes, **changes: Any) -> dict[str, str]:
        """Sign a delivery as of now."""
        return headers(body, **{"at": self.clock(), **changes})

    async def post(
        self,
        body: bytes = b"{}",
        fields: Mapping[str, str] | None = None,
        path: str = PATH,
        **changes: Any,
    ) -> Answer:
        """Send a delivery that is signed; `fields` are added, or replace."""
        all_fields = {**self.headers(body, **changes), **(fields or {})}
        all_fields.setdefault("Content-Length", str(len(body)))
        return await self.send(request(all_fields, body, path))

    async def send(self, data: bytes, *, eof: bool = False) -> Answer:
        """Send bytes on a connection of their own and read the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            if eof:
                writer.write_eof()
            return await read_answer(reader)
        finally:
            writer.close()


def request(
    fields: Mapping[str, str] | list[tuple[str, str]],
    body: bytes,
    path: str = PATH,
    method: str = "POST",
) -> bytes:
    """Build a request with exactly these fields and Host."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else fields
    lines = [f"{method} {path} HTTP/1.1", "Host: sidecar:8702"]
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer; raises IncompleteReadError when there is none."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
        pairs = [text.partition(": ") for text in rest]
        fields = {name.lower(): value for name, _, value in pairs}
        length = int(fields.get("content-length", "0"))
        return Answer(int(line.split()[1]), fields, await reader.readexactly(length))
