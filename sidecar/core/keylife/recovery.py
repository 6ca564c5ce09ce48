"""
What is done about a 401 from the API on a live call.

The first question is whether it is news. A call that carried another key than the
one in use is sent again with that one. Otherwise one round begins, and every further
401 on the same key joins it:

    REFRESH    ask the source, with a look that began after the round
            -> another version: it is put into use, and the calls are sent again
    CHECK   probe the key in use: perhaps the 401 was about the call, not the key
            -> proven: the calls get their 401, the key stays
    PROBE_CANDIDATE   probe a candidate that was rejected before
    FETCH   get AWSPREVIOUS
    PROVE   probe it; or, without a probe,
    TRIAL   let one call try it, the others wait
            -> works: rolled back, the calls are sent again
    BACKOFF   the source was away for a moment: REFRESH again, until the deadline

When nothing helps, the calls get the API's own 401 and the circuit opens. In an open
circuit a 401 costs nothing: no look, no probe. But once the key has worked for another
call, the 401 was about the calls that drew it (`unauthorized_endpoints`): theirs pass, and a 401 on
any other call is news.

Rule: a key that works is never given up for one that is not proven. This file gives
up the key in use only after a 401 on it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from sidecar.core.keylife.recovery_attempt import Phase, RecoveryAttempt
from sidecar.core.keylife.refresh import RefreshSchedule
from sidecar.core.keylife.unauthorized_endpoints import UnauthorizedEndpoints
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult

ROUND_SECONDS: Final = 8.0
"""Calls wait for at most 10 s (keeper); the round is over before."""
PATIENCE_SECONDS: Final = 2.0
"""A look that takes longer does not keep the keys in memory from being tried."""
STUCK_SECONDS: Final = 30.0
"""No question takes so long: a round that is this late waits for nothing."""
QUIET_SECONDS: Final = 2.0
"""After the key was proven innocent, a 401 is taken for the call's own fault."""
INNOCENT_SECONDS: Final = 300.0
"""For as long, a probe comes before a look: endpoints that always answer 401 must
not cost a look each time."""

_PASSING: Final = frozenset({RefreshResult.THROTTLED, RefreshResult.UNREACHABLE})
"""Failures of the source that may be over in a moment."""
_FOUND_NOTHING: Final = frozenset(
    {RefreshResult.UNCHANGED, RefreshResult.CHANGED, RefreshResult.INVALID}
)
"""RefreshSchedule that were answered; had they found a key, the round would be over."""


@dataclass(slots=True)
class Recovery:
    """The rounds, and the circuit between them."""

    keys: HeldKeys
    looks: RefreshSchedule
    probing: bool
    """There is a probe."""
    round: RecoveryAttempt | None = None
    circuit: Circuit = field(default_factory=Circuit)
    allowance: TokenBucket = field(default_factory=lambda: TokenBucket(8, 30.0))
    own: UnauthorizedEndpoints = field(default_factory=UnauthorizedEndpoints)
    quiet_until: float = -math.inf
    innocent_until: float = -math.inf

    def challenged(self, event: Unauthorized) -> Sequence[Command]:
        """Take in a 401 on a call; the key in use may be another than the call's."""
        at, used, ticket = event.at, event.used, event.ticket
        tickets = () if ticket is None else (ticket,)
        if self.round is not None and at - self.round.deadline > STUCK_SECONDS:
            # A mistake of ours must not hold up the calls of ever after.
            return (
                *self._give_up(at, self.round),
                ResolveCalls(tickets, PassThrough()),
            )
        if self.round is not None:
            self.round.calls.add(event.call)
            return () if ticket is None else self.round.join(at, used, ticket)
        if not same(used, self.keys.in_use) and not self.keys.refused:
            return self._replay(tickets)
        if self._says_nothing(at, event.call):
            return (ResolveCalls(tickets, PassThrough()),)
        opened = self.round = RecoveryAttempt(at + ROUND_SECONDS, calls={event.call})
        if ticket is not None:
            opened.tickets[ticket] = used
        if self.probing and at < self.innocent_until:
            return self._next(at, opened)
        return self._look(at, opened)

    def _says_nothing(self, at: float, call: bytes) -> bool:
        """Tell whether a 401 on the key in use is no reason to begin a round."""
        if self.own.explains(call, at):
            return True
        resting = self.circuit.is_open(at) or at < self.quiet_until
        return resting and not self.own.take_news(call, at)

    def looked(
        self, at: float, number: int, result: RefreshResult
    ) -> Sequence[Command]:
        """Take in the end of a look that brought no other key into use."""
        going = self.round
        if going is None or going.look is None:
            return ()
        failed = result not in _FOUND_NOTHING
        # A look that began before the round and found nothing proves nothing. One
        # that failed tells that the next will hardly fare better: do not wait twice.
        if number < going.look and not failed:
            return ()
        going.answered = not failed
        going.pending = result in _PASSING
        if going.phase is Phase.REFRESH or (
            going.phase is Phase.BACKOFF and not failed
        ):
            return self._next(at, going)
        return ()

    def probed(
        self, at: float, credential: Credential, proved: bool | None
    ) -> Sequence[Command]:
        """Take in the end of a probe that the round waits for."""
        going = self.round
        if going is None or not self._awaits(going, credential):
            return ()
        if proved and going.phase is Phase.CHECK:
            return self._innocent(at, going)
        if proved and going.phase is Phase.PROVE:
            return self._roll_back(credential)
        if proved is None and going.phase is Phase.PROVE:
            # The API answered a moment ago: perhaps it answers a call.
            return going.begin_trial(at, self.keys.number(credential))
        return self._next(at, going)

    def previous(
        self, at: float, credential: Credential | None, *, passing: bool = False
    ) -> Sequence[Command]:
        """Take in AWSPREVIOUS, or that it cannot be had, perhaps for a moment."""
        going = self.round
        if going is None or going.phase is not Phase.FETCH:
            return ()
        if credential is None:
            if passing:
                going.tried.clear()
                going.answered, going.pending = False, True
            return self._next(at, going)
        if same(credential, self.keys.in_use):
            # AWSPREVIOUS is what is in use, so AWSCURRENT has just changed.
            return self._look(at, going)
        self.keys.fallback = credential
        return self._prove(at, going, credential)

    def tried(self, event: OutcomeReported) -> Sequence[Command]:
        """Take in what a call says about its key."""
        at, credential, proved = event.at, event.credential, event.proved
        going, keys = self.round, self.keys
        if going and going.phase is Phase.TRIAL and same(credential, going.other):
            return self._trial_ended(at, going, credential, proved)
        if proved and same(credential, keys.in_use):
            keys.refused = False
            self.own.works(event.call)
        elif not proved or not keys.refused:
            return ()
        elif same(credential, keys.fallback):
            # A trial that took longer than its round.
            self.circuit.until = -math.inf
            return self._roll_back(credential)
        return ()

    def recently_proven(self, at: float) -> bool:
        """Tell whether the key in use was proven after a 401 on it, not long ago."""
        return at < max(self.quiet_until, self.innocent_until)

    def withdrawn(self, ticket: int) -> None:
        """Forget a call that waits no longer."""
        if self.round is not None:
            self.round.tickets.pop(ticket, None)

    def due(self, at: float) -> Sequence[Command]:
        """Take the next step that time brings."""
        going = self.round
        if going is None:
            return ()
        if going.phase is Phase.REFRESH:
            going.pending = True
            return self._next(at, going)
        if going.phase is Phase.BACKOFF:
            return (
                self._look(at, going)
                if at < going.deadline
                else self._give_up(at, going)
            )
        if going.phase is Phase.TRIAL:
            return self._give_up(at, going) if at >= going.deadline else going.hand(at)
        return ()

    def won(self, how: Literal["replay", "rollback"] = "replay") -> Sequence[Command]:
        """Another key is in use: send the waiting calls again."""
        if how == "replay":
            self.circuit.reset()
            # The looks were spent on a key that is gone; what an outage used up must
            # not be missing when the next key burns.
            self.allowance.restore()
        self.quiet_until = self.innocent_until = -math.inf
        self.own.clear()
        return self._end(self._replay(self._tickets()))

    def abandon(self) -> Sequence[Command]:
        """No key may be given out any more."""
        return self._end((ResolveCalls(self._tickets(), PassThrough()),))

    def _awaits(self, going: RecoveryAttempt, credential: Credential) -> bool:
        """Tell whether the round waits for a probe of this key."""
        if going.phase is Phase.PROBE_CANDIDATE:
            # Any: the candidate may be void by now, and no other probe would come.
            return True
        asked = self.keys.in_use if going.phase is Phase.CHECK else going.other
        return going.phase in {Phase.CHECK, Phase.PROVE} and same(credential, asked)

    def _look(self, at: float, going: RecoveryAttempt) -> Sequence[Command]:
        """Ask the source, with a look that begins from now on."""
        going.phase = Phase.REFRESH
        going.asked = True
        alarm = StartTimer(Timer.RECOVERY, PATIENCE_SECONDS)
        if going.look is not None and self.looks.serves(going.look):
            return (alarm,)
        if not self.allowance.take(at):
            going.pending = going.answered = False
            return self._next(at, going)
        going.look, commands = self.looks.want()
        return (*commands, alarm)

    def _next(self, at: float, going: RecoveryAttempt) -> Sequence[Command]:
        """Turn to the next hope."""
        keys = self.keys
        if self.probing and keys.in_use and not going.checked:
            going.checked = True
            going.phase = Phase.CHECK
            return (Probe(keys.in_use),)
        if not going.asked:
            return self._look(at, going)
        if self.probing and keys.candidate and not going.newer_checked:
            going.newer_checked = True
            going.phase = Phase.PROBE_CANDIDATE
            return (Probe(keys.candidate),)
        if (commands := self._turn_to_other(at, going)) is not None:
            return commands
        if going.pending and at < going.deadline:
            going.phase = Phase.BACKOFF
            going.pauses += 1
            return (StartTimer(Timer.RECOVERY, backoff(going.pauses, 0.125, 2.0), 0.5),)
        return self._give_up(at, going)

    def _turn_to_other(
        self, at: float, going: RecoveryAttempt
    ) -> Sequence[Command] | None:
        """Turn to AWSPREVIOUS or, where it cannot be had, to what was used before."""
        keys, wanted = self.keys, self.keys.previous_id
        if keys.in_use is not None and wanted == keys.in_use.version_id:
            wanted = None
        held = None if same(keys.fallback, keys.in_use) else keys.fallback
        unknown = wanted is None or wanted in going.tried or not going.answered
        fits = held is not None and (unknown or held.version_id == wanted)
        if held and fits and held.version_id not in going.tried:
            going.tried.add(held.version_id)
            return self._prove(at, going, held)
        if wanted is None or unknown:
            return None
        going.tried.add(wanted)
        going.phase = Phase.FETCH
        return (Fetch(VersionStage.PREVIOUS),)

    def _prove(
        self, at: float, going: RecoveryAttempt, credential: Credential
    ) -> Sequence[Command]:
        """Find out whether the other key works."""
        going.other = credential
        if not self.probing:
            return going.begin_trial(at, self.keys.number(credential))
        going.phase = Phase.PROVE
        return (Probe(credential),)

    def _trial_ended(
        self,
        at: float,
        going: RecoveryAttempt,
        credential: Credential,
        proved: bool | None,
    ) -> Sequence[Command]:
        """Take in the outcome of a trial."""
        if proved:
            return self._roll_back(credential)
        if proved is False:
            return self._next(at, going)
        going.carriers = max(0, going.carriers - 1)
        return () if going.carriers else going.hand(at)

    def _roll_back(self, credential: Credential) -> Sequence[Command]:
        """Put the other key into use: it is proven."""
        return (*self.keys.roll_back(credential), *self.won("rollback"))

    def _innocent(self, at: float, going: RecoveryAttempt) -> Sequence[Command]:
        """The key in use is proven: the 401 was the call's own."""
        self.keys.refused = False
        self.own.suspect(going.calls - {b""}, at)
        self.own.proven = True
        self.quiet_until = at + QUIET_SECONDS
        if going.look is not None:
            self.innocent_until = at + INNOCENT_SECONDS
        in_use = self.keys.in_use
        own = {n: None for n, used in going.tickets.items() if same(used, in_use)}
        old = tuple(n for n in going.tickets if n not in own)
        return self._end((ResolveCalls(tuple(own), PassThrough()), *self._replay(old)))

    def _give_up(self, at: float, going: RecoveryAttempt) -> Sequence[Command]:
        """Nothing helps: let the 401 through, and leave the key alone for a while."""
        self.keys.refused = True
        self.own.proven = False
        self.own.suspect(going.calls - {b""}, at)
        self.circuit.open(at)
        again = (
            (StartTimer(Timer.PROBE, self.circuit.interval, 0.1),)
            if self.probing
            else ()
        )
        return self._end((ResolveCalls(self._tickets(), PassThrough()), *again))

    def _replay(self, tickets: tuple[int, ...]) -> Sequence[Command]:
        """Send calls again with the key in use."""
        keys = self.keys
        how: Literal["replay", "rollback"]
        how = "rollback" if keys.rolled_back else "replay"
        verdict = Replay(keys.in_use, how) if keys.in_use else PassThrough()
        return (ResolveCalls(tickets, verdict),)

    def _tickets(self) -> tuple[int, ...]:
        """Return the calls that wait."""
        return () if self.round is None else tuple(self.round.tickets)

    def _end(self, commands: Sequence[Command]) -> Sequence[Command]:
        """End the round, if there is one."""
        ended, self.round = self.round, None
        return (*commands, CancelTimer(Timer.RECOVERY)) if ended else commands
