"""
The types of a rotation: the facts before a step, the steps, and the reasons to stop.

Rule 1: facts are read from Secrets Manager and from the API before every step. The
    record of a run (`RunRecord`) is an addition only: correctness does not depend on
    it, because a run that dies is replaced by one without a record.
Rule 2: no step and no fact holds a plaintext.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sidecar.core.rotation.key_naming import KeyNaming
from sidecar.errors import Exit, SidecarError


class Proof(StrEnum):
    """The result of a call to the API with a key."""

    UNTRIED = "untried"
    PROVEN = "proven"
    REFUSED = "refused"
    """401 for as long as a new key may take to become valid."""
    SILENT = "silent"
    """No answer, or one that neither accepts nor refuses the key."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the secret, without its value."""

    version_id: str
    key_id: str = ""
    """As stored beside the key; empty = the value has none."""
    account: str = ""
    created: float = 0.0
    """Unix seconds."""
    fence: bool = False
    """Holds no key and only occupies a version: see `Fence`."""
    proof: Proof = Proof.UNTRIED


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the API lists it."""

    key_id: str
    name: str = ""
    live: bool = True
    created: str = ""
    """A date for display."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run remembers of its own steps; the next run starts without it."""

    held: str = ""
    """Id of a key made by this run; its plaintext is in memory only."""
    attempted: bool = False
    """A store of that key was tried; if no version has it now, none will."""
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
    """Id of the key that this run has made, in any version or none."""
    sought: frozenset[str] = frozenset()
    """Ids for which this run has waited the time that a new key may need in the list."""
    revoked: frozenset[str] = frozenset()
    """Ids of keys that this run has revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationFacts(RunRecord):
    """Everything that is known before a step: the secret, the API, the run's record."""

    naming: KeyNaming
    account: str
    next_version_id: str
    """The version that comes next: see `KeyNaming.next_version_id`."""
    given: bool = False
    """AWS chose `next_version_id`, so it cannot be fenced or replaced by another."""
    current: Version | None = None
    pending: Version | None = None
    previous: Version | None = None
    attempts: frozenset[str] = frozenset()
    """Versions stored by runs that started from the current version."""
    fenced: frozenset[str] = frozenset()
    """Those of them that hold no key."""
    keys: tuple[ApiKey, ...] = ()
    grace_left: float = 0.0
    """Seconds until every sidecar is expected to use the current version."""

    def live(self, key_id: str) -> bool:
        """Return True if the API lists this key as live."""
        return any(key.live and key.key_id == key_id for key in self.keys)

    def listed(self, key_id: str) -> bool:
        """Return True if the API lists this key; a list may lag or be incomplete."""
        return any(key.key_id == key_id for key in self.keys)

    def dead(self, key_id: str) -> bool:
        """Return True if this key is certainly invalid; a missing key need not be."""
        listed_dead = self.listed(key_id) and not self.live(key_id)
        return listed_dead or key_id in self.revoked


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """What the caller wants."""

    begin: bool = True
    """Begin a rotation if none is unfinished; False = only finish one."""
    again: bool = False
    """Begin a rotation also after finishing one: the key in use has leaked."""
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
        RevokeReason.SUPERSEDED: "a proven key replaces it",
        RevokeReason.REJECTED: "the API refuses it",
        RevokeReason.OVERTAKEN: "a newer key was stored by hand",
        RevokeReason.ORPHANED: "its run died before it was stored",
        RevokeReason.LOST: "it could not be stored",
    }
)


@dataclass(frozen=True, slots=True)
class Create:
    """Create a key with this name at the API, for this version."""

    version_id: str
    name: str

    def __str__(self) -> str:
        return f"create a key at the API, named {self.name}"


@dataclass(frozen=True, slots=True)
class StorePending:
    """
    Store the held key in this version, as AWSPENDING.

    Secrets Manager adds AWSCURRENT to the first version of a secret.
    """

    version_id: str

    def __str__(self) -> str:
        return f"store it as AWSPENDING, version {self.version_id[:8]}"


@dataclass(frozen=True, slots=True)
class Fence:
    """
    Store a value without a key in this version.

    A key that no version holds may belong to a dead run or to a slow one. A slow run
    cannot store its key once the version is occupied, so the key can be revoked.
    """

    version_id: str

    def __str__(self) -> str:
        return f"close version {self.version_id[:8]} to the run that did not store"


@dataclass(frozen=True, slots=True)
class Prove:
    """Call the API with the key of this version."""

    version_id: str

    def __str__(self) -> str:
        return f"prove the key of version {self.version_id[:8]} against the API"


@dataclass(frozen=True, slots=True)
class Find:
    """Read the API's list until the key is in it, or a new key would be."""

    key_id: str

    def __str__(self) -> str:
        return f"wait for key {self.key_id} in the API's list"


@dataclass(frozen=True, slots=True)
class Promote:
    """Move AWSCURRENT; Secrets Manager refuses if another run has moved it."""

    version_id: str
    from_version_id: str

    def __str__(self) -> str:
        return f"move AWSCURRENT to version {self.version_id[:8]}"


@dataclass(frozen=True, slots=True)
class Unmark:
    """Remove AWSPENDING from this version."""

    version_id: str

    def __str__(self) -> str:
        return f"remove AWSPENDING from version {self.version_id[:8]}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the sidecars use the new version."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:.0f} s until the sidecars use it"


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
    """Stop; nothing is changed."""

    exit: Exit
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"stop: {self.reason}; {self.remedy}"


Action = Create | StorePending | Fence | Prove | Find | Promote | Unmark | Wait | Revoke
Step = Action | Done | Refuse


class RotationStopped(SidecarError):
    """A rotation cannot continue; the next run resumes it."""

    def __init__(self, code: Exit, reason: str, remedy: str) -> None:
        super().__init__(code, reason)
        self.exit = code
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        """Return reason and remedy; they contain no value."""
        return f"{self.reason}; {self.remedy}"
