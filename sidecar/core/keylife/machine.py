"""
The life of one credential.

Rule 1: `_judge` alone decides the state, from the facts.
Rule 2: this package does not know the time, the network or how a secret is read. It
    turns events into commands; `sidecar.credential.manager` carries them out.
Rule 3: an event that the rules do not expect raises an exception. `resume` then brings
    the machine back to work with the keys that it holds.

In every state but MISSING and EXPIRED, calls carry a key. A key whose source does not
answer is most likely still valid, so STALE calls carry it. EXPIRED calls get 503.
What happens after a 401 is in `sidecar.core.keylife.recovery`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from sidecar.core.keylife.cutover import REFUSED_BACKOFF, Cutovers
from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import (
    CallAbandoned,
    CancelTimer,
    Command,
    Described,
    Event,
    Failed,
    Fetch,
    InvalidValue,
    LimitReached,
    Loaded,
    OutcomeReported,
    PassThrough,
    Probed,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    RefreshFinished,
    RefreshRequested,
    ResolveCalls,
    SetCurrent,
    Started,
    StartTimer,
    State,
    Timer,
    Unauthorized,
    VersionStage,
)
from sidecar.core.keylife.recovery import Recovery
from sidecar.core.keylife.refresh import (
    ANSWERED,
    CONFIRM_SECONDS,
    TRANSIENT,
    LifePolicy,
    RefreshSchedule,
)
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import Code, RefreshResult


@dataclass(slots=True)
class Lifecycle:
    """The machine: `handle` takes an event and returns commands."""

    policy: LifePolicy
    state: State = State.MISSING
    keys: HeldKeys = field(default_factory=HeldKeys)
    refresh_schedule: RefreshSchedule = field(default_factory=RefreshSchedule)
    recovery: Recovery = field(init=False)
    cutovers: Cutovers = field(init=False)
    unreachable: bool = False
    """The last refresh failed."""
    answered_at: float | None = None
    """When the source last answered a refresh."""
    expired: bool = False
    older: tuple[str, float] | None = None
    """An older version that was seen once, and when."""
    _current: Credential | None = None

    def __post_init__(self) -> None:
        probing = self.policy.probing
        self.recovery = Recovery(self.keys, self.refresh_schedule, probing)
        self.cutovers = Cutovers(self.keys, self.recovery, probing)

    @property
    def unavailable_code(self) -> Code:
        """The error code for calls while no key may be used."""
        if self.state is State.EXPIRED:
            return Code.CREDENTIAL_EXPIRED
        return Code.CREDENTIAL_UNAVAILABLE

    def handle(self, event: Event) -> Sequence[Command]:
        """
        Handle an event and return the commands, in order.

        Raises:
            Exception: The rules do not expect the event. Call `resume`.
        """
        return self._finish(self._dispatch(event))

    def resume(self, event: Event) -> Sequence[Command]:
        """
        Return to work after `handle` raised an exception.

        The keys stay as they are. Waiting calls get the API's own 401. A refresh that
        the event should have ended counts as failed, and every timer runs again.
        """
        waiting = self.recovery.tickets()
        commands = [*self.recovery.abandon()]
        if isinstance(event, Unauthorized) and event.ticket not in {None, *waiting}:
            commands += self._pass_through(event)
        schedule, policy = self.refresh_schedule, self.policy
        answers = Loaded | InvalidValue | Failed
        if isinstance(event, Described) or (
            isinstance(event, answers) and event.stage is not VersionStage.PREVIOUS
        ):
            schedule.end(failed=True)
            result = RefreshResult.UNREACHABLE
            commands.append(RefreshFinished(schedule.number, result))
        if schedule.again:
            commands += schedule.begin()
        has_key = self.keys.in_use is not None
        commands.append(schedule.next(policy, has_key=has_key, confirm=False))
        self.cutovers.probed_candidate = None
        if policy.probing:
            commands.append(StartTimer(Timer.PROBE, REFUSED_BACKOFF[0], 0.1))
        if self.unreachable and not self.expired:
            commands += self._limit_timer(event.at)
        return self._finish(commands)

    def _finish(self, commands: Sequence[Command]) -> Sequence[Command]:
        self.state = self._judge()
        commands = [c for c in commands if not isinstance(c, ResolveCalls) or c.tickets]
        current = None if self.expired else self.keys.in_use
        if current is self._current:
            return commands
        # First of all: a call that is replayed must find the key in use.
        self._current = current
        return (SetCurrent(current), *commands)

    def _judge(self) -> State:
        """Return the state; the most serious one that applies."""
        keys = self.keys
        if keys.in_use is None:
            return State.MISSING
        if self.expired:
            return State.EXPIRED
        if keys.refused:
            return State.REFUSED
        if keys.rolled_back:
            return State.ROLLED_BACK
        if keys.candidate_rejected or keys.newest_invalid:
            return State.REJECTED
        return State.STALE if self.unreachable else State.FRESH

    def _dispatch(self, event: Event) -> Sequence[Command]:  # noqa: C901, PLR0911, PLR0912 - one arm per event
        match event:
            case Started() | RefreshDue():
                return self.refresh_schedule.begin()
            case RefreshRequested():
                _, commands = self.refresh_schedule.request()
                return (*commands, *self.cutovers.probe_again())
            case Described():
                return self._described(event)
            case Loaded():
                return self._loaded(event)
            case InvalidValue():
                return self._invalid(event)
            case Failed():
                return self._failed(event)
            case ProbeDue():
                return self.cutovers.probe_again()
            case Probed():
                return self.cutovers.probed(event)
            case Unauthorized():
                return self._unauthorized(event)
            case CallAbandoned():
                self.recovery.call_abandoned(event.ticket)
                return ()
            case OutcomeReported():
                return self.recovery.outcome_reported(event)
            case RecoveryDue():
                return self.recovery.due(event.at)
            case LimitReached():
                return self._limit_reached(event.at)
            case other:
                assert_never(other)

    def _described(self, event: Described) -> Sequence[Command]:
        """Fetch the value only if the version of AWSCURRENT has changed."""
        keys, at = self.keys, event.at
        keys.previous_id = event.previous
        if self.older is not None and self.older[0] != event.current:
            self.older = None
        if event.current == keys.newest:
            if not keys.newest_invalid:
                return self._end_refresh(at, RefreshResult.UNCHANGED)
            return self._end_refresh(at, RefreshResult.INVALID, self._substitute())
        if keys.in_use is not None and event.current == keys.in_use.version_id:
            return self._end_refresh(at, RefreshResult.CHANGED, keys.settle_on_use())
        return (Fetch(VersionStage.CURRENT),)

    def _loaded(self, event: Loaded) -> Sequence[Command]:
        keys, at, credential = self.keys, event.at, event.credential
        if event.stage is not VersionStage.CURRENT:
            if keys.in_use is not None:
                return self.recovery.previous(at, credential)
            return keys.roll_back(credential)
        if credential.version_id == keys.newest:
            return self._end_refresh(at, RefreshResult.UNCHANGED)
        if same(credential, keys.in_use):
            relabelled = keys.relabel(credential)
            return self._end_refresh(at, RefreshResult.CHANGED, relabelled)
        older = not self.cutovers.accepts_any_key() and keys.is_older(credential)
        if older and not self._confirmed(at, credential):
            return self._end_refresh(at, RefreshResult.UNCHANGED)
        self.older = None
        commands = self.cutovers.consider(credential)
        return self._end_refresh(at, RefreshResult.CHANGED, commands)

    def _confirmed(self, at: float, credential: Credential) -> bool:
        """
        Return whether this older version was seen before, long enough ago.

        An answer that was read before a change may arrive after it and must not undo
        it. If a person moves AWSCURRENT back, the next refresh sees the same version.
        """
        version, since = self.older or ("", at)
        if version != credential.version_id:
            self.older = (credential.version_id, at)
            return False
        return at - since >= CONFIRM_SECONDS / 2

    def _invalid(self, event: InvalidValue) -> Sequence[Command]:
        if event.stage is not VersionStage.CURRENT:
            return self.recovery.previous(event.at, None)
        self.keys.note_invalid(event.version_id)
        return self._end_refresh(event.at, RefreshResult.INVALID, self._substitute())

    def _substitute(self) -> Sequence[Command]:
        """Fetch AWSPREVIOUS if AWSCURRENT is invalid and no key is in use."""
        if self.keys.in_use is not None or self.keys.previous_id is None:
            return ()
        return (Fetch(VersionStage.PREVIOUS),)

    def _failed(self, event: Failed) -> Sequence[Command]:
        if event.stage is VersionStage.PREVIOUS:
            transient = event.result in TRANSIENT
            return self.recovery.previous(event.at, None, transient=transient)
        self.unreachable = True
        timer = self._limit_timer(event.at)
        return self._end_refresh(event.at, event.result, timer)

    def _limit_timer(self, at: float) -> Sequence[Command]:
        """Return the timer for `max_stale_seconds`, counted from the last answer."""
        limit = self.policy.max_stale_seconds
        if not limit or self.answered_at is None or self.keys.in_use is None:
            return ()
        return (StartTimer(Timer.LIMIT, max(0.0, self.answered_at + limit - at)),)

    def _end_refresh(
        self, at: float, result: RefreshResult, commands: Sequence[Command] = ()
    ) -> Sequence[Command]:
        """End a refresh and start the timer for the next one."""
        schedule, answered = self.refresh_schedule, result in ANSWERED
        schedule.end(failed=not answered)
        ended: list[Command] = [*commands, RefreshFinished(schedule.number, result)]
        if answered:
            self.unreachable = self.expired = False
            self.answered_at = at
            ended.append(CancelTimer(Timer.LIMIT))
        ended += self.recovery.refresh_finished(at, schedule.number, result)
        if schedule.again:
            ended += schedule.begin()
        has_key, confirm = self.keys.in_use is not None, self.older is not None
        return (*ended, schedule.next(self.policy, has_key=has_key, confirm=confirm))

    def _unauthorized(self, event: Unauthorized) -> Sequence[Command]:
        if self.expired:
            return self._pass_through(event)
        promoted = self.cutovers.unauthorized(event.at, event.used)
        return (*promoted, *self.recovery.unauthorized(event))

    def _pass_through(self, event: Unauthorized) -> Sequence[Command]:
        tickets = () if event.ticket is None else (event.ticket,)
        return (ResolveCalls(tickets, PassThrough()),)

    def _limit_reached(self, at: float) -> Sequence[Command]:
        """Expire the key, unless there is no limit or the source has answered."""
        limit = self.policy.max_stale_seconds
        if not limit or not self.unreachable or self.answered_at is None:
            return ()
        if at - self.answered_at < limit:
            return self._limit_timer(at)
        self.expired = True
        return self.recovery.abandon()
