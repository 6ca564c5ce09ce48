"""
How a changed key comes into use: proven first, where there is a probe.

The candidate is probed until the API accepts it, and the old key serves on. A refused
candidate is probed on, less and less often: keys may need a while to become active.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.core.keylife.backoff import backoff
from sidecar.core.keylife.commands import (
    CancelTimer,
    Command,
    CountCutover,
    Probe,
    StartTimer,
)
from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import Cutover, Probed, Timer, Unauthorized
from sidecar.core.keylife.recovery import Recovery
from sidecar.core.secrecy.secret import Credential

UNDECIDED_BACKOFF: Final = (1.0, 60.0)
REFUSED_BACKOFF: Final = (5.0, 300.0)
"""Seconds between probes: the first, and the longest."""


@dataclass(slots=True)
class Cutovers:
    """The way from one key to the next."""

    keys: HeldKeys
    recovery: Recovery
    verifying: bool
    """There is a probe."""
    probing: Credential | None = None
    """The candidate that is being probed."""
    misses: int = 0
    """Probes that did not prove what they were for, in a row."""

    def consider(self, credential: Credential) -> Sequence[Command]:
        """Take AWSCURRENT's changed key as the candidate, or put it into use."""
        keys, lost = self.keys, self.is_lost()
        if lost or not self.verifying:
            return self.promote(credential)
        keys.note_newest(credential.version_id, credential.created)
        keys.candidate = credential
        self.misses = 0
        return self.probe_again()

    def is_lost(self) -> bool:
        """Tell whether the key in use is worth nothing, so that any other may try."""
        keys = self.keys
        return keys.in_use is None or keys.refused or self.recovery.attempt is not None

    def promote(self, credential: Credential) -> Sequence[Command]:
        """Put a key into use, and send again what waits for one."""
        commands = self.keys.promote(credential)
        self.probing = None
        self.misses = 0
        return (*commands, CancelTimer(Timer.PROBE), *self.recovery.key_changed())

    def probe_again(self) -> Sequence[Command]:
        """Probe the candidate, or else the key in use when the API refuses it."""
        keys = self.keys
        if not self.verifying or (self.probing and self.probing is keys.candidate):
            return ()
        if keys.candidate is not None:
            self.probing = keys.candidate
            return (Probe(keys.candidate),)
        return (Probe(keys.in_use),) if keys.in_use and keys.refused else ()

    def challenged(self, at: float, used: Credential) -> Sequence[Command]:
        """Promote the candidate when the old key draws a 401: nothing is to lose."""
        keys = self.keys
        waiting = keys.candidate is not None and not keys.candidate_rejected
        if (
            not waiting
            or not same(used, keys.in_use)
            or self.recovery.recently_proven(at)
        ):
            return ()
        return self.promote(keys.candidate) if keys.candidate else ()

    def probed(self, event: Probed) -> Sequence[Command]:
        """Take in the end of a probe."""
        keys, recovery = self.keys, self.recovery
        commands: Sequence[Command] = ()
        if event.credential is keys.candidate:
            commands = self._judge(event)
        elif same(event.credential, keys.in_use) and recovery.attempt is None:
            return self._probed_in_use(event)
        told = recovery.probed(event.at, event.credential, event.proved)
        return (*commands, *told)

    def _judge(self, event: Probed) -> Sequence[Command]:
        """Promote the candidate, or set the alarm for the next probe of it."""
        keys, turn = self.keys, self.misses
        self.probing = None
        # In a round the key in use is refused: without an answer, try the new one.
        hopeful = event.proved is None and not keys.candidate_rejected
        if event.proved or (hopeful and self.recovery.attempt is not None):
            return self.promote(event.credential)
        self.misses += 1
        if hopeful:
            return (StartTimer(Timer.PROBE, backoff(turn, *UNDECIDED_BACKOFF), 0.5),)
        if keys.candidate_rejected:
            return (StartTimer(Timer.PROBE, backoff(turn, *REFUSED_BACKOFF), 0.1),)
        keys.candidate_rejected = True
        self.misses = 1
        return (
            CountCutover(Cutover.REJECTED, event.credential),
            StartTimer(Timer.PROBE, backoff(0, *REFUSED_BACKOFF), 0.1),
        )

    def _probed_in_use(self, event: Probed) -> Sequence[Command]:
        """Take in a probe of the key in use that no round waits for."""
        keys = self.keys
        if event.proved:
            keys.refused = False
            self.misses = 0
            self.recovery.circuit.reset()
            self.recovery.unauthorized_endpoints.proven = True
            return ()
        if keys.refused:
            self.misses += 1
            seconds = backoff(self.misses, *REFUSED_BACKOFF)
            return (StartTimer(Timer.PROBE, seconds, 0.1),)
        if event.proved is False:
            # A candidate that was promoted while its probe was under way.
            return self.recovery.unauthorized(Unauthorized(event.at, event.credential))
        return ()
