"""
One DynamoDB table: its threads, and one conditional write.

botocore blocks, so it runs in threads: several, because one slow write must not delay
the claims behind it, and few, because each holds a connection.
No exception and no text of botocore leaves this file.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sidecar.aws.client import ClientLimits
from sidecar.aws.errors import code_of, meaning_of
from sidecar.errors import RefreshResult
from sidecar.webhook.dedupe import StoreFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

THREADS: Final = 8
"""
Concurrent writes. Measured with a table 5 ms away, as threads: writes a second, median:
1: 130, 7 ms; 4: 384, 10 ms; 8: 646, 12 ms; 16: 713, 20 ms.
"""

LIMITS: Final = ClientLimits(
    connect_seconds=2, read_seconds=3, attempts=2, connections=THREADS
)
CALL_SECONDS: Final = 8
"""Seconds for one write with its retry, including the wait for a thread."""

# The remedies that differ from those of `sidecar.aws.errors`.
_REMEDIES: Final = {
    RefreshResult.NOT_FOUND: "create the table, or correct dedupe",
    RefreshResult.INVALID: (
        "the table's partition key must be a string named id, without sort key"
    ),
    RefreshResult.THROTTLED: "raise the table's capacity, make it on-demand, or raise the account's limit",
    RefreshResult.UNREACHABLE: "check the network and the endpoint",
}
_ALLOW: Final = "allow dynamodb:PutItem, UpdateItem and DeleteItem on the table"
_NO_REGION: Final = "NoRegionError"
_CONFLICT: Final = "ConditionalCheckFailedException"

# Some attribute names are reserved words in DynamoDB expressions.
_NAMES: Final = {"#id": "id", "#state": "state", "#owner": "owner", "#exp": "expires"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """The name of a table and the means to write to it."""

    name: str
    make_client: "Callable[[], DynamoDBClient]"
    now: Callable[[], float]
    """Unix seconds: leases are compared between machines."""
    token: Callable[[], str]
    """Return a name for a claim, unique in the fleet."""
    count: Callable[[str, str], None] = lambda _operation, _result: None
    """Called in the threads with each AWS call's operation and result."""
    threads: int = THREADS
    call_seconds: float = CALL_SECONDS


class DynamoTable:
    """A table with its client and its threads; an async context manager."""

    def __init__(self, options: TableOptions) -> None:
        self.options = options
        self._pool = ThreadPoolExecutor(options.threads, f"dynamodb-{options.name}")
        self._client: DynamoDBClient | None = None
        self._making = threading.Lock()

    async def __aenter__(self) -> Self:
        # Prepares the client for the first delivery. A failure here does not prevent
        # the start: each delivery reports it and tries again.
        self._pool.submit(self._get_client)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Waits until cancelled deliveries have released their claims.
        await asyncio.to_thread(self._pool.shutdown)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run a job in one of the threads."""
        return self._pool.submit(job)

    async def wait_for(self, future: Future[T]) -> T:
        """Wait for a thread, at most `call_seconds`."""
        try:
            async with asyncio.timeout(self.options.call_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            reason = f"DynamoDB table {self.options.name}: no answer in time"
            raise StoreFailed(reason, _REMEDIES[RefreshResult.UNREACHABLE]) from None

    def write(
        self, operation: str, condition: str, names: Sequence[str], **arguments: Any
    ) -> Any:
        """
        Make one conditional write, in a thread.

        Args:
            operation: the client's method: `put_item`, `update_item` or `delete_item`.
            condition: the condition of the write.
            names: the names of `_NAMES` in the expressions; DynamoDB refuses unused ones.
            arguments: all other arguments of the method.

        Returns:
            None if it was made; else the item that prevented it.

        Raises:
            StoreFailed: the outcome of the write is unknown.
        """
        from botocore.exceptions import (  # noqa: PLC0415  (loaded with the client)
            BotoCoreError,
            ClientError,
        )
        from botocore.parsers import ResponseParserError  # noqa: PLC0415  (as above)

        label = operation.title().replace("_", "")
        try:
            answer = getattr(self._get_client(), operation)(
                TableName=self.options.name,
                ConditionExpression=condition,
                ExpressionAttributeNames={name: _NAMES[name] for name in names},
                ReturnConsumedCapacity="TOTAL",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except ClientError as error:
            if code_of(error) == _CONFLICT:
                self.options.count(label, "conflict")
                return error.response.get("Item") or {}
            raise self._failed(label, error) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise self._failed(label, error) from None
        # An empty 200 of a proxy would read as a claim, so a proof is required.
        if "ConsumedCapacity" not in answer:
            raise self._failed(label, None)
        self.options.count(label, "ok")
        return None

    def _get_client(self) -> "DynamoDBClient":
        with self._making:
            if self._client is None:
                self._client = self.options.make_client()
            return self._client

    def _failed(self, operation: str, error: Exception | None) -> StoreFailed:
        """Count a failure; the message has a code or a class, never text of AWS."""
        code = "not a DynamoDB response"
        result, remedy = RefreshResult.UNREACHABLE, ""
        if error is not None:
            code = code_of(error)
            if meaning := meaning_of(error):
                result, _, remedy = meaning
        if code == _NO_REGION:
            result = RefreshResult.INVALID
        else:
            remedy = _REMEDIES.get(result, remedy)
        if "secretsmanager" in remedy:
            remedy = _ALLOW
        self.options.count(operation, result)
        if result is RefreshResult.DENIED:
            # A client keeps the credentials, or the lack of them, that it began with.
            self._client = None
        return StoreFailed(f"DynamoDB table {self.options.name}: {code}", remedy)
