"""
RefreshSchedule at the source: one at a time, and who waits for which.

Whoever needs news must not be content with a look that began before the need did:
its answer may have been read just before the key was changed. `want` gives the
number of the look that will do, the first one to begin from now on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.core.keylife.backoff import backoff
from sidecar.core.keylife.commands import Command, Describe, StartTimer
from sidecar.core.keylife.messages import Timer

JITTER: Final = 0.1
"""RefreshSchedule are spread by a tenth: a fleet must not knock at once."""
BACKOFF_JITTER: Final = 0.25
MISSING_BACKOFF: Final = (0.5, 24.0)
AWAY_BACKOFF: Final = (1.0, 300.0)
"""Seconds between looks that fail: the first and the longest. With chance, the
longest wait for a first key is 30 s."""
SECOND_SIGHT_SECONDS: Final = 5.0
"""An older version must be seen twice, so far apart, before it replaces a newer."""
LOOKS_WITHIN_LIMIT: Final = 3
"""RefreshSchedule that fit into max_stale: one that fails is not the end."""


@dataclass(frozen=True, slots=True)
class LifePolicy:
    """What a life is lived by."""

    refresh_seconds: float = 300.0
    max_stale_seconds: float = 0.0
    """0: the last good key is served for ever."""
    probing: bool = False
    """There is a probe."""

    @property
    def look_seconds(self) -> float:
        """The time between two looks, short enough for the limit."""
        if not self.max_stale_seconds:
            return self.refresh_seconds
        within = self.max_stale_seconds / LOOKS_WITHIN_LIMIT
        return min(self.refresh_seconds, within)


@dataclass(slots=True)
class RefreshSchedule:
    """The looks of one source."""

    number: int = 0
    """RefreshSchedule that have begun."""
    busy: bool = False
    again: bool = False
    """Another look begins as soon as this one is over."""
    failures: int = 0
    """RefreshSchedule that failed, in a row."""

    def begin(self) -> Sequence[Command]:
        """Begin a look, unless there is one."""
        if self.busy:
            return ()
        self.number += 1
        self.busy = True
        self.again = False
        return (Describe(),)

    def want(self) -> tuple[int, Sequence[Command]]:
        """Return the number of the look that begins next, and how to begin it."""
        if self.busy:
            self.again = True
            return self.number + 1, ()
        commands = self.begin()
        return self.number, commands

    def serves(self, number: int) -> bool:
        """Tell whether a look under way, or due at once, has this number or more."""
        return self.busy and (self.number >= number or self.again)

    def end(self, *, failed: bool) -> None:
        """The look is over."""
        self.busy = False
        self.failures = self.failures + 1 if failed else 0

    def next(self, policy: LifePolicy, having: bool, *, again: bool) -> Command:
        """
        Set the alarm for the next look.

        Args:
            policy: How often the source is looked at.
            having: There is a key.
            again: An older version was seen, and must be seen twice.
        """
        turn = max(0, self.failures - 1)
        if not having:
            return StartTimer(
                Timer.REFRESH, backoff(turn, *MISSING_BACKOFF), BACKOFF_JITTER
            )
        if self.failures:
            seconds = min(backoff(turn, *AWAY_BACKOFF), policy.look_seconds)
            return StartTimer(Timer.REFRESH, seconds, BACKOFF_JITTER)
        seconds = SECOND_SIGHT_SECONDS if again else policy.look_seconds
        return StartTimer(Timer.REFRESH, seconds, JITTER)
