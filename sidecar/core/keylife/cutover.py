"""
How a changed key comes into use: it is proven first where a probe is configured.

The candidate is probed until the API accepts it, and the old key stays in use. A
candidate that the API rejects is probed less and less often: a new key may need a while
to become active.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.core.keylife.backoff import backoff
from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import (
    CancelTimer,
    Command,
    CountCutover,
    Cutover,
    Probe,
    Probed,
    StartTimer,
    Timer,
    Unauthorized,
)
from sidecar.core.keylife.recovery import Recovery
from sidecar.core.secrecy.secret import Credential

UNDECIDED_BACKOFF: Final = (1.0, 60.0)
REFUSED_BACKOFF: Final = (5.0, 300.0)
"""Seconds between probes: the first and the longest."""


@dataclass(slots=True)
class Cutovers:
    """The changes from one key to the next."""

    keys: HeldKeys
    recovery: Recovery
    probing: bool
    """A probe is configured."""
    probed_candidate: Credential | None = None
    """The candidate whose probe is under way."""
    failures: int = 0
    """Probes in a row that did not prove their key."""

    def consider(self, credential: Credential) -> Sequence[Command]:
        """Make AWSCURRENT's changed key the candidate, or put it into use."""
        keys, promote = self.keys, self.accepts_any_key()
        if promote or not self.probing:
            return self.promote(credential)
        keys.note_newest(credential.version_id, credential.created)
        keys.candidate = credential
        self.failures = 0
        return self.probe_again()

    def accepts_any_key(self) -> bool:
        """Return whether there is no working key, so that any other may be used."""
        keys = self.keys
        return keys.in_use is None or keys.refused or self.recovery.attempt is not None

    def promote(self, credential: Credential) -> Sequence[Command]:
        """Put a key into use, and replay the calls that wait for one."""
        commands = self.keys.promote(credential)
        self.probed_candidate = None
        self.failures = 0
        return (*commands, CancelTimer(Timer.PROBE), *self.recovery.key_replaced())

    def probe_again(self) -> Sequence[Command]:
        """Probe the candidate or, without one, the key in use if the API refuses it."""
        keys = self.keys
        if not self.probing:
            return ()
        if keys.candidate is not None:
            if self.probed_candidate is keys.candidate:
                return ()
            self.probed_candidate = keys.candidate
            return (Probe(keys.candidate),)
        return (Probe(keys.in_use),) if keys.in_use and keys.refused else ()

    def unauthorized(self, at: float, used: Credential) -> Sequence[Command]:
        """Promote the candidate if the old key gets 401, unless either was judged."""
        keys = self.keys
        if (
            keys.candidate is None
            or keys.candidate_rejected
            or not same(used, keys.in_use)
            or self.recovery.recently_proven(at)
        ):
            return ()
        return self.promote(keys.candidate)

    def probed(self, event: Probed) -> Sequence[Command]:
        """Handle the end of a probe."""
        keys, recovery = self.keys, self.recovery
        commands: Sequence[Command] = ()
        if event.credential is keys.candidate:
            commands = self._candidate_probed(event)
        elif same(event.credential, keys.in_use) and recovery.attempt is None:
            return self._in_use_probed(event)
        recovered = recovery.probed(event.at, event.credential, event.proved)
        return (*commands, *recovered)

    def _candidate_probed(self, event: Probed) -> Sequence[Command]:
        """Promote the candidate, or start the timer for its next probe."""
        keys, attempt = self.keys, self.failures
        self.probed_candidate = None
        undecided = event.proved is None and not keys.candidate_rejected
        # In a recovery, calls wait for a key: an undecided candidate is put into use.
        if event.proved or (undecided and self.recovery.attempt is not None):
            return self.promote(event.credential)
        self.failures += 1
        if undecided:
            seconds = backoff(attempt, *UNDECIDED_BACKOFF)
            return (StartTimer(Timer.PROBE, seconds, 0.5),)
        if keys.candidate_rejected:
            seconds = backoff(attempt, *REFUSED_BACKOFF)
            return (StartTimer(Timer.PROBE, seconds, 0.1),)
        keys.candidate_rejected = True
        self.failures = 1
        return (
            CountCutover(Cutover.REJECTED, event.credential),
            StartTimer(Timer.PROBE, backoff(0, *REFUSED_BACKOFF), 0.1),
        )

    def _in_use_probed(self, event: Probed) -> Sequence[Command]:
        """Handle a probe of the key in use while there is no recovery attempt."""
        keys = self.keys
        if event.proved:
            keys.refused = False
            self.failures = 0
            self.recovery.circuit_breaker.reset()
            self.recovery.unauthorized_endpoints.proven = True
            return ()
        if keys.refused:
            self.failures += 1
            seconds = backoff(self.failures, *REFUSED_BACKOFF)
            return (StartTimer(Timer.PROBE, seconds, 0.1),)
        if event.proved is False:
            # The candidate was promoted while its probe was under way.
            return self.recovery.unauthorized(Unauthorized(event.at, event.credential))
        return ()
