"""
The refreshes of one source: one at a time, numbered, with backoff after failures.

A recovery must not trust a refresh that began before its 401: the answer may have been
read just before the key was changed. `request` returns the number of the first refresh
that begins from now on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.core.keylife.backoff import backoff
from sidecar.core.keylife.messages import Command, Describe, StartTimer, Timer
from sidecar.errors import RefreshResult

JITTER: Final = 0.1
BACKOFF_JITTER: Final = 0.25
MISSING_BACKOFF: Final = (0.5, 24.0)
"""Seconds between refreshes while there is no key; with jitter at most 30 s."""
FAILED_BACKOFF: Final = (1.0, 300.0)
"""Seconds between refreshes that fail while there is a key."""
CONFIRM_SECONDS: Final = 5.0
"""An older version must be seen twice, this far apart, before it replaces a newer."""
REFRESHES_WITHIN_LIMIT: Final = 3
"""Refreshes that fit into `max_stale_seconds`, so that one failure is harmless."""

ANSWERED: Final = frozenset(
    {RefreshResult.UNCHANGED, RefreshResult.CHANGED, RefreshResult.INVALID}
)
"""The results of refreshes that the source answered."""
TRANSIENT: Final = frozenset({RefreshResult.THROTTLED, RefreshResult.UNREACHABLE})
"""The failures that may be over in a moment."""


@dataclass(frozen=True, slots=True)
class LifePolicy:
    """The settings of a credential's life."""

    refresh_seconds: float = 300.0
    max_stale_seconds: float = 0.0
    """0: the last good key is used without limit."""
    probing: bool = False
    """A probe is configured."""

    @property
    def interval(self) -> float:
        """The seconds between two refreshes, short enough for `max_stale_seconds`."""
        if not self.max_stale_seconds:
            return self.refresh_seconds
        within = self.max_stale_seconds / REFRESHES_WITHIN_LIMIT
        return min(self.refresh_seconds, within)


@dataclass(slots=True)
class RefreshSchedule:
    """Which refresh is under way, and when the next one begins."""

    number: int = 0
    """Refreshes that have begun."""
    busy: bool = False
    again: bool = False
    """Another refresh begins as soon as this one ends."""
    failures: int = 0
    """Refreshes that failed, in a row."""

    def begin(self) -> Sequence[Command]:
        """Begin a refresh, unless one is under way."""
        if self.busy:
            return ()
        self.number += 1
        self.busy = True
        self.again = False
        return (Describe(),)

    def request(self) -> tuple[int, Sequence[Command]]:
        """Return the number of the refresh that begins next, and its commands."""
        if self.busy:
            self.again = True
            return self.number + 1, ()
        commands = self.begin()
        return self.number, commands

    def includes(self, number: int) -> bool:
        """Return whether a refresh of this number or later runs or begins at once."""
        return self.busy and (self.number >= number or self.again)

    def end(self, *, failed: bool) -> None:
        """Record the end of a refresh."""
        self.busy = False
        self.failures = self.failures + 1 if failed else 0

    def next(self, policy: LifePolicy, *, has_key: bool, confirm: bool) -> Command:
        """
        Return the timer for the next refresh.

        Args:
            policy: The intervals.
            has_key: A key is in use.
            confirm: An older version was seen once and must be confirmed.
        """
        attempt = max(0, self.failures - 1)
        if not has_key:
            seconds, jitter = backoff(attempt, *MISSING_BACKOFF), BACKOFF_JITTER
        elif self.failures:
            seconds = min(backoff(attempt, *FAILED_BACKOFF), policy.interval)
            jitter = BACKOFF_JITTER
        else:
            seconds = CONFIRM_SECONDS if confirm else policy.interval
            jitter = JITTER
        return StartTimer(Timer.REFRESH, seconds, jitter)
