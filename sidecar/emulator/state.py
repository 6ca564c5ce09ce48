"""
The state and the counters of the emulated API, shared by its handlers.

The handlers run in one event loop, the handle of a test in another thread: fields are
replaced or counted in single steps, so that no lock is needed.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from sidecar.emulator.key_ring import KeyRing

ECHOES_KEPT: Final = 256


class Cut(StrEnum):
    """Where a call is cut off by closing its connection."""

    NO = ""
    HEAD = "head"
    """Before any byte of the answer."""
    BODY = "body"
    """Head and half of the announced body sent."""


@dataclass(frozen=True)
class Faults:
    """Faults to inject into calls whose path begins with `path`."""

    path: str = ""
    """Raw prefix such as `/v1/contacts`; empty = every call."""
    delay_seconds: float = 0.0
    status: int = 0
    """Answer this (500, 503, 429...) without checking the key; 0 = off."""
    unauthorized: bool = False
    """401 for good keys too."""
    forbidden: bool = False
    """403 for keys with every scope too."""
    cut: Cut = Cut.NO
    times: int = 0
    """For so many calls, then no more; 0 = until changed."""

    @property
    def any(self) -> bool:
        """Whether any fault is switched on."""
        return self != Faults(path=self.path, times=self.times)


NO_FAULTS: Final = Faults()


@dataclass(frozen=True)
class Echo:
    """One call to `/v1/echo` as it came in; `headers` in order, with repeats."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body_bytes: int
    body_sha256: str


@dataclass
class ApiState:
    """State, switches and counts."""

    ring: KeyRing
    contacts: dict[str, dict[str, object]] = field(default_factory=dict)
    faults: Faults = NO_FAULTS
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(key id or "-", status) -> calls; a call without an answer counts as 0."""
    echoes: deque[Echo] = field(default_factory=lambda: deque(maxlen=ECHOES_KEPT))
    inflight: int = 0
    cancelled: int = 0
    """Calls whose client disconnected before the answer was complete."""

    @classmethod
    def create(
        cls, now: Callable[[], float], state_dir: Path | None = None
    ) -> "ApiState":
        """Return the default state: one service account and 25 contacts."""
        file = None if state_dir is None else state_dir / "keys.json"
        contacts: dict[str, dict[str, object]] = {
            f"c_{n:05d}": {
                "id": f"c_{n:05d}",
                "name": f"Contact {n}",
                "channel": "whatsapp" if n % 2 else "email",
                "tags": ["lead"],
            }
            for n in range(1, 26)
        }
        return cls(ring=KeyRing(now, file), contacts=contacts)

    def fault_for(self, target: str) -> Faults:
        """Return the faults for this call and count `times` down."""
        faults = self.faults
        if faults is NO_FAULTS or not faults.any or not target.startswith(faults.path):
            return NO_FAULTS
        if faults.times:
            left = faults.times - 1
            self.faults = replace(faults, times=left) if left else NO_FAULTS
        return faults

    def by_status(self) -> dict[int, int]:
        """Count calls by status; 0 = cut or cancelled."""
        total: Counter[int] = Counter()
        for (_, status), calls in list(self.counts.items()):
            total[status] += calls
        return dict(total)

    def by_key(self) -> dict[str, int]:
        """Count calls by key id, whatever the answer; "-" = no known key."""
        total: Counter[str] = Counter()
        for (key_id, _), calls in list(self.counts.items()):
            total[key_id] += calls
        return dict(total)


async def rest(seconds: float) -> None:
    """Sleep, if `seconds` is positive."""
    if seconds > 0:
        await asyncio.sleep(seconds)
