"""
The life of one credential.

Rule 1: only `handle` assigns `state`, and `_judge` derives it from the facts.
Rule 2: this file knows neither the time nor the network nor how a secret is fetched. It
    turns events into commands; `sidecar.credential.manager` obeys them.
Rule 3: an event that `TRANSITIONS` does not list is obeyed all the same, logged and
    counted. A forgotten case must never cost calls that a working key could serve.

In every state but MISSING and EXPIRED, calls get a key. STALE: a key that could not be
refreshed for a while is usually right. REFUSED: the API's own 401 reaches the service.
EXPIRED fails closed: the key may have been revoked.
`sidecar.core.keylife.recovery` handles 401s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from sidecar.core.keylife.commands import (
    CancelTimer,
    Command,
    Fetch,
    RefreshFinished,
    ReportUnexpected,
    ResolveCalls,
    SetCurrent,
    StartTimer,
)
from sidecar.core.keylife.cutover import Cutovers
from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import (
    CallAbandoned,
    Described,
    Event,
    Failed,
    InvalidValue,
    LimitReached,
    Loaded,
    OutcomeReported,
    PassThrough,
    Probed,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    RefreshRequested,
    Replay,
    Started,
    State,
    Timer,
    Unauthorized,
    Verdict,
    VersionStage,
)
from sidecar.core.keylife.recovery import Recovery
from sidecar.core.keylife.refresh import (
    SECOND_SIGHT_SECONDS,
    LifePolicy,
    RefreshSchedule,
)
from sidecar.core.keylife.table import TRANSITIONS
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import Code, RefreshResult

__all__ = [
    "TRANSITIONS",
    "LifePolicy",
    "Lifecycle",
    "PassThrough",
    "Replay",
    "State",
    "Verdict",
]


@dataclass(slots=True)
class Lifecycle:
    """The machine: `handle` takes an event and returns what to do about it."""

    policy: LifePolicy
    state: State = State.MISSING
    keys: HeldKeys = field(default_factory=HeldKeys)
    refresh_schedule: RefreshSchedule = field(default_factory=RefreshSchedule)
    recovery: Recovery = field(init=False)
    cutovers: Cutovers = field(init=False)
    away: bool = False
    """The last look failed."""
    contact: float | None = None
    """When the source last answered a look."""
    expired: bool = False
    older: tuple[str, float] | None = None
    """An older version that was seen once, and when."""
    _used: Credential | None = None

    def __post_init__(self) -> None:
        probing = self.policy.probing
        self.recovery = Recovery(self.keys, self.refresh_schedule, probing)
        self.cutovers = Cutovers(self.keys, self.recovery, probing)

    @property
    def unavailable_code(self) -> Code:
        """Why there is no key, when there is none."""
        if self.state is State.EXPIRED:
            return Code.CREDENTIAL_EXPIRED
        return Code.CREDENTIAL_UNAVAILABLE

    def handle(self, event: Event) -> Sequence[Command]:
        """Take in what happened and return what to do, in order."""
        before = self.state
        commands = self._obey(event)
        self.state = self._judge()
        commands = [c for c in commands if not isinstance(c, ResolveCalls) or c.tickets]
        if self.state not in TRANSITIONS.get((before, type(event)), ()):
            name = type(event).__name__
            commands.append(ReportUnexpected(name, before, self.state))
        given = None if self.expired else self.keys.in_use
        if given is self._used:
            return commands
        # Before any answer: a call that is sent again must find the key in use.
        self._used = given
        return (SetCurrent(given), *commands)

    def restart(self) -> Sequence[Command]:
        """
        Return what puts the machine back to work after an error of ours.

        The keys stay. Waiting calls get the API's 401, and the source is read again soon.
        """
        commands = self.recovery.abandon()
        self.refresh_schedule.end(failed=True)
        self.refresh_schedule.again = False
        having = self.keys.in_use is not None
        following = self.refresh_schedule.next(self.policy, having, again=False)
        return (*commands, following)

    def _judge(self) -> State:
        """Say what the facts amount to; what needs a person most comes first."""
        keys = self.keys
        if keys.in_use is None:
            return State.MISSING
        if self.expired:
            return State.EXPIRED
        if keys.refused:
            return State.REFUSED
        if keys.rolled_back:
            return State.ROLLED_BACK
        if keys.candidate_rejected or keys.newest_spoiled:
            return State.REJECTED
        return State.STALE if self.away else State.FRESH

    def _obey(self, event: Event) -> Sequence[Command]:  # noqa: C901, PLR0911, PLR0912 - one arm per event
        """Turn an event into commands."""
        match event:
            case Started() | RefreshDue():
                return self.refresh_schedule.begin()
            case RefreshRequested():
                return (*self.refresh_schedule.want()[1], *self.cutovers.probe_again())
            case Described():
                return self._described(event)
            case Loaded():
                return self._loaded(event)
            case InvalidValue():
                return self._spoiled(event)
            case Failed():
                return self._failed(event)
            case ProbeDue():
                return self.cutovers.probe_again()
            case Probed():
                return self.cutovers.probed(event)
            case Unauthorized():
                return self._challenged(event)
            case CallAbandoned():
                self.recovery.call_abandoned(event.ticket)
                return ()
            case OutcomeReported():
                return self.recovery.outcome_reported(event)
            case RecoveryDue():
                return self.recovery.due(event.at)
            case LimitReached():
                return self._limit(event.at)
            case other:
                assert_never(other)

    def _described(self, event: Described) -> Sequence[Command]:
        """Fetch the value only when the version of AWSCURRENT is another one."""
        keys, at = self.keys, event.at
        keys.previous_id = event.previous
        if self.older is not None and self.older[0] != event.current:
            self.older = None
        if event.current == keys.newest:
            if not keys.newest_spoiled:
                return self._end(at, RefreshResult.UNCHANGED)
            return self._end(at, RefreshResult.INVALID, self._instead())
        if keys.in_use is not None and event.current == keys.in_use.version_id:
            return self._end(at, RefreshResult.CHANGED, keys.settle_on_use())
        return (Fetch(VersionStage.CURRENT),)

    def _loaded(self, event: Loaded) -> Sequence[Command]:
        """Take in a key."""
        keys, at, credential = self.keys, event.at, event.credential
        if event.stage is not VersionStage.CURRENT:
            if keys.in_use is not None:
                return self.recovery.previous(at, credential)
            return keys.roll_back(credential)
        if credential.version_id == keys.newest:
            return self._end(at, RefreshResult.UNCHANGED)
        if same(credential, keys.in_use):
            return self._end(at, RefreshResult.CHANGED, keys.relabel(credential))
        known = not self.cutovers.is_lost() and keys.is_older(credential)
        if known and self._first_sight(at, credential):
            return self._end(at, RefreshResult.UNCHANGED)
        self.older = None
        return self._end(at, RefreshResult.CHANGED, self.cutovers.consider(credential))

    def _first_sight(self, at: float, credential: Credential) -> bool:
        """
        Tell whether this older version is seen for the first time.

        An answer that was read before a change may come after it, and must not undo
        it. But a person may move AWSCURRENT back: then the next look says so too.
        """
        version, since = self.older or ("", at)
        if version != credential.version_id:
            self.older = (credential.version_id, at)
            return True
        return at - since < SECOND_SIGHT_SECONDS / 2

    def _spoiled(self, event: InvalidValue) -> Sequence[Command]:
        """Take in that a value breaks a rule."""
        if event.stage is not VersionStage.CURRENT:
            return self.recovery.previous(event.at, None)
        self.keys.note_spoiled(event.version_id)
        return self._end(event.at, RefreshResult.INVALID, self._instead())

    def _instead(self) -> Sequence[Command]:
        """AWSCURRENT is useless: with nothing in use, serve what was before it."""
        if self.keys.in_use is not None or self.keys.previous_id is None:
            return ()
        return (Fetch(VersionStage.PREVIOUS),)

    def _failed(self, event: Failed) -> Sequence[Command]:
        """Take in that the source did not answer."""
        if event.stage is VersionStage.PREVIOUS:
            passing = event.result in {
                RefreshResult.THROTTLED,
                RefreshResult.UNREACHABLE,
            }
            return self.recovery.previous(event.at, None, passing=passing)
        self.away = True
        limit: Sequence[Command] = ()
        if self.policy.max_stale_seconds and self.contact is not None:
            left = self.contact + self.policy.max_stale_seconds - event.at
            limit = (
                (StartTimer(Timer.LIMIT, max(0.0, left)),) if self.keys.in_use else ()
            )
        return self._end(event.at, event.result, limit)

    def _end(
        self, at: float, result: RefreshResult, commands: Sequence[Command] = ()
    ) -> Sequence[Command]:
        """End a look, tell who waits for it, and set the alarm for the next."""
        failed = result not in {
            RefreshResult.UNCHANGED,
            RefreshResult.CHANGED,
            RefreshResult.INVALID,
        }
        self.refresh_schedule.end(failed=failed)
        told: list[Command] = [
            *commands,
            RefreshFinished(self.refresh_schedule.number, result),
        ]
        if not failed:
            self.away = self.expired = False
            self.contact = at
            told.append(CancelTimer(Timer.LIMIT))
        told += self.recovery.refresh_finished(at, self.refresh_schedule.number, result)
        if self.refresh_schedule.again:
            told += self.refresh_schedule.begin()
        policy, having = self.policy, self.keys.in_use is not None
        return (
            *told,
            self.refresh_schedule.next(policy, having, again=self.older is not None),
        )

    def _challenged(self, event: Unauthorized) -> Sequence[Command]:
        """Take in a 401 on a live call."""
        at = event.at
        if self.expired:
            tickets = () if event.ticket is None else (event.ticket,)
            return (ResolveCalls(tickets, PassThrough()),)
        promoted = self.cutovers.challenged(at, event.used)
        told = self.recovery.unauthorized(event)
        return (*promoted, *told)

    def _limit(self, at: float) -> Sequence[Command]:
        """Give out no key any more, if the source is still away."""
        limit = self.policy.max_stale_seconds
        if not limit or not self.away or self.contact is None:
            return ()
        if at - self.contact < limit:
            return (StartTimer(Timer.LIMIT, self.contact + limit - at),)
        self.expired = True
        return self.recovery.abandon()
