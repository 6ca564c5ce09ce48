"""Fakes for the tests of the receiver: clock, source, table, signed headers."""

import asyncio
import base64
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sidecar.core.webhooks.signing_keys import parse_signing_key
from sidecar.core.webhooks.verification import sign
from sidecar.credential.sources.base import Fetched, Versions
from sidecar.emulator.aws import AwsClient
from sidecar.errors import RefreshResult, SourceFailed
from sidecar.webhook.table import TableOptions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = f"whsec_{base64.b64encode(b'o' * 32).decode()}"
JOB = "staging-crm-sync"
NOW = 1_800_000_000


class Clock:
    """A clock that a test sets."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def __call__(self) -> float:
        """Return the time."""
        return self.at


def headers(
    body: bytes, id_: str = "msg_1", at: float = NOW, secret: str = SECRET
) -> dict[str, str]:
    """Sign a delivery as a sender does."""
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": sign(parse_signing_key(secret), id_, int(at), body),
    }


def make_table(aws: AwsClient) -> str:
    """Make a table as the README says; return its name."""
    name = f"ids-{uuid.uuid4().hex}"
    aws.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


async def until(condition: Callable[[], object]) -> None:
    """Wait at most 5 s until a condition is true."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    message = "the condition was not true within 5 s"
    raise AssertionError(message)


class FakeTable:
    """A DynamoDB client whose answers a test makes."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any]) -> None:
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self._answer = answer

    def put_item(self, **arguments: Any) -> Any:
        """Write."""
        return self._call("put_item", arguments)

    def update_item(self, **arguments: Any) -> Any:
        """Change."""
        return self._call("update_item", arguments)

    def delete_item(self, **arguments: Any) -> Any:
        """Delete."""
        return self._call("delete_item", arguments)

    def _call(self, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls.append(operation)
        self.threads.add(threading.current_thread().name)
        return self._answer(operation, arguments)


def table_options(
    name: str, client: "DynamoDBClient", clock: Callable[[], float], **changes: Any
) -> TableOptions:
    """Options for a client that exists already."""
    return TableOptions(
        name=name,
        make_client=lambda: client,
        now=clock,
        token=lambda: uuid.uuid4().hex,
        **changes,
    )


class FakeSource:
    """A source whose versions a test sets: `{stage: (version id, value)}`."""

    kind = "secrets_manager"

    def __init__(self, current: str = SECRET, **changes: Any) -> None:
        self.stages: dict[str, tuple[str, str]] = {}
        self.poll_seconds: float | None = changes.get("poll_seconds")
        self.failure: SourceFailed | None = None
        self.calls: list[str] = []
        self.hold: asyncio.Event | None = None
        """If it is an event, refreshes wait for it."""
        self.replaced = False
        self.closed = False
        self._count = 0
        if current:
            self.put(current)

    def put(self, value: str) -> str:
        """Make a value current, and the one before it previous."""
        self._count += 1
        version_id = f"{self._count:08d}-0000-4000-8000-000000000000"
        if "AWSCURRENT" in self.stages:
            self.stages["AWSPREVIOUS"] = self.stages["AWSCURRENT"]
        self.stages["AWSCURRENT"] = (version_id, value)
        return version_id

    async def describe(self) -> Versions:
        """Name the versions."""
        await self._called("describe")
        if "AWSCURRENT" not in self.stages:
            raise missing()
        previous = self.stages.get("AWSPREVIOUS")
        return Versions(self.stages["AWSCURRENT"][0], previous and previous[0])

    async def fetch(self, stage: str) -> Fetched:
        """Return a value."""
        await self._called(stage)
        if stage not in self.stages:
            raise missing()
        version_id, value = self.stages[stage]
        return Fetched(value, version_id)

    async def moved(self) -> bool:
        """Return whether the file was replaced."""
        return self.replaced

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure


def missing() -> SourceFailed:
    """Return the error of a source without such a secret."""
    return SourceFailed(RefreshResult.NOT_FOUND, "there is no such secret", "make it")
