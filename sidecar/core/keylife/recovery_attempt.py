"""
One recovery from 401s: what it waits for, who waits for it, what was tried.

`sidecar.core.keylife.recovery` takes the steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sidecar.core.keylife.commands import Command, ResolveCalls, StartTimer
from sidecar.core.keylife.messages import Replay, Timer
from sidecar.core.secrecy.secret import Credential

HAND_OVER_SECONDS: Final = 3.0
"""A trial that takes longer is handed to a second call as well."""


class Phase(StrEnum):
    """What a round waits for."""

    REFRESH = "look"
    CHECK = "check"
    PROBE_CANDIDATE = "newer"
    FETCH = "fetch"
    PROVE = "prove"
    TRIAL = "trial"
    BACKOFF = "pause"


@dataclass(slots=True)
class RecoveryAttempt:
    """One recovery, shared by all calls that drew a 401 on the key in use."""

    deadline: float
    phase: Phase = Phase.REFRESH
    calls: set[bytes] = field(default_factory=set)
    """What they called."""
    tickets: dict[int, Credential] = field(default_factory=dict)
    """The calls that wait, with the key that each had carried."""
    look: int | None = None
    """The first look whose answer counts; None before one was asked for."""
    asked: bool = False
    """It was asked for, or could not be afforded."""
    pending: bool = False
    """The source may still tell something new."""
    answered: bool = False
    """The source told where its stages are."""
    pauses: int = 0
    checked: bool = False
    newer_checked: bool = False
    tried: set[str] = field(default_factory=set)
    """The versions that were turned to besides the one in use."""
    other: Credential | None = None
    carriers: int = 0
    """Calls that are out with the trial."""

    def join(self, at: float, used: Credential, ticket: int) -> Sequence[Command]:
        """Let a call wait with the others; it may have to carry the trial."""
        self.tickets[ticket] = used
        if self.phase is not Phase.TRIAL or len(self.tickets) > 1:
            return ()
        return (self._hand_over(at),) if self.carriers else self.hand(at)

    def begin_trial(self, at: float, other: Credential) -> Sequence[Command]:
        """Let a call find out whether the other key works."""
        self.phase = Phase.TRIAL
        self.other = other
        self.carriers = 0
        return self.hand(at)

    def hand(self, at: float) -> Sequence[Command]:
        """Hand the trial to the call that has waited longest."""
        if not self.tickets or self.other is None:
            return (StartTimer(Timer.RECOVERY, self._left(at)),)
        ticket = next(iter(self.tickets))
        del self.tickets[ticket]
        self.carriers += 1
        verdict = Replay(self.other, "rollback", trial=True)
        return (ResolveCalls((ticket,), verdict), self._hand_over(at))

    def _hand_over(self, at: float) -> Command:
        """Set the alarm to hand the trial to a further call."""
        return StartTimer(Timer.RECOVERY, min(HAND_OVER_SECONDS, self._left(at)))

    def _left(self, at: float) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self.deadline - at)
