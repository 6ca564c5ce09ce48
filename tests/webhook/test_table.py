"""What a write does when DynamoDB is slow, away, in the wrong hands or not DynamoDB."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from sidecar.aws.client import dynamodb_client
from sidecar.webhook import table as module
from sidecar.webhook.dedupe import Claim, ClaimRefusal, StoreFailed
from sidecar.webhook.dynamodb import Namespace, TableWindow
from sidecar.webhook.table import LIMITS, DynamoTable, TableOptions
from tests.support.webhook_fakes import JOB, Clock, FakeTable, table_options

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONFLICT = "ConditionalCheckFailedException"
INBOX = Namespace(JOB, "inbox")
OK = {"ConsumedCapacity": {"CapacityUnits": 1.0}}


def opened(
    answer: Callable[[str, dict[str, Any]], Any], clock: Clock, **changes: Any
) -> tuple[FakeTable, DynamoTable, TableWindow]:
    """A table whose answers the test gives."""
    client = FakeTable(answer)
    table = DynamoTable(
        table_options("ids", cast("DynamoDBClient", client), clock, **changes)
    )
    return client, table, TableWindow(table, INBOX, 60, 15)


def refused(code: str) -> ClientError:
    """Make what boto3 raises for an error answer; its text holds an ARN."""
    return ClientError(
        {"Error": {"Code": code, "Message": "arn:aws:iam::123456789012:role/x"}},
        "PutItem",
    )


@pytest.mark.parametrize(
    ("error", "result", "remedy"),
    [
        (refused("ResourceNotFoundException"), "not_found", "create the table"),
        (refused("AccessDeniedException"), "denied", "PutItem, UpdateItem and Del"),
        (refused("UnrecognizedClientException"), "denied", "AWS credentials"),
        (refused("ExpiredTokenException"), "denied", "AWS credentials"),
        (NoCredentialsError(), "denied", "give the pod a role"),
        (refused("ValidationException"), "invalid", "a string named id"),
        (refused("ProvisionedThroughputExceededException"), "throttled", "on-demand"),
        (refused("ThrottlingException"), "throttled", "capacity"),
        (refused("RequestLimitExceeded"), "throttled", "limit"),
        (refused("InternalServerError"), "unreachable", "the network"),
        (refused("SomethingNew"), "unreachable", "the network"),
        (ClientError({}, "PutItem"), "unreachable", "the network"),
        (ConnectTimeoutError(endpoint_url="http://10.0.0.1"), "unreachable", "netw"),
        (ReadTimeoutError(endpoint_url="http://10.0.0.1"), "unreachable", "network"),
        (ResponseParserError("<html>"), "unreachable", "the network"),
    ],
    ids=str,
)
async def test_a_fault_is_named_counted_and_has_a_remedy(
    clock: Clock, error: Exception, result: str, remedy: str
) -> None:
    """Nothing is claimed, and nothing of AWS's text goes on."""

    def answer(_operation: str, _arguments: dict[str, Any]) -> Any:
        raise error

    counted: list[tuple[str, str]] = []
    _, table, window = opened(answer, clock, count=lambda *c: counted.append(c))
    async with table:
        with pytest.raises(StoreFailed, match=remedy) as caught:
            await window.claim("msg_1")

    assert counted == [("PutItem", result)]
    assert "arn:" not in str(caught.value)
    assert "10.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("answer", [{}, {"ResponseMetadata": {}}])
async def test_an_answer_that_is_not_dynamodbs_claims_nothing(
    clock: Clock, answer: dict[str, Any]
) -> None:
    """boto3 reads the empty 200 of a proxy as success; the proof is missing."""
    _, table, window = opened(lambda *_: answer, clock)
    async with table:
        with pytest.raises(StoreFailed, match="not a DynamoDB response"):
            await window.claim("msg_1")


async def test_a_conflict_without_its_item_is_in_flight(clock: Clock) -> None:
    """An emulator may leave it out; 409 brings the sender back, 200 would lose it."""

    def answer(_operation: str, _arguments: dict[str, Any]) -> Any:
        raise refused(CONFLICT)

    _, table, window = opened(answer, clock)
    async with table:
        assert await window.claim("msg_1") is ClaimRefusal.IN_FLIGHT


class Gate:
    """Holds calls until the test lets them through."""

    def __init__(self, *held: str) -> None:
        self.held = held
        self.open = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, _operation: str, arguments: dict[str, Any]) -> Any:
        """Hold a call if its id is one of the held."""
        key = (arguments.get("Item") or arguments["Key"])["id"]["S"]
        if key.removeprefix(INBOX.key("")) in self.held and not self.open.is_set():
            self.waiting.release()
            self.open.wait(10)
        return OK


async def test_a_slow_claim_does_not_hold_up_the_others(clock: Clock) -> None:
    """Each has a thread, as long as there are threads."""
    gate = Gate("slow")
    client, table, window = opened(gate, clock)
    async with table, asyncio.TaskGroup() as group:
        slow = group.create_task(window.claim("slow"))
        await asyncio.to_thread(gate.waiting.acquire)

        others = [await window.claim(f"msg_{number}") for number in range(20)]

        assert not slow.done()
        assert all(isinstance(other, Claim) for other in others)
        gate.open.set()
    assert all(name.startswith("dynamodb-ids") for name in client.threads)


async def test_when_all_threads_are_held_a_claim_fails_in_time(clock: Clock) -> None:
    """And it is never made afterwards: it was taken off the queue."""
    gate = Gate("slow_0", "slow_1")
    client, table, window = opened(gate, clock, threads=2, call_seconds=0.2)
    async with table:
        slow = [asyncio.ensure_future(window.claim(f"slow_{n}")) for n in range(2)]
        for _ in slow:
            await asyncio.to_thread(gate.waiting.acquire)

        with pytest.raises(StoreFailed, match="no answer in time"):
            await window.claim("msg_1")

        await asyncio.gather(*slow, return_exceptions=True)
        gate.open.set()
    # Two claims that came too late were given back; the third never began.
    assert sorted(client.calls) == ["delete_item"] * 2 + ["put_item"] * 2


async def test_a_claim_whose_task_is_cancelled_is_given_back(clock: Clock) -> None:
    """The receiver stops while DynamoDB is at it."""
    gate = Gate("msg_1")
    client, table, window = opened(gate, clock)
    async with table:
        task = asyncio.ensure_future(window.claim("msg_1"))
        await asyncio.to_thread(gate.waiting.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()

    assert client.calls == ["put_item", "delete_item"]


async def test_a_late_conflict_is_left_alone(clock: Clock) -> None:
    """What we did not get we do not give back."""
    gate = Gate("msg_1")

    def answer(operation: str, arguments: dict[str, Any]) -> Any:
        gate(operation, arguments)
        raise refused(CONFLICT)

    client, table, window = opened(answer, clock)
    async with table:
        task = asyncio.ensure_future(window.claim("msg_1"))
        await asyncio.to_thread(gate.waiting.acquire)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.open.set()

    assert client.calls == ["put_item"]


async def test_done_is_written_though_its_task_is_cancelled(clock: Clock) -> None:
    """The app has it: a stop must not let it be delivered again."""
    gate = Gate("slow")
    client, table, window = opened(gate, clock, threads=1)
    async with table:
        slow = asyncio.ensure_future(window.claim("slow"))
        await asyncio.to_thread(gate.waiting.acquire)
        task = asyncio.ensure_future(window.done(Claim(INBOX.key("msg_1"), "me")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.open.set()
        await slow

    assert client.calls == ["put_item", "update_item"]


async def test_done_that_is_under_way_is_not_written_twice(clock: Clock) -> None:
    """It cannot be stopped any more, so it needs no repetition."""
    gate = Gate("msg_1")
    client, table, window = opened(gate, clock)
    async with table:
        task = asyncio.ensure_future(window.done(Claim(INBOX.key("msg_1"), "me")))
        await asyncio.to_thread(gate.waiting.acquire)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.open.set()

    assert client.calls == ["update_item"]


async def test_after_the_end_a_claim_is_left_to_its_lease(clock: Clock) -> None:
    """`abandon` never raises: it is called while an exception is on its way."""
    client, table, window = opened(lambda *_: OK, clock)
    async with table:
        pass

    window.abandon(Claim(INBOX.key("msg_1"), "me"))

    assert client.calls == []


async def test_a_missing_region_is_told_by_each_claim(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process starts all the same, and the remedy names the setting."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    options = TableOptions(
        "ids",
        lambda: dynamodb_client(None, None, LIMITS),
        now=clock,
        token=lambda: "me",
    )
    async with DynamoTable(options) as table:
        with pytest.raises(StoreFailed, match=r"set \[aws\].region"):
            await TableWindow(table, INBOX, 60, 15).claim("msg_1")


async def test_after_a_denial_there_is_a_new_client(clock: Clock) -> None:
    """It reads the credentials again; a client keeps those that it began with."""
    made: list[FakeTable] = []
    error = refused("UnrecognizedClientException")

    def answer(_operation: str, _arguments: dict[str, Any]) -> Any:
        if len(made) == 1:
            raise error
        return OK

    def make() -> "DynamoDBClient":
        made.append(FakeTable(answer))
        return cast("DynamoDBClient", made[-1])

    options = TableOptions("ids", make, now=clock, token=lambda: "me")
    async with DynamoTable(options) as table:
        window = TableWindow(table, INBOX, 60, 15)
        with pytest.raises(StoreFailed):
            await window.claim("msg_1")

        assert isinstance(await window.claim("msg_1"), Claim)
    assert len(made) == 2


async def test_proxies_do_not_apply_to_an_emulator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS itself may well be behind one."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    local = await asyncio.to_thread(
        dynamodb_client, "eu-west-1", "http://127.0.0.1:9", LIMITS
    )
    real = await asyncio.to_thread(dynamodb_client, "eu-west-1", None, LIMITS)

    configs: list[Any] = [local.meta.config, real.meta.config]
    assert [config.proxies for config in configs] == [{}, None]


async def test_the_client_gives_up_in_seconds() -> None:
    """The defaults are a minute per try."""
    client = await asyncio.to_thread(
        dynamodb_client, "eu-west-1", "http://127.0.0.1:1", LIMITS
    )

    config: Any = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 3)
    assert config.max_pool_connections == module.THREADS
    assert client.meta.endpoint_url == "http://127.0.0.1:1"
