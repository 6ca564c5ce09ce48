"""
What happens after a 401 from the API on a live call.

A call that carried another key than the one in use is replayed with the one in use.
Otherwise an attempt begins, and every further 401 joins it. An attempt is always in one
of these phases:

    REFRESH          wait for a refresh that began after the 401
    PROBE_IN_USE     probe the key in use: the 401 may concern only the call
    PROBE_CANDIDATE  probe a candidate that was rejected before
    FETCH_PREVIOUS   read AWSPREVIOUS
    PROBE_FALLBACK   probe the other key; or, without a usable answer,
    TRIAL            replay one call with the other key while the others wait
    BACKOFF          the source failed for the moment: refresh again, until the deadline

`TRANSITIONS` drives it: for a phase and an outcome it lists the phases that may follow,
in order, and the first one that can be entered is entered. The last phase in a list can
always be entered. An empty list means that the phase stays. Whatever the phase, a key
that comes into use ends the attempt, and its calls are replayed.

When nothing helps, the calls get the API's own 401 and the circuit breaker opens. While
it is open, a 401 costs no refresh and no probe. But once the key has worked for another
endpoint, a 401 concerns only its own endpoint (`unauthorized_endpoints`), and a 401 of
any other endpoint starts an attempt.

Rule: a working key is never replaced by one that is not proven. This file replaces the
key in use only after a 401 on it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from sidecar.core.keylife.backoff import CircuitBreaker, TokenBucket, backoff
from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import (
    CancelTimer,
    Command,
    Fetch,
    OutcomeReported,
    PassThrough,
    Probe,
    Replay,
    ResolveCalls,
    StartTimer,
    Timer,
    Unauthorized,
    VersionStage,
)
from sidecar.core.keylife.refresh import ANSWERED, TRANSIENT, RefreshSchedule
from sidecar.core.keylife.unauthorized_endpoints import UnauthorizedEndpoints
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult

ATTEMPT_SECONDS: Final = 8.0
"""Less than the 10 s that a call waits (`sidecar.credential.pending_verdicts`)."""
PATIENCE_SECONDS: Final = 2.0
"""After this time, other keys are tried while the refresh goes on."""
HAND_OVER_SECONDS: Final = 3.0
"""After this time, a second call carries the trial as well."""
STUCK_SECONDS: Final = 30.0
"""Every command ends sooner: an attempt this far past its deadline waits for nothing."""
QUIET_SECONDS: Final = 2.0
"""For this time after the key was proven, a 401 is taken to concern only its call."""
PROVEN_SECONDS: Final = 300.0
"""For this time after the key was proven, a probe precedes the refresh: endpoints that
always return 401 must not cost a refresh each time."""
BUDGET: Final = (8, 30.0)
"""Refreshes that attempts may use before they find a key, and the seconds per refresh
at which the budget grows again."""


class UnexpectedEvent(Exception):
    """An outcome that `TRANSITIONS` does not list for the phase."""


class RecoveryPhase(StrEnum):
    """What an attempt waits for, or how it ended."""

    BEGUN = "begun"
    REFRESH = "refresh"
    PROBE_IN_USE = "probe_in_use"
    PROBE_CANDIDATE = "probe_candidate"
    FETCH_PREVIOUS = "fetch_previous"
    PROBE_FALLBACK = "probe_fallback"
    TRIAL = "trial"
    BACKOFF = "backoff"
    PROVEN = "proven"
    """The key in use works: the 401 concerns only the calls."""
    ROLLED_BACK = "rolled_back"
    GIVEN_UP = "given_up"


class PhaseOutcome(StrEnum):
    """What happened in a phase."""

    UNEXPLAINED = "unexplained"
    """The 401 that begins the attempt."""
    RECENTLY_PROVEN = "recently_proven"
    """The 401 that begins the attempt; the key was proven within `PROVEN_SECONDS`."""
    ANSWERED = "answered"
    """A refresh ended, and it found no other key."""
    FAILED = "failed"
    """A refresh failed."""
    TIMER = "timer"
    LOADED = "loaded"
    """AWSPREVIOUS is another key."""
    LOADED_IN_USE = "loaded_in_use"
    """AWSPREVIOUS is the key in use."""
    ABSENT = "absent"
    """AWSPREVIOUS cannot be used."""
    UNAVAILABLE = "unavailable"
    """AWSPREVIOUS could not be read for the moment."""
    PROVED = "proved"
    REFUSED = "refused"
    UNDECIDED = "undecided"


def _transitions() -> Mapping[
    tuple[RecoveryPhase, PhaseOutcome], tuple[RecoveryPhase, ...]
]:
    p, o = RecoveryPhase, PhaseOutcome
    probes = (p.PROBE_IN_USE, p.PROBE_CANDIDATE)
    fallback = (p.PROBE_FALLBACK, p.TRIAL)
    end = (p.BACKOFF, p.GIVEN_UP)
    rest = (p.PROBE_FALLBACK, p.FETCH_PREVIOUS, *end)
    rows = {
        (p.BEGUN, o.UNEXPLAINED): (p.REFRESH, p.PROBE_IN_USE, p.TRIAL, p.GIVEN_UP),
        (p.BEGUN, o.RECENTLY_PROVEN): (p.PROBE_IN_USE,),
        (p.REFRESH, o.ANSWERED): (*probes, *fallback, p.FETCH_PREVIOUS, p.GIVEN_UP),
        (p.REFRESH, o.FAILED): (*probes, *fallback, *end),
        (p.REFRESH, o.TIMER): (*probes, *fallback, *end),
        (p.PROBE_IN_USE, o.PROVED): (p.PROVEN,),
        (p.PROBE_IN_USE, o.REFUSED): (p.REFRESH, p.PROBE_CANDIDATE, *rest),
        (p.PROBE_IN_USE, o.UNDECIDED): (p.REFRESH, p.PROBE_CANDIDATE, *rest),
        (p.PROBE_CANDIDATE, o.PROVED): rest,  # the candidate changed meanwhile
        (p.PROBE_CANDIDATE, o.REFUSED): rest,
        (p.PROBE_CANDIDATE, o.UNDECIDED): rest,
        (p.FETCH_PREVIOUS, o.LOADED): fallback,
        (p.FETCH_PREVIOUS, o.LOADED_IN_USE): (p.REFRESH, *fallback, p.GIVEN_UP),
        (p.FETCH_PREVIOUS, o.ABSENT): (*fallback, p.FETCH_PREVIOUS, *end),
        (p.FETCH_PREVIOUS, o.UNAVAILABLE): (*fallback, *end),
        (p.PROBE_FALLBACK, o.PROVED): (p.ROLLED_BACK,),
        (p.PROBE_FALLBACK, o.REFUSED): (p.FETCH_PREVIOUS, *end),
        (p.PROBE_FALLBACK, o.UNDECIDED): (p.TRIAL,),
        (p.TRIAL, o.PROVED): (p.ROLLED_BACK,),
        (p.TRIAL, o.REFUSED): (p.FETCH_PREVIOUS, *end),
        (p.TRIAL, o.UNDECIDED): (p.TRIAL,),
        (p.TRIAL, o.TIMER): (p.TRIAL, p.GIVEN_UP),
        (p.BACKOFF, o.ANSWERED): (p.FETCH_PREVIOUS, p.GIVEN_UP),
        (p.BACKOFF, o.TIMER): (p.REFRESH, p.GIVEN_UP),
    }
    # The phase stays: it waits for an outcome of its own.
    busy = (*probes, p.FETCH_PREVIOUS, p.PROBE_FALLBACK)
    stay = [(phase, o.TIMER) for phase in busy]
    stay += [(x, y) for x in (*busy, p.TRIAL) for y in (o.ANSWERED, o.FAILED)]
    return MappingProxyType(rows | dict.fromkeys([*stay, (p.BACKOFF, o.FAILED)], ()))


TRANSITIONS: Final = _transitions()
"""The phases that may follow, by phase and outcome; the first possible one is entered."""


_PROOFS: Final = {
    True: PhaseOutcome.PROVED,
    False: PhaseOutcome.REFUSED,
    None: PhaseOutcome.UNDECIDED,
}


@dataclass(slots=True)
class RecoveryAttempt:
    """One recovery, shared by all calls that got 401 on the key in use."""

    at: float
    """The time of the event that is handled."""
    deadline: float
    phase: RecoveryPhase = RecoveryPhase.BEGUN
    calls: set[bytes] = field(default_factory=set)
    """The endpoints that returned 401."""
    tickets: dict[int, Credential] = field(default_factory=dict)
    """The waiting calls, each with the key that it carried."""
    refresh: int | None = None
    """The first refresh whose result counts; None before one was requested."""
    refreshed: bool = False
    """A refresh was requested, or the budget did not allow one."""
    pending: bool = False
    """Another refresh may still find something new."""
    answered: bool = False
    """The source has answered a refresh."""
    backoffs: int = 0
    probed_in_use: bool = False
    probed_candidate: bool = False
    tried: set[str] = field(default_factory=set)
    """The versions that were tried instead of the one in use."""
    other: Credential | None = None
    """The key that PROBE_FALLBACK or TRIAL is about."""
    carriers: int = 0
    """Calls that carry the trial now."""

    def join(self, used: Credential, ticket: int) -> Sequence[Command]:
        """Add a waiting call. The first one carries a trial that waits for a call."""
        self.tickets[ticket] = used
        if self.phase is not RecoveryPhase.TRIAL or len(self.tickets) > 1:
            return ()
        return (self._hand_over(),) if self.carriers else self.begin_trial()

    def begin_trial(self) -> Sequence[Command]:
        """Replay the call that has waited longest with the other key."""
        if not self.tickets or self.other is None:
            return (StartTimer(Timer.RECOVERY, self._left()),)
        ticket = next(iter(self.tickets))
        del self.tickets[ticket]
        self.carriers += 1
        verdict = Replay(self.other, "rollback", trial=True)
        return (ResolveCalls((ticket,), verdict), self._hand_over())

    def _hand_over(self) -> Command:
        return StartTimer(Timer.RECOVERY, min(HAND_OVER_SECONDS, self._left()))

    def _left(self) -> float:
        return max(0.0, self.deadline - self.at)


@dataclass(slots=True)
class Recovery:
    """The attempts of one credential, and the circuit breaker between them."""

    keys: HeldKeys
    refresh_schedule: RefreshSchedule
    probing: bool
    """A probe is configured."""
    attempt: RecoveryAttempt | None = None
    circuit_breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    refresh_budget: TokenBucket = field(default_factory=lambda: TokenBucket(*BUDGET))
    unauthorized_endpoints: UnauthorizedEndpoints = field(
        default_factory=UnauthorizedEndpoints
    )
    quiet_until: float = -math.inf
    proven_until: float = -math.inf

    def unauthorized(self, event: Unauthorized) -> Sequence[Command]:
        """Handle a 401 on a call."""
        at, used, ticket = event.at, event.used, event.ticket
        tickets = () if ticket is None else (ticket,)
        if (attempt := self.attempt) is not None:
            attempt.at = at
            if at - attempt.deadline > STUCK_SECONDS:
                # A mistake in this code must not delay every later call.
                passed = ResolveCalls(tickets, PassThrough())
                return (*self._give_up(attempt), passed)
            attempt.calls.add(event.call)
            return () if ticket is None else attempt.join(used, ticket)
        if not same(used, self.keys.in_use) and not self.keys.refused:
            return self._replay(tickets)
        if not self._justifies_attempt(at, event.call):
            return (ResolveCalls(tickets, PassThrough()),)
        attempt = RecoveryAttempt(at, at + ATTEMPT_SECONDS, calls={event.call})
        self.attempt = attempt
        if ticket is not None:
            attempt.tickets[ticket] = used
        if self.probing and at < self.proven_until:
            return self._advance(at, attempt, PhaseOutcome.RECENTLY_PROVEN)
        return self._advance(at, attempt, PhaseOutcome.UNEXPLAINED)

    def refresh_finished(
        self, at: float, number: int, result: RefreshResult
    ) -> Sequence[Command]:
        """Handle the end of a refresh that put no other key into use."""
        attempt = self.attempt
        if attempt is None or attempt.refresh is None:
            return ()
        answered = result in ANSWERED
        # A refresh that began before the 401 and found nothing proves nothing. One that
        # failed counts, because the next one would most likely fail as well.
        if number < attempt.refresh and answered:
            return ()
        attempt.answered = answered
        attempt.pending = result in TRANSIENT
        outcome = PhaseOutcome.ANSWERED if answered else PhaseOutcome.FAILED
        return self._advance(at, attempt, outcome)

    def probed(
        self, at: float, credential: Credential, proved: bool | None
    ) -> Sequence[Command]:
        """Handle the end of a probe."""
        attempt = self.attempt
        if attempt is None:
            return ()
        expected = {
            RecoveryPhase.PROBE_IN_USE: self.keys.in_use,
            RecoveryPhase.PROBE_FALLBACK: attempt.other,
            # Any probe: the candidate may have changed, and then no other probe ends.
            RecoveryPhase.PROBE_CANDIDATE: credential,
        }
        if not same(credential, expected.get(attempt.phase)):
            return ()
        return self._advance(at, attempt, _PROOFS[proved])

    def previous(
        self, at: float, credential: Credential | None, *, transient: bool = False
    ) -> Sequence[Command]:
        """
        Handle the end of a fetch of AWSPREVIOUS.

        Args:
            at: The time.
            credential: The key; None: it cannot be used.
            transient: The source failed for the moment.
        """
        attempt = self.attempt
        if attempt is None or attempt.phase is not RecoveryPhase.FETCH_PREVIOUS:
            return ()
        if transient:
            attempt.tried.clear()
            attempt.answered, attempt.pending = False, True
            outcome = PhaseOutcome.UNAVAILABLE
        elif credential is None:
            outcome = PhaseOutcome.ABSENT
        elif same(credential, self.keys.in_use):
            # AWSPREVIOUS is in use, so AWSCURRENT has just changed.
            attempt.refreshed = False
            outcome = PhaseOutcome.LOADED_IN_USE
        else:
            self.keys.fallback = attempt.other = credential
            outcome = PhaseOutcome.LOADED
        return self._advance(at, attempt, outcome)

    def outcome_reported(self, event: OutcomeReported) -> Sequence[Command]:
        """Handle what the outcome of a call proves about its key."""
        at, credential, proved = event.at, event.credential, event.proved
        attempt, keys = self.attempt, self.keys
        if (
            attempt is not None
            and attempt.phase is RecoveryPhase.TRIAL
            and same(credential, attempt.other)
        ):
            if proved is None:
                attempt.carriers = max(0, attempt.carriers - 1)
                if attempt.carriers:
                    return ()
            return self._advance(at, attempt, _PROOFS[proved])
        if proved and same(credential, keys.in_use):
            keys.refused = False
            self.unauthorized_endpoints.works(event.call)
        elif proved and keys.refused and same(credential, keys.fallback):
            # A trial that took longer than its attempt.
            self.circuit_breaker.until = -math.inf
            return self._roll_back(credential)
        return ()

    def recently_proven(self, at: float) -> bool:
        """Return whether the key in use was proven, not long ago, after a 401 on it."""
        return at < max(self.quiet_until, self.proven_until)

    def call_abandoned(self, ticket: int) -> None:
        """Forget a call that no longer waits."""
        if self.attempt is not None:
            self.attempt.tickets.pop(ticket, None)

    def tickets(self) -> tuple[int, ...]:
        """Return the tickets of the calls that wait."""
        return () if self.attempt is None else tuple(self.attempt.tickets)

    def due(self, at: float) -> Sequence[Command]:
        """Handle the recovery timer."""
        attempt = self.attempt
        if attempt is None:
            return ()
        if attempt.phase is RecoveryPhase.REFRESH:
            attempt.pending = True
        elif attempt.phase is RecoveryPhase.BACKOFF:
            attempt.refreshed = at >= attempt.deadline
        elif attempt.phase is RecoveryPhase.TRIAL and at >= attempt.deadline:
            attempt.other = None
        return self._advance(at, attempt, PhaseOutcome.TIMER)

    def key_replaced(
        self, how: Literal["replay", "rollback"] = "replay"
    ) -> Sequence[Command]:
        """Another key is in use: replay the waiting calls with it."""
        if how == "replay":
            self.circuit_breaker.reset()
            # A budget that an outage used up must not be missing when the next key
            # is revoked.
            self.refresh_budget.restore()
        self.quiet_until = self.proven_until = -math.inf
        self.unauthorized_endpoints.clear()
        return self._end(self._replay(self.tickets()))

    def abandon(self) -> Sequence[Command]:
        """End the attempt without a key; the waiting calls get their 401."""
        return self._end((ResolveCalls(self.tickets(), PassThrough()),))

    def _justifies_attempt(self, at: float, call: bytes) -> bool:
        """Return whether a 401 on the key in use starts an attempt."""
        if self.unauthorized_endpoints.explains(call, at):
            return False
        suppressed = self.circuit_breaker.is_open(at) or at < self.quiet_until
        return not suppressed or self.unauthorized_endpoints.take_news(call, at)

    def _advance(
        self, at: float, attempt: RecoveryAttempt, outcome: PhaseOutcome
    ) -> Sequence[Command]:
        """
        Enter the first possible phase that `TRANSITIONS` lists.

        Raises:
            UnexpectedEvent: The table does not list the outcome for the phase, or none
                of the listed phases can be entered.
        """
        following = TRANSITIONS.get((attempt.phase, outcome))
        if following is None:
            message = f"{outcome} in phase {attempt.phase}"
            raise UnexpectedEvent(message)
        if outcome is PhaseOutcome.REFUSED:
            attempt.other = None
        attempt.at = at
        begin = {
            RecoveryPhase.REFRESH: self._refresh,
            RecoveryPhase.PROBE_IN_USE: self._probe_in_use,
            RecoveryPhase.PROBE_CANDIDATE: self._probe_candidate,
            RecoveryPhase.FETCH_PREVIOUS: self._fetch_previous,
            RecoveryPhase.PROBE_FALLBACK: self._probe_fallback,
            RecoveryPhase.TRIAL: self._trial,
            RecoveryPhase.BACKOFF: self._back_off,
            RecoveryPhase.PROVEN: self._proven,
            RecoveryPhase.ROLLED_BACK: self._rolled_back,
            RecoveryPhase.GIVEN_UP: self._give_up,
        }
        for phase in following:
            commands = begin[phase](attempt)
            if commands is not None:
                attempt.phase = phase
                return commands
        if following:
            message = f"no phase follows {outcome} in phase {attempt.phase}"
            raise UnexpectedEvent(message)
        return ()

    # Each method below begins a phase. It returns None if the phase cannot be entered.

    def _refresh(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        if attempt.refreshed:
            return None
        attempt.refreshed = True
        timer = StartTimer(Timer.RECOVERY, PATIENCE_SECONDS)
        schedule = self.refresh_schedule
        if attempt.refresh is not None and schedule.includes(attempt.refresh):
            return (timer,)
        if not self.refresh_budget.take(attempt.at):
            attempt.pending = attempt.answered = False
            return None
        attempt.refresh, commands = schedule.request()
        return (*commands, timer)

    def _probe_in_use(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        in_use = self.keys.in_use
        if not self.probing or in_use is None or attempt.probed_in_use:
            return None
        attempt.probed_in_use = True
        return (Probe(in_use),)

    def _probe_candidate(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        candidate = self.keys.candidate
        if not self.probing or candidate is None or attempt.probed_candidate:
            return None
        attempt.probed_candidate = True
        return (Probe(candidate),)

    def _previous_id(self, attempt: RecoveryAttempt) -> str | None:
        """Return the version of AWSPREVIOUS, if it is known and was not tried yet."""
        wanted, in_use = self.keys.previous_id, self.keys.in_use
        if in_use is not None and wanted == in_use.version_id:
            return None
        return None if wanted in attempt.tried or not attempt.answered else wanted

    def _choose_fallback(self, attempt: RecoveryAttempt) -> Credential | None:
        """Return the other key; once per version."""
        held, wanted = self.keys.fallback, self._previous_id(attempt)
        if attempt.other is not None:
            return attempt.other
        if held is None or same(held, self.keys.in_use):
            return None
        if wanted not in {None, held.version_id} or held.version_id in attempt.tried:
            return None
        attempt.tried.add(held.version_id)
        attempt.other = held
        return held

    def _fetch_previous(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        wanted = self._previous_id(attempt)
        if wanted is None:
            return None
        attempt.tried.add(wanted)
        return (Fetch(VersionStage.PREVIOUS),)

    def _probe_fallback(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        other = self._choose_fallback(attempt) if self.probing else None
        return None if other is None else (Probe(other),)

    def _trial(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        if attempt.phase is RecoveryPhase.TRIAL:
            return None if attempt.other is None else attempt.begin_trial()
        other = self._choose_fallback(attempt)
        if other is None:
            return None
        attempt.other = self.keys.number(other)
        attempt.carriers = 0
        return attempt.begin_trial()

    def _back_off(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        if not attempt.pending or attempt.at >= attempt.deadline:
            return None
        attempt.backoffs += 1
        seconds = backoff(attempt.backoffs, 0.125, 2.0)
        return (StartTimer(Timer.RECOVERY, seconds, 0.5),)

    def _proven(self, attempt: RecoveryAttempt) -> Sequence[Command]:
        """The key in use works: pass the 401 through, keep the key."""
        self.keys.refused = False
        self.unauthorized_endpoints.add(attempt.calls - {b""}, attempt.at)
        self.unauthorized_endpoints.proven = True
        self.quiet_until = attempt.at + QUIET_SECONDS
        if attempt.refresh is not None:
            self.proven_until = attempt.at + PROVEN_SECONDS
        in_use, tickets = self.keys.in_use, attempt.tickets
        passed = tuple(n for n, used in tickets.items() if same(used, in_use))
        replayed = tuple(n for n, used in tickets.items() if not same(used, in_use))
        passing = ResolveCalls(passed, PassThrough())
        return self._end((passing, *self._replay(replayed)))

    def _rolled_back(self, attempt: RecoveryAttempt) -> Sequence[Command] | None:
        return None if attempt.other is None else self._roll_back(attempt.other)

    def _give_up(self, attempt: RecoveryAttempt) -> Sequence[Command]:
        """No key works: pass the 401 through and open the circuit breaker."""
        self.keys.refused = True
        self.unauthorized_endpoints.proven = False
        self.unauthorized_endpoints.add(attempt.calls - {b""}, attempt.at)
        self.circuit_breaker.open(attempt.at)
        again: Sequence[Command] = ()
        if self.probing:
            again = (StartTimer(Timer.PROBE, self.circuit_breaker.interval, 0.1),)
        return self._end((ResolveCalls(self.tickets(), PassThrough()), *again))

    def _roll_back(self, credential: Credential) -> Sequence[Command]:
        """Put the other key into use: it is proven."""
        return (*self.keys.roll_back(credential), *self.key_replaced("rollback"))

    def _replay(self, tickets: tuple[int, ...]) -> Sequence[Command]:
        """Replay calls with the key in use."""
        keys = self.keys
        how: Literal["replay", "rollback"]
        how = "rollback" if keys.rolled_back else "replay"
        verdict = Replay(keys.in_use, how) if keys.in_use else PassThrough()
        return (ResolveCalls(tickets, verdict),)

    def _end(self, commands: Sequence[Command]) -> Sequence[Command]:
        ended, self.attempt = self.attempt, None
        return (*commands, CancelTimer(Timer.RECOVERY)) if ended else commands
