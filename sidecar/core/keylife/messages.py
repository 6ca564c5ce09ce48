"""
The states, events, commands and verdicts of a credential's life.

- A state is what the metric and the status page show.
- An event is something that happened. It carries the time, in monotonic seconds.
- A command is something that the machine wants done.
- A verdict is what happens to a call that the API answered with 401.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult


class State(StrEnum):
    """The state of the key in use; the metric label `state`."""

    MISSING = "missing"
    """No key has been read yet."""
    FRESH = "fresh"
    """The newest key is in use."""
    STALE = "stale"
    """The source does not answer; the last good key is in use."""
    REJECTED = "rejected"
    """The API or our validation rejects the newest key; an older key is in use."""
    ROLLED_BACK = "rolled_back"
    """The newest key was in use and stopped working; the previous key is in use."""
    REFUSED = "refused"
    """No key works; the service receives the API's own 401."""
    EXPIRED = "expired"
    """The key may no longer be used; calls get 503."""


class VersionStage(StrEnum):
    """The staging labels of AWS Secrets Manager; a file has only the first."""

    CURRENT = "AWSCURRENT"
    PREVIOUS = "AWSPREVIOUS"
    PENDING = "AWSPENDING"


class Cutover(StrEnum):
    """How a change of keys ended; the metric label `result`."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    RESTORED = "restored"


class Timer(StrEnum):
    """The timers that the machine starts. Each has an event of its own."""

    REFRESH = "refresh"
    PROBE = "probe"
    RECOVERY = "recovery"
    LIMIT = "limit"


# Verdicts.


@dataclass(frozen=True, slots=True)
class Replay:
    """Send the call once more, with this credential."""

    credential: Credential
    how: Literal["replay", "rollback"]
    trial: bool = False
    """The replay itself tests the key: its outcome must be reported."""


@dataclass(frozen=True, slots=True)
class PassThrough:
    """Return the API's own 401 to the service."""


Verdict = Replay | PassThrough


# Events.


@dataclass(frozen=True, slots=True)
class Started:
    """The process has started."""

    at: float


@dataclass(frozen=True, slots=True)
class RefreshDue:
    """The refresh timer fired."""

    at: float


@dataclass(frozen=True, slots=True)
class RefreshRequested:
    """A person, a changed file or a clock that jumped requests a refresh now."""

    at: float


@dataclass(frozen=True, slots=True)
class Described:
    """The source returned the versions of its stages."""

    at: float
    current: str
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The source returned a value, and it passed validation."""

    at: float
    stage: VersionStage
    credential: Credential


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """The source returned a value that validation rejects."""

    at: float
    stage: VersionStage
    version_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The source returned nothing; `stage` is None when `Describe` failed."""

    at: float
    stage: VersionStage | None
    result: RefreshResult


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """The probe timer fired."""

    at: float


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe ended. True: proven; False: 401; None: no usable answer."""

    at: float
    credential: Credential
    proved: bool | None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """
    The API answered 401 to a call that carried `used`.

    Without a ticket, no call waits for the verdict. `call` is the method and path of
    the call; empty when they are not known.
    """

    at: float
    used: Credential
    ticket: int | None = None
    call: bytes = b""


@dataclass(frozen=True, slots=True)
class CallAbandoned:
    """The call with this ticket no longer waits for a verdict."""

    at: float
    ticket: int


@dataclass(frozen=True, slots=True)
class OutcomeReported:
    """A call ended. True: its key is proven; False: 401; None: no usable answer."""

    at: float
    credential: Credential
    proved: bool | None
    call: bytes = b""


@dataclass(frozen=True, slots=True)
class RecoveryDue:
    """The recovery timer fired."""

    at: float


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The source has not answered for `max_stale_seconds`."""

    at: float


Event = (
    Started
    | RefreshDue
    | RefreshRequested
    | Described
    | Loaded
    | InvalidValue
    | Failed
    | ProbeDue
    | Probed
    | Unauthorized
    | CallAbandoned
    | OutcomeReported
    | RecoveryDue
    | LimitReached
)


# Commands. Each `Describe`, `Fetch` and `Probe` is followed by exactly one event.


@dataclass(frozen=True, slots=True)
class Describe:
    """Read the versions from the source."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read the value of a stage from the source."""

    stage: VersionStage


@dataclass(frozen=True, slots=True)
class Probe:
    """Call the API with this key to find out whether it works."""

    credential: Credential


@dataclass(frozen=True, slots=True)
class SetCurrent:
    """Use this key for calls from now on; None: calls get 503."""

    credential: Credential | None


@dataclass(frozen=True, slots=True)
class ResolveCalls:
    """Give the waiting calls with these tickets their verdict."""

    tickets: tuple[int, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Start a timer, replacing an earlier one of the same name."""

    timer: Timer
    seconds: float
    jitter: float = 0.0
    """The fraction of `seconds` by which chance may shorten or lengthen the timer."""


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Cancel a timer."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class RefreshFinished:
    """Report the end of a refresh."""

    number: int
    result: RefreshResult


@dataclass(frozen=True, slots=True)
class CountCutover:
    """Count a change of keys."""

    cutover: Cutover
    credential: Credential


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
)


def proof_of(status: int) -> bool | None:
    """
    Return what an answer's status code proves about the key of the call.

    False: 401 refuses the key (RFC 9110, section 15.5.2). True: every other 2xx, 3xx
    and 4xx proves it, 403 and 404 too. None: 408, 429 and 5xx prove nothing, because a
    gateway may send them before the key is checked; 0 stands for no answer.
    """
    if status == 401:  # noqa: PLR2004 - RFC 9110, 15.5.2
        return False
    answered = 200 <= status < 500 and status not in {408, 429}  # noqa: PLR2004 - RFC 9110, 15; RFC 6585, 4
    return True if answered else None
