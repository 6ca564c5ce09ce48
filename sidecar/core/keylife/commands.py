"""
What the life of a credential wants done.

Each `Describe`, `Fetch` and `Probe` is answered by exactly one event, however it ends.
"""

from dataclasses import dataclass

from sidecar.core.keylife.messages import Cutover, State, Timer, Verdict, VersionStage
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask the source for its versions."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the source for a value."""

    stage: VersionStage


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the API about a key."""

    credential: Credential


@dataclass(frozen=True, slots=True)
class SetCurrent:
    """Give this key to calls from now on; None: give none."""

    credential: Credential | None


@dataclass(frozen=True, slots=True)
class ResolveCalls:
    """Tell the waiting calls what becomes of them."""

    tickets: tuple[int, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Set an alarm, in place of an earlier one of the same name."""

    timer: Timer
    seconds: float
    spread: float = 0.0
    """The part of `seconds` by which chance may move the alarm, either way."""


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Drop an alarm."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class RefreshFinished:
    """A look at the source is over."""

    number: int
    result: RefreshResult


@dataclass(frozen=True, slots=True)
class CountCutover:
    """Count a change of keys."""

    cutover: Cutover
    credential: Credential


@dataclass(frozen=True, slots=True)
class ReportUnexpected:
    """Log and count an event or a change of state that the table does not list."""

    event: str
    before: State
    after: State


Command = (
    Describe
    | Fetch
    | Probe
    | SetCurrent
    | ResolveCalls
    | StartTimer
    | CancelTimer
    | RefreshFinished
    | CountCutover
    | ReportUnexpected
)
