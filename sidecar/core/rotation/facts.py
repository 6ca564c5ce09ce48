"""
The words of a rotation: what a run can see, what it may do next, why it stops.

Rule 1: facts are read back from Secrets Manager and from the API before every step.
    What a run only remembers (`held`, `seen`, `begun`...) makes it better, never
    right: a run that dies is replaced by one that remembers nothing.
Rule 2: no step and no fact holds a plaintext.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sidecar.core.rotation.key_naming import KeyNaming
from sidecar.errors import Exit, SidecarError


class Proof(StrEnum):
    """What the API said when a key was shown to it."""

    UNTRIED = "untried"
    PROVEN = "proven"
    REFUSED = "refused"
    """401, and again after a while: a new key may take a moment to be known."""
    SILENT = "silent"
    """No answer, or one that tells nothing about the key."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the secret, without its value."""

    version_id: str
    key_id: str = ""
    """As stored beside the key; empty = the value does not tell."""
    account: str = ""
    created: float = 0.0
    """Unix seconds."""
    fence: bool = False
    """Holds no key: it only takes the place of a version, see `Fence`."""
    proof: Proof = Proof.UNTRIED


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the API lists it."""

    key_id: str
    name: str = ""
    live: bool = True
    created: str = ""
    """As the API writes it; for people only."""


@dataclass(frozen=True, slots=True)
class RotationFacts:
    """What is known before a step; those from `held` on are the memory of this run."""

    marks: KeyNaming
    account: str
    free: str
    """The version that comes next: see `KeyNaming.slot`."""
    given: bool = False
    """`free` was chosen by AWS, so it cannot be fenced and another one be taken."""
    current: Version | None = None
    pending: Version | None = None
    previous: Version | None = None
    slots: frozenset[str] = frozenset()
    """Versions that runs which started from the current version have stored."""
    fenced: frozenset[str] = frozenset()
    """Those of them that hold no key."""
    keys: tuple[ApiKey, ...] = ()
    grace_left: float = 0.0
    """Seconds until the sidecars can be trusted to use the current version."""

    held: str = ""
    """Id of a key made by this run; its plaintext is in memory only."""
    attempted: bool = False
    """Storing it was tried: if no version has it now, none ever will."""
    seen: frozenset[str] = frozenset()
    """Ids of keys that were current or previous at any time in this run."""
    lost: bool = False
    """The key made by this run could not be stored, and was revoked."""
    begun: bool = False
    """This run has made or promoted a key."""
    finished: bool = False
    """This run has revoked what an earlier one left."""
    rejected: bool = False
    """This run has revoked a new key that the API refused."""
    own: str = ""
    """Id of the key that this run has made, wherever it is now."""
    sought: frozenset[str] = frozenset()
    """Ids that this run has looked for in the list as long as a new key may take."""
    revoked: frozenset[str] = frozenset()
    """Ids of keys that this run has revoked."""

    def live(self, key_id: str) -> bool:
        """Tell whether the API lists this key as usable."""
        return any(key.live and key.key_id == key_id for key in self.keys)

    def listed(self, key_id: str) -> bool:
        """Tell whether the API lists this key: a list may lag, or end too early."""
        return any(key.key_id == key_id for key in self.keys)

    def dead(self, key_id: str) -> bool:
        """Tell whether this key certainly works no more; not listed is not dead."""
        listed_dead = self.listed(key_id) and not self.live(key_id)
        return listed_dead or key_id in self.revoked


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """What the caller wants."""

    begin: bool = True
    """Begin a rotation when none is unfinished; else only finish one."""
    again: bool = False
    """Begin one also after finishing another: the key in use has leaked."""
    first: bool = False
    """Fill a secret that has no value yet."""


class RevokeReason(StrEnum):
    """Why a key is revoked."""

    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    OVERTAKEN = "overtaken"
    ORPHANED = "orphaned"
    LOST = "lost"


BECAUSE: Final = MappingProxyType(
    {
        RevokeReason.SUPERSEDED: "a proven key serves in its place",
        RevokeReason.REJECTED: "the API refuses it",
        RevokeReason.OVERTAKEN: "a newer key was stored by hand",
        RevokeReason.ORPHANED: "its run died before it was stored",
        RevokeReason.LOST: "it could not be stored",
    }
)


@dataclass(frozen=True, slots=True)
class Create:
    """Make a key of this name at the API, for this version."""

    version_id: str
    name: str

    def __str__(self) -> str:
        return f"create a key at the API, named {self.name}"


@dataclass(frozen=True, slots=True)
class StorePending:
    """
    Put the held key into this version, as AWSPENDING.

    Secrets Manager adds AWSCURRENT by itself when it is the first one.
    """

    version_id: str

    def __str__(self) -> str:
        return f"store it as AWSPENDING, version {self.version_id[:8]}"


@dataclass(frozen=True, slots=True)
class Fence:
    """
    Put a value without a key into this version.

    The key of a run that died may be the key of a run that is only slow. Once its
    version is taken, a slow run can no longer store it, so that revoking is safe.
    """

    version_id: str

    def __str__(self) -> str:
        return f"close version {self.version_id[:8]} to the run that did not store"


@dataclass(frozen=True, slots=True)
class Prove:
    """Show the key of this version to the API."""

    version_id: str

    def __str__(self) -> str:
        return f"prove the key of version {self.version_id[:8]} against the API"


@dataclass(frozen=True, slots=True)
class Find:
    """Look for a key in the API's list until it is there, or a new key would be."""

    key_id: str

    def __str__(self) -> str:
        return f"look for key {self.key_id} in the API's list"


@dataclass(frozen=True, slots=True)
class Promote:
    """Move AWSCURRENT; refused by Secrets Manager unless it is still where we saw it."""

    version_id: str
    from_version_id: str

    def __str__(self) -> str:
        return f"move AWSCURRENT to version {self.version_id[:8]}"


@dataclass(frozen=True, slots=True)
class Unmark:
    """Take AWSPENDING off this version."""

    version_id: str

    def __str__(self) -> str:
        return f"take AWSPENDING off version {self.version_id[:8]}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Let the sidecars see the new version."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:.0f} s for the sidecars to see it"


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke a key at the API."""

    key_id: str
    why: RevokeReason

    def __str__(self) -> str:
        return f"revoke key {self.key_id}: {BECAUSE[self.why]}"


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do."""

    def __str__(self) -> str:
        return "done"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Go no further; what is there stays as it is."""

    exit: Exit
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"stop: {self.reason}; {self.remedy}"


Action = Create | StorePending | Fence | Prove | Find | Promote | Unmark | Wait | Revoke
Step = Action | Done | Refuse


class RotationStopped(SidecarError):
    """A rotation cannot go on; the next run takes it up where it is."""

    def __init__(self, code: Exit, reason: str, remedy: str) -> None:
        super().__init__(code, reason)
        self.exit = code
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        """What happened and what to do; never a value."""
        return f"{self.reason}; {self.remedy}"
