"""
What happens when the API answers 401 to a live call.

A call that carried an older key is replayed with the key in use. Otherwise one recovery
attempt begins, and every further 401 on the same key joins it. An attempt moves through
phases:

    CHECK            probe the key in use; if the API accepts it, the 401 was about the
                     call, and the calls get their 401
    REFRESH          read the source; another version is put into use, and the calls are
                     replayed
    PROBE_CANDIDATE  probe a candidate that was rejected before
    FETCH            fetch AWSPREVIOUS
    PROVE            probe the fallback key; accepted: roll back and replay the calls
    TRIAL            without a probe: one call tries the fallback key, the others wait
    BACKOFF          the source failed for a moment: wait, then REFRESH again

`_STEPS` gives the order in which phases are tried. `_REACTIONS` says what an outcome in a
phase leads to; an outcome that is not listed there changes nothing.

When no phase finds a working key, the calls get the API's own 401, and the circuit opens.
While it is open, a 401 costs neither a refresh nor a probe. Once the key in use has worked
for another call, the 401s are attributed to their endpoints (`unauthorized_endpoints`),
and a 401 on any other endpoint may begin an attempt again.

Rule: the key in use is given up only after a 401 on it, and only for a key that is proven
or, without a probe, for one that a call tries.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from sidecar.core.keylife.backoff import Circuit, TokenBucket, backoff
from sidecar.core.keylife.commands import (
    CancelTimer,
    Command,
    Fetch,
    Probe,
    ResolveCalls,
    StartTimer,
)
from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import (
    OutcomeReported,
    PassThrough,
    Replay,
    Timer,
    Unauthorized,
    VersionStage,
)
from sidecar.core.keylife.refresh import RefreshSchedule
from sidecar.core.keylife.unauthorized_endpoints import UnauthorizedEndpoints
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult

ATTEMPT_SECONDS: Final = 8.0
"""A call waits at most 10 s (`credential.pending_verdicts`); an attempt ends before."""
PATIENCE_SECONDS: Final = 2.0
"""After this long without an answer of the source, the held keys are tried."""
STUCK_SECONDS: Final = 30.0
"""No question takes this long: an attempt that is this late waits for nothing."""
QUIET_SECONDS: Final = 2.0
"""After the key in use was proven, 401s are attributed to their calls for this long."""
PROVEN_SECONDS: Final = 300.0
"""After the key in use was proven, the probe comes before the refresh for this long:
endpoints that always answer 401 must not cost a refresh each time."""
HAND_OVER_SECONDS: Final = 3.0
"""A trial that takes longer is handed to a second call as well."""

_PASSING: Final = frozenset({RefreshResult.THROTTLED, RefreshResult.UNREACHABLE})
"""Failures of the source that may be over in a moment."""
_ANSWERED: Final = frozenset(
    {RefreshResult.UNCHANGED, RefreshResult.CHANGED, RefreshResult.INVALID}
)
"""Refreshes that the source answered; one that finds a key ends the attempt before."""


class RecoveryPhase(StrEnum):
    """What an attempt waits for."""

    CHECK = "check"
    REFRESH = "refresh"
    PROBE_CANDIDATE = "probe_candidate"
    FETCH = "fetch"
    PROVE = "prove"
    TRIAL = "trial"
    BACKOFF = "backoff"


class Outcome(StrEnum):
    """How what an attempt waits for ended."""

    ANSWERED = "answered"
    """The source answered a refresh, and no other key came into use."""
    FAILED = "failed"
    """The source did not answer the refresh, or gave no AWSPREVIOUS."""
    LOADED = "loaded"
    """The source gave AWSPREVIOUS."""
    PROVEN = "proven"
    """The API accepts the key."""
    REFUSED = "refused"
    """The API answers 401 to the key."""
    UNDECIDED = "undecided"
    """The API gave no answer that proves or refuses the key."""
    TIMER = "timer"


def outcome_of(proved: bool | None) -> Outcome:
    """Return the outcome of a probe or of a trial."""
    if proved is None:
        return Outcome.UNDECIDED
    return Outcome.PROVEN if proved else Outcome.REFUSED


@dataclass(slots=True)
class RecoveryAttempt:
    """One attempt, shared by all calls that drew a 401 on the key in use."""

    deadline: float
    phase: RecoveryPhase = RecoveryPhase.REFRESH
    calls: set[bytes] = field(default_factory=set)
    """Method and path of the calls."""
    tickets: dict[int, Credential] = field(default_factory=dict)
    """The waiting calls, with the key that each of them carried."""
    refresh_number: int | None = None
    """The first refresh whose answer counts; None before one was requested."""
    refreshed: bool = False
    """A refresh was requested, or there was no token for it."""
    pending: bool = False
    """The source may still give another key."""
    answered: bool = False
    """The source named its versions."""
    pauses: int = 0
    checked: bool = False
    candidate_checked: bool = False
    tried: set[str] = field(default_factory=set)
    """The versions that were tried besides the one in use."""
    other: Credential | None = None
    """The key that PROVE or TRIAL is about."""
    trial_calls: int = 0
    """Calls that are under way with the key of the trial."""

    def join(self, at: float, used: Credential, ticket: int) -> Sequence[Command]:
        """Let a call wait with the others; it may have to try the fallback key."""
        self.tickets[ticket] = used
        if self.phase is not RecoveryPhase.TRIAL or len(self.tickets) > 1:
            return ()
        return (self._hand_over(at),) if self.trial_calls else self.hand_trial(at)

    def begin_trial(self, at: float, other: Credential) -> Sequence[Command]:
        """Let a call try another key."""
        self.phase = RecoveryPhase.TRIAL
        self.other = other
        self.trial_calls = 0
        return self.hand_trial(at)

    def hand_trial(self, at: float) -> Sequence[Command]:
        """Hand the trial to the call that has waited longest."""
        if not self.tickets or self.other is None:
            return (StartTimer(Timer.RECOVERY, self._left(at)),)
        ticket = next(iter(self.tickets))
        del self.tickets[ticket]
        self.trial_calls += 1
        verdict = Replay(self.other, "rollback", trial=True)
        return (ResolveCalls((ticket,), verdict), self._hand_over(at))

    def _hand_over(self, at: float) -> Command:
        """Start the timer after which a further call gets the trial."""
        return StartTimer(Timer.RECOVERY, min(HAND_OVER_SECONDS, self._left(at)))

    def _left(self, at: float) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self.deadline - at)


@dataclass(slots=True)
class Recovery:
    """The current attempt, and what is remembered between attempts."""

    keys: HeldKeys
    refresh_schedule: RefreshSchedule
    probing: bool
    """There is a probe."""
    attempt: RecoveryAttempt | None = None
    circuit: Circuit = field(default_factory=Circuit)
    token_bucket: TokenBucket = field(default_factory=lambda: TokenBucket(8, 30.0))
    """Bounds the refreshes that 401s cause."""
    unauthorized_endpoints: UnauthorizedEndpoints = field(
        default_factory=UnauthorizedEndpoints
    )
    quiet_until: float = -math.inf
    proven_until: float = -math.inf

    # Events from the machine.

    def unauthorized(self, event: Unauthorized) -> Sequence[Command]:
        """Take in a 401; the call may have carried another key than the one in use."""
        at, used, ticket = event.at, event.used, event.ticket
        tickets = () if ticket is None else (ticket,)
        attempt = self.attempt
        if attempt is not None and at - attempt.deadline > STUCK_SECONDS:
            # An error of ours must not block the calls of the next hours.
            return (
                *self._give_up(at, attempt),
                ResolveCalls(tickets, PassThrough()),
            )
        if attempt is not None:
            attempt.calls.add(event.call)
            return () if ticket is None else attempt.join(at, used, ticket)
        if not same(used, self.keys.in_use) and not self.keys.refused:
            return self._replay(tickets)
        if self._is_expected(at, event.call):
            return (ResolveCalls(tickets, PassThrough()),)
        attempt = self.attempt = RecoveryAttempt(
            at + ATTEMPT_SECONDS, calls={event.call}
        )
        if ticket is not None:
            attempt.tickets[ticket] = used
        if self.probing and at < self.proven_until:
            return self.next_step(at, attempt)
        return self._refresh(at, attempt)

    def _is_expected(self, at: float, call: bytes) -> bool:
        """Return whether a 401 on the key in use is no reason for an attempt."""
        if self.unauthorized_endpoints.explains(call, at):
            return True
        resting = self.circuit.is_open(at) or at < self.quiet_until
        return resting and not self.unauthorized_endpoints.take_attempt(call, at)

    def refresh_finished(
        self, at: float, number: int, result: RefreshResult
    ) -> Sequence[Command]:
        """Take in the end of a refresh that brought no other key into use."""
        attempt = self.attempt
        if attempt is None or attempt.refresh_number is None:
            return ()
        answered = result in _ANSWERED
        # A refresh that began before the attempt and found nothing proves nothing. One
        # that failed suggests that the next fails too: do not wait twice.
        if number < attempt.refresh_number and answered:
            return ()
        attempt.answered = answered
        attempt.pending = result in _PASSING
        return self._react(at, Outcome.ANSWERED if answered else Outcome.FAILED)

    def probed(
        self, at: float, credential: Credential, proved: bool | None
    ) -> Sequence[Command]:
        """Take in the end of a probe."""
        attempt = self.attempt
        if attempt is None or not self._awaits_probe(attempt, credential):
            return ()
        return self._react(at, outcome_of(proved))

    def _awaits_probe(self, attempt: RecoveryAttempt, credential: Credential) -> bool:
        """Return whether the attempt waits for a probe of this key."""
        match attempt.phase:
            case RecoveryPhase.CHECK:
                return same(credential, self.keys.in_use)
            case RecoveryPhase.PROVE:
                return same(credential, attempt.other)
            case phase:
                # The candidate may be void by now, and no other probe would come.
                return phase is RecoveryPhase.PROBE_CANDIDATE

    def previous(
        self, at: float, credential: Credential | None, *, passing: bool = False
    ) -> Sequence[Command]:
        """Take in AWSPREVIOUS, or that the source did not give it (perhaps for now)."""
        attempt = self.attempt
        if attempt is None or attempt.phase is not RecoveryPhase.FETCH:
            return ()
        if credential is None:
            if passing:
                attempt.tried.clear()
                attempt.answered, attempt.pending = False, True
            return self._react(at, Outcome.FAILED)
        attempt.other = credential
        return self._react(at, Outcome.LOADED)

    def outcome_reported(self, event: OutcomeReported) -> Sequence[Command]:
        """Take in what the answer to a call says about its key."""
        at, credential, proved = event.at, event.credential, event.proved
        attempt, keys = self.attempt, self.keys
        if (
            attempt
            and attempt.phase is RecoveryPhase.TRIAL
            and same(credential, attempt.other)
        ):
            return self._react(at, outcome_of(proved))
        if proved and same(credential, keys.in_use):
            keys.refused = False
            self.unauthorized_endpoints.succeeded(event.call)
        elif not proved or not keys.refused:
            return ()
        elif same(credential, keys.fallback):
            # A trial that took longer than its attempt.
            self.circuit.until = -math.inf
            return self._roll_back(credential)
        return ()

    def due(self, at: float) -> Sequence[Command]:
        """Take in that the attempt's timer has run out."""
        return self._react(at, Outcome.TIMER)

    def recently_proven(self, at: float) -> bool:
        """Return whether the key in use was proven after a 401 on it, not long ago."""
        return at < max(self.quiet_until, self.proven_until)

    def call_abandoned(self, ticket: int) -> None:
        """Forget a call that waits no longer."""
        if self.attempt is not None:
            self.attempt.tickets.pop(ticket, None)

    def key_changed(
        self, how: Literal["replay", "rollback"] = "replay"
    ) -> Sequence[Command]:
        """Another key is in use: replay the waiting calls."""
        if how == "replay":
            self.circuit.reset()
            # The refreshes were spent on a key that is gone. What an outage used up
            # must not be missing when the next key is revoked.
            self.token_bucket.restore()
        self.quiet_until = self.proven_until = -math.inf
        self.unauthorized_endpoints.clear()
        return self._end(self._replay(self._tickets()))

    def abandon(self) -> Sequence[Command]:
        """End the attempt: its calls get the API's own 401."""
        return self._end((ResolveCalls(self._tickets(), PassThrough()),))

    # Phases.

    def _react(self, at: float, outcome: Outcome) -> Sequence[Command]:
        """Take the step that the table lists for this outcome, if it lists one."""
        attempt = self.attempt
        if attempt is None:
            return ()
        reaction = _REACTIONS.get((attempt.phase, outcome))
        return () if reaction is None else reaction(self, at, attempt)

    def next_step(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """Begin the first phase that can still find a working key, or give up."""
        for step in _STEPS:
            commands = step(self, at, attempt)
            if commands is not None:
                return commands
        return self._give_up(at, attempt)

    def step_check(
        self, at: float, attempt: RecoveryAttempt
    ) -> Sequence[Command] | None:
        """Probe the key in use, once."""
        del at
        if not self.probing or self.keys.in_use is None or attempt.checked:
            return None
        attempt.checked = True
        attempt.phase = RecoveryPhase.CHECK
        return (Probe(self.keys.in_use),)

    def step_refresh(
        self, at: float, attempt: RecoveryAttempt
    ) -> Sequence[Command] | None:
        """Refresh, unless it was done."""
        return None if attempt.refreshed else self._refresh(at, attempt)

    def step_candidate(
        self, at: float, attempt: RecoveryAttempt
    ) -> Sequence[Command] | None:
        """Probe a candidate that was rejected before, once."""
        del at
        candidate = self.keys.candidate
        if not self.probing or candidate is None or attempt.candidate_checked:
            return None
        attempt.candidate_checked = True
        attempt.phase = RecoveryPhase.PROBE_CANDIDATE
        return (Probe(candidate),)

    def step_other(
        self, at: float, attempt: RecoveryAttempt
    ) -> Sequence[Command] | None:
        """Turn to AWSPREVIOUS or, if that is unknown, to the key that was in use before."""
        keys, wanted = self.keys, self.keys.previous_id
        if keys.in_use is not None and wanted == keys.in_use.version_id:
            wanted = None
        held = None if same(keys.fallback, keys.in_use) else keys.fallback
        unknown = wanted is None or wanted in attempt.tried or not attempt.answered
        fits = held is not None and (unknown or held.version_id == wanted)
        if held and fits and held.version_id not in attempt.tried:
            attempt.tried.add(held.version_id)
            return self._prove(at, attempt, held)
        if wanted is None or unknown:
            return None
        attempt.tried.add(wanted)
        attempt.phase = RecoveryPhase.FETCH
        return (Fetch(VersionStage.PREVIOUS),)

    def step_backoff(
        self, at: float, attempt: RecoveryAttempt
    ) -> Sequence[Command] | None:
        """Wait, while the source may answer soon."""
        if not attempt.pending or at >= attempt.deadline:
            return None
        attempt.phase = RecoveryPhase.BACKOFF
        attempt.pauses += 1
        return (StartTimer(Timer.RECOVERY, backoff(attempt.pauses, 0.125, 2.0), 0.5),)

    # Reactions.

    def _refresh(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """Read the source, by a refresh that begins from now on."""
        attempt.phase = RecoveryPhase.REFRESH
        attempt.refreshed = True
        timer = StartTimer(Timer.RECOVERY, PATIENCE_SECONDS)
        number = attempt.refresh_number
        if number is not None and self.refresh_schedule.serves(number):
            return (timer,)
        if not self.token_bucket.take(at):
            attempt.pending = attempt.answered = False
            return self.next_step(at, attempt)
        attempt.refresh_number, commands = self.refresh_schedule.want()
        return (*commands, timer)

    def refresh_late(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """The source is slow: try the held keys meanwhile."""
        attempt.pending = True
        return self.next_step(at, attempt)

    def refresh_again(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """Read the source once more, until the deadline."""
        if at < attempt.deadline:
            return self._refresh(at, attempt)
        return self._give_up(at, attempt)

    def prove_loaded(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """Prove AWSPREVIOUS."""
        loaded = attempt.other
        if loaded is None or same(loaded, self.keys.in_use):
            # AWSPREVIOUS is the key in use, so AWSCURRENT has just changed.
            return self._refresh(at, attempt)
        self.keys.fallback = loaded
        return self._prove(at, attempt, loaded)

    def _prove(
        self, at: float, attempt: RecoveryAttempt, credential: Credential
    ) -> Sequence[Command]:
        """Find out whether the other key works."""
        attempt.other = credential
        if not self.probing:
            return attempt.begin_trial(at, self.keys.number(credential))
        attempt.phase = RecoveryPhase.PROVE
        return (Probe(credential),)

    def try_other(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """The probe got no answer. The API answered a call a moment ago: try a call."""
        if attempt.other is None:
            return self.next_step(at, attempt)
        return attempt.begin_trial(at, self.keys.number(attempt.other))

    def use_other(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """Put the other key into use: it is proven."""
        return (
            self._roll_back(attempt.other)
            if attempt.other
            else self.next_step(at, attempt)
        )

    def trial_undecided(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """A call with the other key got no answer: the next call tries it."""
        attempt.trial_calls = max(0, attempt.trial_calls - 1)
        return () if attempt.trial_calls else attempt.hand_trial(at)

    def trial_late(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """A trial takes long: hand it to a further call, until the deadline."""
        if at >= attempt.deadline:
            return self._give_up(at, attempt)
        return attempt.hand_trial(at)

    def key_proven(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """The key in use is proven: the 401s are about the calls."""
        self.keys.refused = False
        self.unauthorized_endpoints.suspect(attempt.calls - {b""}, at)
        self.unauthorized_endpoints.proven = True
        self.quiet_until = at + QUIET_SECONDS
        if attempt.refresh_number is not None:
            self.proven_until = at + PROVEN_SECONDS
        in_use = self.keys.in_use
        own = tuple(n for n, used in attempt.tickets.items() if same(used, in_use))
        old = tuple(n for n in attempt.tickets if n not in own)
        return self._end((ResolveCalls(own, PassThrough()), *self._replay(old)))

    def _give_up(self, at: float, attempt: RecoveryAttempt) -> Sequence[Command]:
        """No key works: the calls get the API's 401, and the circuit opens."""
        self.keys.refused = True
        self.unauthorized_endpoints.proven = False
        self.unauthorized_endpoints.suspect(attempt.calls - {b""}, at)
        self.circuit.open(at)
        again: Sequence[Command] = ()
        if self.probing:
            again = (StartTimer(Timer.PROBE, self.circuit.interval, 0.1),)
        return self._end((ResolveCalls(self._tickets(), PassThrough()), *again))

    def _roll_back(self, credential: Credential) -> Sequence[Command]:
        """Put another key into use: it is proven."""
        return (*self.keys.roll_back(credential), *self.key_changed("rollback"))

    def _replay(self, tickets: tuple[int, ...]) -> Sequence[Command]:
        """Replay calls with the key in use."""
        keys = self.keys
        how: Literal["replay", "rollback"]
        how = "rollback" if keys.rolled_back else "replay"
        verdict = Replay(keys.in_use, how) if keys.in_use else PassThrough()
        return (ResolveCalls(tickets, verdict),)

    def _tickets(self) -> tuple[int, ...]:
        """Return the waiting calls."""
        return () if self.attempt is None else tuple(self.attempt.tickets)

    def _end(self, commands: Sequence[Command]) -> Sequence[Command]:
        """End the attempt, if there is one."""
        ended, self.attempt = self.attempt, None
        return (*commands, CancelTimer(Timer.RECOVERY)) if ended else commands


_Reaction = Callable[[Recovery, float, RecoveryAttempt], Sequence[Command]]
_Step = Callable[[Recovery, float, RecoveryAttempt], Sequence[Command] | None]

_STEPS: Final[tuple[_Step, ...]] = (
    Recovery.step_check,
    Recovery.step_refresh,
    Recovery.step_candidate,
    Recovery.step_other,
    Recovery.step_backoff,
)
"""What an attempt tries, in this order; a step returns None when it has nothing to do."""

_REACTIONS: Final[Mapping[tuple[RecoveryPhase, Outcome], _Reaction]] = MappingProxyType(
    {
        (RecoveryPhase.CHECK, Outcome.PROVEN): Recovery.key_proven,
        (RecoveryPhase.CHECK, Outcome.REFUSED): Recovery.next_step,
        (RecoveryPhase.CHECK, Outcome.UNDECIDED): Recovery.next_step,
        (RecoveryPhase.REFRESH, Outcome.ANSWERED): Recovery.next_step,
        (RecoveryPhase.REFRESH, Outcome.FAILED): Recovery.next_step,
        (RecoveryPhase.REFRESH, Outcome.TIMER): Recovery.refresh_late,
        (RecoveryPhase.PROBE_CANDIDATE, Outcome.PROVEN): Recovery.next_step,
        (RecoveryPhase.PROBE_CANDIDATE, Outcome.REFUSED): Recovery.next_step,
        (RecoveryPhase.PROBE_CANDIDATE, Outcome.UNDECIDED): Recovery.next_step,
        (RecoveryPhase.FETCH, Outcome.LOADED): Recovery.prove_loaded,
        (RecoveryPhase.FETCH, Outcome.FAILED): Recovery.next_step,
        (RecoveryPhase.PROVE, Outcome.PROVEN): Recovery.use_other,
        (RecoveryPhase.PROVE, Outcome.REFUSED): Recovery.next_step,
        (RecoveryPhase.PROVE, Outcome.UNDECIDED): Recovery.try_other,
        (RecoveryPhase.TRIAL, Outcome.PROVEN): Recovery.use_other,
        (RecoveryPhase.TRIAL, Outcome.REFUSED): Recovery.next_step,
        (RecoveryPhase.TRIAL, Outcome.UNDECIDED): Recovery.trial_undecided,
        (RecoveryPhase.TRIAL, Outcome.TIMER): Recovery.trial_late,
        (RecoveryPhase.BACKOFF, Outcome.ANSWERED): Recovery.next_step,
        (RecoveryPhase.BACKOFF, Outcome.TIMER): Recovery.refresh_again,
    }
)
"""(phase, outcome) -> the next step."""
