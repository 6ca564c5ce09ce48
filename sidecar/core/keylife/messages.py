"""
The words in which the life of a credential is told: states, events, verdicts.

- A state is what the metric and the status page show.
- An event is something that happened; it carries the time, in monotonic seconds.
  What the machine answers to it is in `sidecar.core.keylife.commands`.
- A verdict is what becomes of a call that the API answered with 401.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult


class State(StrEnum):
    """What can be said of the key in use; the metric label `state`."""

    MISSING = "missing"
    """There is no key yet."""
    FRESH = "fresh"
    """The source answers, and the API refused nothing that it gave."""
    STALE = "stale"
    """The source is away: the last good key serves."""
    ROLLED_BACK = "rolled_back"
    """The source's newest key is refused: the key before it serves, proven."""
    REJECTED = "rejected"
    """The newest key is refused, by our rules or by the API; an older key is in use."""
    REFUSED = "refused"
    """No key works: the service receives the API's own 401."""
    EXPIRED = "expired"
    """The source was away for longer than allowed: no key is given out."""


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
    """The alarms that the machine may set; each has its event."""

    REFRESH = "look"
    PROBE = "probe"
    RECOVERY = "round"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Replay:
    """Send the call once more, with this credential."""

    credential: Credential
    how: Literal["replay", "rollback"]
    trial: bool = False
    """The replay is itself the proof of the key: its outcome must be reported."""


@dataclass(frozen=True, slots=True)
class PassThrough:
    """Give the service the API's own 401."""


Verdict = Replay | PassThrough


@dataclass(frozen=True, slots=True)
class Started:
    """The process begins."""

    at: float


@dataclass(frozen=True, slots=True)
class RefreshDue:
    """It is time for the next look at the source."""

    at: float


@dataclass(frozen=True, slots=True)
class RefreshRequested:
    """Someone wants a look now: a person, a file that moved, a clock that jumped."""

    at: float


@dataclass(frozen=True, slots=True)
class Described:
    """The source named its versions."""

    at: float
    current: str
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The source gave a key, and it keeps the rules for keys."""

    at: float
    stage: VersionStage
    credential: Credential


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """The source gave a value that breaks the rules for keys."""

    at: float
    stage: VersionStage
    version_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The source did not answer; `stage` is None when it should have described."""

    at: float
    stage: VersionStage | None
    result: RefreshResult


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """It is time to probe again."""

    at: float


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe ended: proved, refused with 401, or None for no answer."""

    at: float
    credential: Credential
    proved: bool | None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """
    The API answered 401 to a call with `used`; without ticket nobody waits.

    `call` is what was called: method and path; empty when it is not known.
    """

    at: float
    used: Credential
    ticket: int | None = None
    call: bytes = b""


@dataclass(frozen=True, slots=True)
class CallAbandoned:
    """The call with this ticket waits no longer."""

    at: float
    ticket: int


@dataclass(frozen=True, slots=True)
class OutcomeReported:
    """A call was answered: what it says about its key, None for no answer."""

    at: float
    credential: Credential
    proved: bool | None
    call: bytes = b""


@dataclass(frozen=True, slots=True)
class RecoveryDue:
    """It is time for the next step of a recovery."""

    at: float


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The source has been away for as long as allowed."""

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


def proof_of(status: int) -> bool | None:
    """
    Tell what an answer of the API says about the key it was asked with.

    401 refuses it. 403 and 404 prove it: the API knew who asked. An overloaded or
    broken API, or a gateway before it, may answer before it looked at the key, so
    408, 429 and 5xx say nothing, and neither does 0, the unavailable_code of an answer.
    """
    if status == 401:  # noqa: PLR2004 - RFC 9110, 15.5.2
        return False
    answered = 200 <= status < 500 and status not in {408, 429}  # noqa: PLR2004 - RFC 9110, 15; RFC 6585, 4
    return True if answered else None
