"""
The ids of a fleet, in one DynamoDB table (partition key `id`, a string).

Rule 1: every decision is one conditional write, so that DynamoDB, not we, settles who
was first. Nothing is read before it is written.
Rule 2: a claim is a lease. A receiver that dies in mid-delivery takes nothing with it:
when its lease has run out, the sender's next attempt is delivered.
Rule 3: `expires` is compared here, by us. DynamoTable TTL may run on the same attribute, but
it deletes up to days late and is housekeeping only.

    id       job # endpoint # webhook-id
    state    claimed | done
    owner    who claimed it; makes a write that botocore sent twice recognise itself
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
"""What a lease is longer than a delivery may take: two writes and skewed clocks."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """
    Whose ids they are: one job's, at one endpoint of it.

    A sender uses one id for all that it tells of an event. Without the job a service
    would be told "duplicate" of what another one got, and never get it.
    """

    job: str
    endpoint: str

    def key(self, id_: str) -> str:
        """Return the key of an id: no part has a #, so no two share one."""
        return f"{self.job}#{self.endpoint}#{id_}"


class TableWindow:
    """The ids of one endpoint in a table."""

    def __init__(
        self,
        table: DynamoTable,
        space: Namespace,
        seconds: float,
        delivery_seconds: float,
    ) -> None:
        self._table = table
        self._space = space
        self._seconds = seconds
        self._lease_seconds = delivery_seconds + LEASE_MARGIN_SECONDS

    async def claim(self, id_: str) -> Claim | ClaimRefusal:
        """Claim an id, or tell why not. Raises StoreFailed."""
        claim = Claim(self._space.key(id_), self._table.options.token())
        future = self._table.submit(lambda: self._claim(claim))
        try:
            return await self._table.wait_for(future)
        except BaseException:
            # Nobody will deliver it: give the id back as soon as the write is through.
            future.add_done_callback(self._undo)
            raise

    async def done(self, claim: Claim) -> None:
        """Remember that the app has it. Raises StoreFailed."""
        future = self._table.submit(lambda: self._done(claim))
        try:
            await self._table.wait_for(future)
        except BaseException:
            # We stop, or all threads are busy: the app has it, so write it all the same.
            if future.cancel():
                self._later(lambda: self._done(claim))
            raise

    async def release(self, claim: Claim) -> None:
        """Let the sender's next attempt in. Raises StoreFailed."""
        await self._table.wait_for(self._table.submit(lambda: self._release(claim)))

    def abandon(self, claim: Claim) -> None:
        """Release in a thread; when that fails, the lease runs out by itself."""
        self._later(lambda: self._release(claim))

    def _later(self, job: Callable[[], None]) -> bool:
        """Run a job in a thread, without waiting; False when no more are taken."""
        try:
            self._table.submit(job)
        except RuntimeError:
            return False
        return True

    def _undo(self, future: Future[Claim | ClaimRefusal]) -> None:
        """Release a claim that came too late; called by its thread."""
        if future.cancelled() or future.exception() is not None:
            return
        claim = future.result()
        if isinstance(claim, Claim) and not self._later(lambda: self._release(claim)):
            # The table is being closed, and waits for this thread.
            with contextlib.suppress(StoreFailed):
                self._release(claim)

    # What follows runs in the threads.

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
        # botocore repeats a write whose answer was lost: then the one against us is us.
        if other is None or other.get("owner") == {"S": claim.owner}:
            return claim
        if other.get("state") == {"S": "done"}:
            return ClaimRefusal.DUPLICATE
        return ClaimRefusal.IN_FLIGHT

    def _done(self, claim: Claim) -> None:
        expires = _seconds(self._table.options.now() + self._seconds)
        # Not when somebody claimed it after our lease: their delivery is under way.
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
    """Return whole Unix seconds, never earlier than meant: what table TTL requires."""
    return str(math.ceil(at))
