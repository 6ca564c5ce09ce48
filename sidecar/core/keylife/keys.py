"""
The keys that are held, and how one takes the place of another.

- in use: the key that calls carry.
- fallback: the key that was in use before, or AWSPREVIOUS once it was fetched.
- candidate: a changed key that is not proven yet.

Each key that comes into use gets the next generation number. `same` compares two
credentials by their secret, whatever their numbers are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecar.core.keylife.messages import Command, CountCutover, Cutover
from sidecar.core.secrecy.secret import Credential, Secret


def same(one: Credential | None, other: Credential | None) -> bool:
    """Return whether two credentials carry the same key."""
    if one is None or other is None:
        return False
    return one is other or one.secret is other.secret or one.secret == other.secret


@dataclass(slots=True)
class HeldKeys:
    """The keys that are held, and what is known about them."""

    in_use: Credential | None = None
    fallback: Credential | None = None
    candidate: Credential | None = None
    candidate_rejected: bool = False
    newest: str | None = None
    """The version of AWSCURRENT that was handled last."""
    newest_created: float | None = None
    newest_invalid: bool = False
    """Validation rejects the value of that version."""
    previous_id: str | None = None
    """The version of AWSPREVIOUS, as last described."""
    refused: bool = False
    """The API refuses the key in use, and no other key works."""
    rolled_back: bool = False
    generation: int = 0

    def known(self) -> tuple[Secret, ...]:
        """Return every secret that is held, the one in use first."""
        held = (self.in_use, self.fallback, self.candidate)
        return tuple(credential.secret for credential in held if credential)

    def number(self, credential: Credential) -> Credential:
        """Return `credential` with the next generation number."""
        self.generation += 1
        return replace(credential, generation=self.generation)

    def is_older(self, credential: Credential) -> bool:
        """Return whether this version was created before the newest one seen."""
        if credential.created is None or self.newest_created is None:
            return False
        return credential.created < self.newest_created

    def note_newest(self, version_id: str, created: float | None = None) -> None:
        """Record the version of AWSCURRENT and drop the candidate of an earlier one."""
        self.newest = version_id
        self.newest_created = created
        self.newest_invalid = False
        self.candidate = None
        self.candidate_rejected = False

    def note_invalid(self, version_id: str) -> None:
        """Record that validation rejects the value of this version of AWSCURRENT."""
        self.note_newest(version_id, self.newest_created)
        self.newest_invalid = True

    def promote(self, credential: Credential) -> Sequence[Command]:
        """Put AWSCURRENT's key into use; the key before it becomes the fallback."""
        first, restored = self.in_use is None, self.rolled_back
        self._put(credential)
        self.note_newest(credential.version_id, credential.created)
        self.rolled_back = False
        if first:
            return ()
        return self._count(Cutover.RESTORED if restored else Cutover.PROMOTED)

    def roll_back(self, credential: Credential) -> Sequence[Command]:
        """Put another key into use because the API refuses the one in use."""
        self._put(credential)
        # After a rollback, the other key is AWSCURRENT's own.
        self.rolled_back = credential.version_id != self.newest
        cutover = Cutover.ROLLED_BACK if self.rolled_back else Cutover.RESTORED
        return self._count(cutover)

    def relabel(self, credential: Credential) -> Sequence[Command]:
        """Record that another version of AWSCURRENT holds the key in use."""
        if self.in_use is None:
            return ()
        self.in_use = replace(credential, generation=self.in_use.generation)
        return self.settle_on_use()

    def settle_on_use(self) -> Sequence[Command]:
        """Record that AWSCURRENT is the key in use; this ends a rollback."""
        if self.in_use is None:
            return ()
        restored, self.rolled_back = self.rolled_back, False
        self.note_newest(self.in_use.version_id, self.in_use.created)
        return self._count(Cutover.RESTORED) if restored else ()

    def _put(self, credential: Credential) -> None:
        if self.in_use is not None:
            self.fallback = self.in_use
        self.in_use = self.number(credential)
        self.refused = False

    def _count(self, cutover: Cutover) -> Sequence[Command]:
        return (CountCutover(cutover, self.in_use),) if self.in_use else ()
