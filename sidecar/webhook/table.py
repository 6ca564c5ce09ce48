"""
One DynamoDB table: its client, its threads, and one conditional write.

botocore blocks, so it runs in threads: several, so that a slow write does not delay other
claims, and few, because each thread holds a connection.
No botocore type and no text from AWS leaves this file.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from yarl import URL

from sidecar.webhook.dedupe import StoreFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

THREADS: Final = 8
"""
Concurrent writes. Measured with a table 5 ms away, as threads: writes a second, median:
1: 130, 7 ms; 4: 384, 10 ms; 8: 646, 12 ms; 16: 713, 20 ms.
"""

CONNECT_SECONDS: Final = 2
READ_SECONDS: Final = 3
CALL_SECONDS: Final = 8
"""Seconds for one write with its retry, including the wait for a thread."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

# botocore's error: the metric label, and the remedy.
_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "ResourceNotFoundException": ("not_found", "create the table, or fix dedupe"),
    "AccessDeniedException": (
        "denied",
        "allow dynamodb:PutItem, UpdateItem and DeleteItem on the table",
    ),
    "UnrecognizedClientException": ("denied", "check the pod's AWS credentials"),
    "ExpiredTokenException": ("denied", "check the pod's AWS credentials"),
    "NoCredentialsError": ("denied", "give the pod AWS credentials"),
    "ValidationException": (
        "invalid",
        "the table's partition key must be a string named id, without sort key",
    ),
    "NoRegionError": ("invalid", "set [aws].region"),
    "ProvisionedThroughputExceededException": (
        "throttled",
        "raise the table's capacity, or make it on-demand",
    ),
    "ThrottlingException": ("throttled", "raise the table's capacity"),
    "RequestLimitExceeded": ("throttled", "raise the account's limit"),
}
_UNREACHABLE: Final = ("unreachable", "check the network and the endpoint")
_CONFLICT: Final = "ConditionalCheckFailedException"

# Some attribute names are reserved words in DynamoDB expressions.
_NAMES: Final = {"#id": "id", "#state": "state", "#owner": "owner", "#exp": "expires"}

T = TypeVar("T")


def make_client(region: str | None, endpoint_url: str | None) -> "DynamoDBClient":
    """
    Make a client that gives up in seconds; blocks for some tenths of a second.

    Raises what botocore raises: there may be no region.
    """
    # Imported late: megabytes that a receiver with dedupe = "memory" never needs.
    import botocore.session  # noqa: PLC0415 - botocore: only for who needs AWS
    from botocore.config import Config  # noqa: PLC0415 - botocore: only for who needs AWS

    local = URL(endpoint_url or "").host in LOOPBACK
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=THREADS,
        tcp_keepalive=True,
        # Proxies of the environment never apply to an emulator on this machine.
        proxies={} if local else None,
    )
    client = botocore.session.get_session().create_client(
        "dynamodb", region_name=region, endpoint_url=endpoint_url, config=config
    )
    return cast("DynamoDBClient", client)


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
        # Make the client before the first delivery. A failure does not prevent the
        # start: each delivery tries again.
        self._pool.submit(self._get_client)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Waits until cancelled deliveries have released their claims.
        await asyncio.to_thread(self._pool.shutdown)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run a job in one of the threads."""
        return self._pool.submit(job)

    async def wait_for(self, future: Future[T]) -> T:
        """Wait for a thread, at most `call_seconds`. Raises StoreFailed."""
        try:
            async with asyncio.timeout(self.options.call_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            reason = f"DynamoDB table {self.options.name}: no answer in time"
            raise StoreFailed(reason, _UNREACHABLE[1]) from None

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
            None if the item was written; otherwise the item that made the condition fail.

        Raises:
            StoreFailed: the result of the write is unknown.
        """
        from botocore.exceptions import (  # noqa: PLC0415  (loaded with the client)
            BotoCoreError,
            ClientError,
        )
        from botocore.parsers import ResponseParserError  # noqa: PLC0415 - botocore: only for who needs AWS

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
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == _CONFLICT:
                self.options.count(label, "conflict")
                return error.response.get("Item") or {}
            raise self._failed(label, code) from None
        except (BotoCoreError, ResponseParserError) as error:
            # The text may contain internal addresses, so only the name is used.
            raise self._failed(label, type(error).__name__) from None
        # An empty 200 from a proxy must not count as a claim.
        if "ConsumedCapacity" not in answer:
            raise self._failed(label, "not a DynamoDB response")
        self.options.count(label, "ok")
        return None

    def _get_client(self) -> "DynamoDBClient":
        with self._making:
            if self._client is None:
                self._client = self.options.make_client()
            return self._client

    def _failed(self, operation: str, code: str) -> StoreFailed:
        result, remedy = _FAULTS.get(code, _UNREACHABLE)
        self.options.count(operation, result)
        if result == "denied":
            # A client never reloads its credentials: make a new one for the next write.
            self._client = None
        return StoreFailed(f"DynamoDB table {self.options.name}: {code}", remedy)
