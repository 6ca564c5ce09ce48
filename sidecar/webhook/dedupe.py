"""
Which ids were delivered, and which are being delivered right now.

Rule 1: nothing is delivered without a claim on its id, and one id has one claim.
Rule 2: `done` comes after the app's 2xx, never before; whatever else happens, the claim
is released or runs out, so that the sender's next attempt is delivered.
Rule 3: a store that cannot answer raises `StoreFailed`. Guessing would deliver twice
or, worse, drop a delivery; the sender will come again.
Rule 4: only what has expired is forgotten. A store that is full of live ids is a store
that cannot answer: to forget one would let its replay in.

This file has the words and the store for one process; `dynamodb.py` the fleet's.
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
    """The right to deliver one id, until it is done, released or runs out."""

    key: bytes | str
    owner: str = ""
    """Tells our claim from one that somebody else made after ours ran out."""


class StoreFailed(SidecarError):
    """A store of ids gave no answer, so nothing may be delivered."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        """What happened and what to do."""
        return f"{self.reason}; {self.remedy}"


class Window(Protocol):
    """The ids of one endpoint."""

    async def claim(self, id_: str) -> Claim | ClaimRefusal:
        """Claim an id, or tell why not. Raises StoreFailed."""
        ...

    async def done(self, claim: Claim) -> None:
        """Remember that the app has it. Raises StoreFailed."""
        ...

    async def release(self, claim: Claim) -> None:
        """Let the sender's next attempt in. Raises StoreFailed."""
        ...

    def abandon(self, claim: Claim) -> None:
        """Release without waiting and without raising: for a task being cancelled."""
        ...


@dataclass(slots=True)
class MemoryIds:
    """
    The ids of this process: every endpoint's count against one bound.

    An id takes about 180 bytes, so 250,000 of them (0.7 deliveries a second for four
    days) at most 45 MB.
    """

    limit: int
    now: Callable[[], float]
    """A clock that never goes back; nothing here outlives the process."""
    used: int = 0
    windows: "list[MemoryWindow]" = field(default_factory=list)

    def window(self, seconds: float) -> "MemoryWindow":
        """Open the window of one endpoint, in which an id is remembered so long."""
        window = MemoryWindow(self, seconds)
        self.windows.append(window)
        return window

    def reserve(self) -> None:
        """Take room for one id. Raises StoreFailed when all are live."""
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
        # One lifetime for all and a clock that never goes back: the order in which
        # they were put in is the order in which they expire.
        self._expires: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"MemoryWindow({len(self._claimed)} claimed, {len(self._expires)} done)"

    async def claim(self, id_: str) -> Claim | ClaimRefusal:
        """Claim an id; nothing is awaited, so no other task comes between."""
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
        """Remember it; its room was reserved by the claim."""
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
        """Give back the room of ids that nobody will send again."""
        now = self._ids.now()
        gone = []
        for key, expires in self._expires.items():
            if expires > now:
                break
            gone.append(key)
        for key in gone:
            del self._expires[key]
        self._ids.used -= len(gone)

    def _held(self, claim: Claim) -> bytes:
        if not isinstance(claim.key, bytes):
            message = "a claim of another store"
            raise TypeError(message)
        return claim.key
