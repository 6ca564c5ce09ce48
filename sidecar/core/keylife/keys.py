"""
The keys that the life of a credential is about, and the moves among them.

- in use: what calls are given.
- fallback: what was in use before, or AWSPREVIOUS once it was asked for.
- candidate: a changed key that is not proven yet.

A move numbers the key that comes into use, so that the generation grows with every
key; `same` tells whether two credentials are one key under two numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecar.core.keylife.commands import Command, CountCutover
from sidecar.core.keylife.messages import Cutover
from sidecar.core.secrecy.secret import Credential, Secret


def same(one: Credential | None, other: Credential | None) -> bool:
    """Tell whether two credentials carry one key."""
    if one is None or other is None:
        return False
    return one is other or one.secret is other.secret or one.secret == other.secret


@dataclass(slots=True)
class HeldKeys:
    """What is held, and what is known about it."""

    in_use: Credential | None = None
    fallback: Credential | None = None
    candidate: Credential | None = None
    candidate_rejected: bool = False
    newest: str | None = None
    """The version that AWSCURRENT was last dealt with at."""
    newest_created: float | None = None
    newest_spoiled: bool = False
    """The value of that version breaks a rule for keys."""
    previous_id: str | None = None
    """The version of AWSPREVIOUS, as last described."""
    refused: bool = False
    """The API refuses the key in use, and nothing better was found."""
    rolled_back: bool = False
    generation: int = 0

    def known(self) -> tuple[Secret, ...]:
        """Return every secret that is held, the one in use first."""
        held = (self.in_use, self.fallback, self.candidate)
        return tuple(credential.secret for credential in held if credential)

    def number(self, credential: Credential) -> Credential:
        """Return `credential` under the next generation."""
        self.generation += 1
        return replace(credential, generation=self.generation)

    def is_older(self, credential: Credential) -> bool:
        """Tell whether this version was made before the newest one seen."""
        if credential.created is None or self.newest_created is None:
            return False
        return credential.created < self.newest_created

    def note_newest(self, version_id: str, created: float | None = None) -> None:
        """Remember where AWSCURRENT is; a candidate for an earlier place is void."""
        self.newest = version_id
        self.newest_created = created
        self.newest_spoiled = False
        self.candidate = None
        self.candidate_rejected = False

    def note_spoiled(self, version_id: str) -> None:
        """Remember that AWSCURRENT is at a version with a useless value."""
        self.note_newest(version_id, self.newest_created)
        self.newest_spoiled = True

    def promote(self, credential: Credential) -> Sequence[Command]:
        """Put AWSCURRENT's key into use; the one before it becomes the fallback."""
        first, restored = self.in_use is None, self.rolled_back
        self._put(credential)
        self.note_newest(credential.version_id, credential.created)
        self.rolled_back = False
        if first:
            return ()
        return (self._record(Cutover.RESTORED if restored else Cutover.PROMOTED),)

    def roll_back(self, credential: Credential) -> Sequence[Command]:
        """Put the other key into use, because the API refuses the one that is."""
        self._put(credential)
        # The other of two keys may well be AWSCURRENT's, revived.
        self.rolled_back = credential.version_id != self.newest
        cutover = Cutover.ROLLED_BACK if self.rolled_back else Cutover.RESTORED
        return (self._record(cutover),)

    def relabel(self, credential: Credential) -> Sequence[Command]:
        """AWSCURRENT is at another version with the key that is in use already."""
        if self.in_use is None:
            return ()
        self.in_use = replace(credential, generation=self.in_use.generation)
        return self.settle_on_use()

    def settle_on_use(self) -> Sequence[Command]:
        """AWSCURRENT is where the key in use is: nothing else is wanted."""
        if self.in_use is None:
            return ()
        restored, self.rolled_back = self.rolled_back, False
        self.note_newest(self.in_use.version_id, self.in_use.created)
        return (self._record(Cutover.RESTORED),) if restored else ()

    def _put(self, credential: Credential) -> None:
        """Put a key into use."""
        if self.in_use is not None:
            self.fallback = self.in_use
        self.in_use = self.number(credential)
        self.refused = False

    def _record(self, cutover: Cutover) -> CountCutover:
        """Return the command to count a move to the key in use."""
        if self.in_use is None:
            message = "no key is in use"
            raise ValueError(message)
        return CountCutover(cutover, self.in_use)
