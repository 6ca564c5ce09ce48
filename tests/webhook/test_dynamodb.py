"""The fleet's ids: real boto3 against an emulated DynamoDB, every outcome of a write."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from sidecar.emulator.aws import AwsClient
from sidecar.settings.names import MAX_NAME
from sidecar.webhook.dedupe import Claim, ClaimRefusal
from sidecar.webhook.dynamodb import LEASE_MARGIN_SECONDS, Namespace, TableWindow
from sidecar.webhook.table import CALL_SECONDS, DynamoTable
from tests.support.webhook_fakes import JOB, NOW, Clock, table_options

KEY = "staging-crm-sync#inbox#msg_1"
WINDOW = 345_600
DELIVERY = 15
LEASE = DELIVERY + LEASE_MARGIN_SECONDS


class Fleet:
    """Two receivers on one table, and one look into it."""

    def __init__(self, aws: AwsClient, name: str, clock: Clock) -> None:
        self.aws = aws
        self.name = name
        self.counted: list[tuple[str, str]] = []
        options = table_options(
            name, aws.dynamodb, clock, count=lambda *call: self.counted.append(call)
        )
        self.tables = (DynamoTable(options), DynamoTable(options))
        self.first, self.second = (self.window(table) for table in self.tables)

    @staticmethod
    def window(
        table: DynamoTable, job: str = JOB, endpoint: str = "inbox"
    ) -> TableWindow:
        """Open a window of the usual sizes."""
        return TableWindow(table, Namespace(job, endpoint), WINDOW, DELIVERY)

    async def item(self) -> dict[str, str]:
        """Read the item of msg_1 as plain text; empty when there is none."""
        found = await asyncio.to_thread(
            self.aws.dynamodb.get_item,
            TableName=self.name,
            Key={"id": {"S": KEY}},
        )
        return {
            name: next(str(one) for one in value.values())
            for name, value in found.get("Item", {}).items()
        }


@pytest.fixture(name="fleet")
async def _fleet(moto: AwsClient, table: str, clock: Clock) -> AsyncIterator[Fleet]:
    fleet = Fleet(moto, table, clock)
    async with fleet.tables[0], fleet.tables[1]:
        yield fleet


async def claimed(window: TableWindow, id_: str = "msg_1") -> Claim:
    """Claim an id that is free."""
    claim = await window.claim(id_)
    assert isinstance(claim, Claim)
    return claim


async def test_a_claim_is_a_lease(fleet: Fleet) -> None:
    """It lasts longer than the delivery may take, and has its owner's name."""
    claim = await claimed(fleet.first)

    assert await fleet.item() == {
        "id": KEY,
        "state": "claimed",
        "owner": claim.owner,
        "expires": str(NOW + LEASE),
    }


async def test_the_other_receiver_sees_the_claim(fleet: Fleet) -> None:
    """One id, one claim, in the whole fleet."""
    await claimed(fleet.first)

    assert await fleet.second.claim("msg_1") is ClaimRefusal.IN_FLIGHT


async def test_the_other_receiver_sees_what_was_done(
    fleet: Fleet, clock: Clock
) -> None:
    """Until the end of the window, which begins with the app's answer."""
    claim = await claimed(fleet.first)
    clock.at += 10
    await fleet.first.done(claim)
    clock.at += WINDOW

    assert await fleet.second.claim("msg_1") is ClaimRefusal.DUPLICATE
    assert await fleet.item() == {
        "id": KEY,
        "state": "done",
        "owner": claim.owner,
        "expires": str(NOW + 10 + WINDOW),
    }


async def test_an_expired_id_is_free_though_the_item_is_there(
    fleet: Fleet, clock: Clock
) -> None:
    """DynamoDB deletes what is expired up to days late, so we compare."""
    await fleet.first.done(await claimed(fleet.first))
    clock.at += WINDOW + 1

    await claimed(fleet.second)


async def test_a_released_id_is_free(fleet: Fleet) -> None:
    """The sender's next attempt is delivered, by whoever gets it."""
    await fleet.first.release(await claimed(fleet.first))

    assert await fleet.item() == {}
    await claimed(fleet.second)


async def test_a_dead_receivers_id_is_free_after_its_lease(
    fleet: Fleet, clock: Clock
) -> None:
    """Not a second earlier: its delivery may still be under way."""
    await claimed(fleet.first)
    clock.at += LEASE
    assert await fleet.second.claim("msg_1") is ClaimRefusal.IN_FLIGHT

    clock.at += 1

    await claimed(fleet.second)


async def test_who_lost_its_lease_changes_nothing(fleet: Fleet, clock: Clock) -> None:
    """Neither `done` nor `release` touches the claim of somebody else."""
    late = await claimed(fleet.first)
    clock.at += LEASE + 1
    other = await claimed(fleet.second)

    await fleet.first.done(late)
    await fleet.first.release(late)

    item = await fleet.item()
    assert (item["state"], item["owner"]) == ("claimed", other.owner)


async def test_done_is_kept_though_the_claim_was_swept_away(fleet: Fleet) -> None:
    """DynamoTable TTL may delete a lease that ran out; the app has the delivery all the same."""
    claim = await claimed(fleet.first)
    await asyncio.to_thread(
        fleet.aws.dynamodb.delete_item,
        TableName=fleet.name,
        Key={"id": {"S": KEY}},
    )

    await fleet.first.done(claim)

    assert await fleet.second.claim("msg_1") is ClaimRefusal.DUPLICATE


async def test_a_done_id_is_not_released(fleet: Fleet) -> None:
    """A release that comes late cannot undo what the app has."""
    claim = await claimed(fleet.first)
    await fleet.first.done(claim)

    await fleet.first.release(claim)

    assert await fleet.second.claim("msg_1") is ClaimRefusal.DUPLICATE


async def test_a_write_that_was_sent_twice_recognises_itself(fleet: Fleet) -> None:
    """AWS's client repeats a write whose answer was lost; the item against it is its own."""
    claim = Claim(KEY, "owner-1")

    first = await asyncio.to_thread(fleet.first._claim, claim)
    again = await asyncio.to_thread(fleet.first._claim, claim)

    assert first == again == claim
    assert await fleet.second.claim("msg_1") is ClaimRefusal.IN_FLIGHT


async def test_endpoints_do_not_share_ids(fleet: Fleet) -> None:
    """The same id on two endpoints of one table is two deliveries."""
    await claimed(fleet.first)

    await claimed(fleet.window(fleet.tables[0], endpoint="outbox"))


async def test_jobs_do_not_share_ids(fleet: Fleet) -> None:
    """Two services get one event, both at an endpoint of this name: both deliver it."""
    await fleet.first.done(await claimed(fleet.first))

    await claimed(fleet.window(fleet.tables[0], "staging-billing-export"))


def test_the_longest_key_is_one_that_dynamodb_takes() -> None:
    """A partition key has at most 2048 bytes; a job and an endpoint have longest names."""
    longest = Namespace("j" * MAX_NAME, "e" * MAX_NAME).key("m" * 256)

    assert len(longest.encode()) < 2048


@pytest.mark.parametrize("id_", ["id_5", "state", "owner-exp", "expires", "x" * 256])
async def test_ids_that_look_like_our_expressions_are_ids(
    fleet: Fleet, id_: str
) -> None:
    """`...#id_5` has `#id` in it, which is one of our placeholders."""
    await fleet.first.release(await claimed(fleet.first, id_))
    await fleet.first.done(await claimed(fleet.first, id_))

    assert await fleet.second.claim(id_) is ClaimRefusal.DUPLICATE


def test_a_lease_outlasts_what_it_is_for() -> None:
    """A slow claim, the delivery, a slow `done`, and clocks that are seconds apart."""
    assert LEASE_MARGIN_SECONDS >= 2 * CALL_SECONDS + 10


async def test_part_seconds_never_end_a_lease_early(fleet: Fleet, clock: Clock) -> None:
    """DynamoTable TTL wants whole seconds: leases are rounded up, `now` is rounded down."""
    clock.at = NOW + 0.25
    await claimed(fleet.first)
    item = await fleet.item()
    assert item["expires"] == str(math.ceil(NOW + 0.25 + LEASE))

    clock.at = NOW + LEASE + 0.9

    assert await fleet.second.claim("msg_1") is ClaimRefusal.IN_FLIGHT


async def test_every_call_is_counted(fleet: Fleet) -> None:
    """By operation and result, for `sidecar_aws_requests_total`."""
    claim = await claimed(fleet.first)
    await fleet.second.claim("msg_1")
    await fleet.first.release(claim)
    await fleet.first.done(await claimed(fleet.first))

    assert fleet.counted == [
        ("PutItem", "ok"),
        ("PutItem", "conflict"),
        ("DeleteItem", "ok"),
        ("PutItem", "ok"),
        ("UpdateItem", "ok"),
    ]
