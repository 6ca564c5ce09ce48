"""
The ids that were delivered or are being delivered, and the store for one process.

Rule 1: a delivery needs a claim on its id, and one id has at most one claim.
Rule 2: `done` follows the app's 2xx. In every other case the claim is released or
expires, so that the sender's next attempt is delivered.
Rule 3: a store that cannot answer raises `StoreFailed`. A guess would deliver twice or
drop a delivery; the sender will retry.
Rule 4: only expired ids are forgotten. A store full of live ids raises `StoreFailed`,
because a forgotten id could be replayed.

`dynamodb.py` has the store for a fleet.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from sidecar.errors import SidecarError

DIGEST_BYTES: Final = 16
"""Ids are remembered as digests: 256-character ids would cost three times the memory."""


class ClaimRefusal(StrEnum):
    """Why an id cannot be claimed; the value is the metric label `result`."""

    DUPLICATE = "duplicate"
    IN_FLIGHT = "in_flight"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver one id, until it is done, released or expired."""

    key: bytes | str
    owner: str = ""
    """Distinguishes this claim from a later one on the same id, after this one expired."""


class StoreFailed(SidecarError):
    """The store of ids gave no answer, so the delivery must not be forwarded."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        """The reason and the remedy."""
        return f"{self.reason}; {self.remedy}"


class Window(Protocol):
    """The ids of one endpoint."""

    async def claim(self, id_: str) -> Claim | ClaimRefusal:
        """Claim an id, or return why it cannot be claimed. Raises StoreFailed."""
        ...

    async def done(self, claim: Claim) -> None:
        """Record that the app accepted the delivery. Raises StoreFailed."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give the id back for the sender's next attempt. Raises StoreFailed."""
        ...

    def abandon(self, claim: Claim) -> None:
        """Release without waiting and without raising: for a cancelled task."""
        ...


@dataclass(slots=True)
class MemoryIds:
    """
    The ids of this process; all endpoints share one limit.

    An id takes about 180 bytes, so 250,000 ids (0.7 deliveries a second for four days)
    take at most 45 MB.
    """

    limit: int
    now: Callable[[], float]
    """A monotonic clock, in seconds."""
    used: int = 0
    windows: "list[MemoryWindow]" = field(default_factory=list)

    def window(self, seconds: float) -> "MemoryWindow":
        """Open the window of one endpoint, which remembers an id for `seconds`."""
        window = MemoryWindow(self, seconds)
        self.windows.append(window)
        return window

    def reserve(self) -> None:
        """Reserve room for one id. Raises StoreFailed when the limit is reached."""
        if self.used >= self.limit:
            for window in self.windows:
                window.forget_expired()
        if self.used >= self.limit:
            reason = f"the memory of ids is full: {self.limit} are still live"
            raise StoreFailed(
                reason, 'use dedupe = "dynamodb:TABLE", or a shorter dedupe_seconds'
            )
        self.used += 1


class MemoryWindow:
    """The ids of one endpoint in this process."""

    def __init__(self, ids: MemoryIds, seconds: float) -> None:
        self._ids = ids
        self._seconds = seconds
        self._claimed: set[bytes] = set()
        # All ids have one lifetime and the clock is monotonic: the insertion order is
        # the order of expiry.
        self._expires: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"MemoryWindow({len(self._claimed)} claimed, {len(self._expires)} done)"

    async def claim(self, id_: str) -> Claim | ClaimRefusal:
        """Claim an id. It awaits nothing, so no other task can interfere."""
        self.forget_expired()
        key = hashlib.blake2b(id_.encode(), digest_size=DIGEST_BYTES).digest()
        if key in self._expires:
            return ClaimRefusal.DUPLICATE
        if key in self._claimed:
            return ClaimRefusal.IN_FLIGHT
        self._ids.reserve()
        self._claimed.add(key)
        return Claim(key)

    async def done(self, claim: Claim) -> None:
        """Record the id; the claim has reserved its room."""
        key = self._held(claim)
        self._claimed.remove(key)
        self._expires[key] = self._ids.now() + self._seconds

    async def release(self, claim: Claim) -> None:
        """Forget the claim and give its room back."""
        self.abandon(claim)

    def abandon(self, claim: Claim) -> None:
        """Forget the claim and give its room back."""
        self._claimed.remove(self._held(claim))
        self._ids.used -= 1

    def forget_expired(self) -> None:
        """Forget the expired ids and give their room back."""
        now = self._ids.now()
        expired = []
        for key, expires in self._expires.items():
            if expires > now:
                break
            expired.append(key)
        for key in expired:
            del self._expires[key]
        self._ids.used -= len(expired)

    def _held(self, claim: Claim) -> bytes:
        if not isinstance(claim.key, bytes):
            message = "the claim belongs to another store"
            raise TypeError(message)
        return claim.key
