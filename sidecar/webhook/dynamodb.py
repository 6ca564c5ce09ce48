"""
The store of ids for a fleet, in one DynamoDB table (partition key `id`, a string).

Rule 1: every decision is one conditional write, so DynamoDB decides which receiver was
first. Nothing is read before it is written.
Rule 2: a claim is a lease. If a receiver dies during a delivery, the lease expires and
the sender's next attempt is delivered.
Rule 3: this file compares `expires`. DynamoDB's TTL may use the same attribute, but it
deletes items up to days late.

    id       job # endpoint # webhook-id
    state    claimed | done
    owner    random name of the claim; identifies a write that botocore sent twice
    expires  Unix seconds: the end of the lease, or of the window of a done id
"""

import contextlib
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from sidecar.webhook.dedupe import Claim, ClaimRefusal, StoreFailed
from sidecar.webhook.table import DynamoTable

LEASE_MARGIN_SECONDS: Final = 30
"""Added to the time of a delivery: two writes, and the difference of the clocks."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """
    The owner of ids: one endpoint of one job.

    A sender uses the same id for all receivers of an event. Without the job, a delivery
    to one service would count as a duplicate of a delivery to another.
    """

    job: str
    endpoint: str

    def key(self, id_: str) -> str:
        """Return the table key of an id. No part has a #, so keys are unique."""
        return f"{self.job}#{self.endpoint}#{id_}"


class TableWindow:
    """The ids of one endpoint in a table."""

    def __init__(
        self,
        table: DynamoTable,
        namespace: Namespace,
        seconds: float,
        delivery_seconds: float,
    ) -> None:
        self._table = table
        self._namespace = namespace
        self._seconds = seconds
        self._lease_seconds = delivery_seconds + LEASE_MARGIN_SECONDS

    async def claim(self, id_: str) -> Claim | ClaimRefusal:
        """Claim an id, or return why it cannot be claimed. Raises StoreFailed."""
        claim = Claim(self._namespace.key(id_), self._table.options.token())
        future = self._table.submit(lambda: self._claim(claim))
        try:
            return await self._table.wait_for(future)
        except BaseException:
            # The delivery is given up: release the id as soon as the write has ended.
            future.add_done_callback(self._undo)
            raise

    async def done(self, claim: Claim) -> None:
        """Record that the app accepted the delivery. Raises StoreFailed."""
        future = self._table.submit(lambda: self._done(claim))
        try:
            await self._table.wait_for(future)
        except BaseException:
            # Cancelled or timed out: the app has accepted the delivery, so write it anyway.
            if future.cancel():
                self._later(lambda: self._done(claim))
            raise

    async def release(self, claim: Claim) -> None:
        """Give the id back for the sender's next attempt. Raises StoreFailed."""
        await self._table.wait_for(self._table.submit(lambda: self._release(claim)))

    def abandon(self, claim: Claim) -> None:
        """Release in a thread without waiting; if that fails, the lease expires."""
        self._later(lambda: self._release(claim))

    def _later(self, job: Callable[[], None]) -> bool:
        """Run a job in a thread without waiting; False if the table is being closed."""
        try:
            self._table.submit(job)
        except RuntimeError:
            return False
        return True

    def _undo(self, future: Future[Claim | ClaimRefusal]) -> None:
        """Release a claim whose delivery was given up; called in the claim's thread."""
        if future.cancelled() or future.exception() is not None:
            return
        claim = future.result()
        if isinstance(claim, Claim) and not self._later(lambda: self._release(claim)):
            # The table is being closed and waits for this thread.
            with contextlib.suppress(StoreFailed):
                self._release(claim)

    # The methods below run in the threads.

    def _claim(self, claim: Claim) -> Claim | ClaimRefusal:
        now = self._table.options.now()
        other = self._table.write(
            "put_item",
            "attribute_not_exists(#id) OR #exp < :now",
            ("#id", "#exp"),
            Item={
                "id": {"S": claim.key},
                "state": {"S": "claimed"},
                "owner": {"S": claim.owner},
                "expires": {"N": _seconds(now + self._lease_seconds)},
            },
            ExpressionAttributeValues={":now": {"N": str(math.floor(now))}},
        )
        # botocore repeats a write whose answer was lost: the item may be our own.
        if other is None or other.get("owner") == {"S": claim.owner}:
            return claim
        if other.get("state") == {"S": "done"}:
            return ClaimRefusal.DUPLICATE
        return ClaimRefusal.IN_FLIGHT

    def _done(self, claim: Claim) -> None:
        expires = _seconds(self._table.options.now() + self._seconds)
        # If another receiver claimed the id after our lease, its delivery is in progress.
        self._table.write(
            "update_item",
            "attribute_not_exists(#id) OR #owner = :owner",
            ("#id", "#state", "#owner", "#exp"),
            Key={"id": {"S": claim.key}},
            UpdateExpression="SET #state = :done, #owner = :owner, #exp = :expires",
            ExpressionAttributeValues={
                ":owner": {"S": claim.owner},
                ":done": {"S": "done"},
                ":expires": {"N": expires},
            },
        )

    def _release(self, claim: Claim) -> None:
        self._table.write(
            "delete_item",
            "#owner = :owner AND #state = :claimed",
            ("#owner", "#state"),
            Key={"id": {"S": claim.key}},
            ExpressionAttributeValues={
                ":owner": {"S": claim.owner},
                ":claimed": {"S": "claimed"},
            },
        )


def _seconds(at: float) -> str:
    """Return whole Unix seconds, rounded up: DynamoDB's TTL takes integers only."""
    return str(math.ceil(at))
