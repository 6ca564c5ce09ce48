"""Reads the secret and the list of keys, and returns them as `RotationFacts`."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from sidecar.core.rotation.facts import (
    Proof,
    RotationFacts,
    RotationStopped,
    RunRecord,
    Version,
)
from sidecar.core.rotation.key_naming import KeyNaming
from sidecar.core.rotation.refusals import MAX_ATTEMPTS
from sidecar.errors import Exit
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.secret_document import NOTHING, CreatedKey, read_label
from sidecar.rotation.store import CURRENT, PENDING, PREVIOUS, DescribedSecret

MAX_READS: Final = 5
RECORD_FIELDS: Final = tuple(field.name for field in fields(RunRecord))


@dataclass(slots=True)
class RunMemory:
    """The state of one run; the next run starts without it."""

    made: CreatedKey = NOTHING
    """The key that this run has made, until it is stored or given up."""
    record: RunRecord = field(default_factory=RunRecord)
    proofs: dict[str, Proof] = field(default_factory=dict)
    grace_ends: float | None = None
    """Monotonic seconds; None = not known yet."""

    def note(self, **changes: Any) -> None:
        """Change fields of the record."""
        self.record = replace(self.record, **changes)


class Observer:
    """
    Reads the facts of one run, before each of its steps.

    Args:
        parts: the clients and the options.
    """

    def __init__(self, parts: RotationDependencies) -> None:
        self._options = parts.options
        self._store = parts.store
        self._keys = parts.keys
        self._clock = parts.clock
        self._read: dict[str, Version] = {}

    def facts(self, memory: RunMemory, next_version_id: str = "") -> RotationFacts:
        """
        Read the secret and the list, and add the record of the run.

        Args:
            memory: of the run; the first call sets the end of its grace.
            next_version_id: the version that AWS has chosen to come next, if any.

        Raises:
            RotationStopped: the secret or the list cannot be read.
        """
        for _ in range(MAX_READS):
            described = self._store.describe()
            facts = self._read_once(described, memory, next_version_id)
            # If another run has moved a label meanwhile, the labels and the list of
            # keys do not belong together.
            if self._store.describe().labels == described.labels:
                return facts
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the secret changes faster than it can be read",
            "let the other rotations of this secret finish",
        )

    def _read_once(
        self, described: DescribedSecret, memory: RunMemory, next_version_id: str
    ) -> RotationFacts:
        """Read everything once."""
        naming = self._options.naming(described.arn)
        current = self._version(described, CURRENT, memory)
        previous = self._version(described, PREVIOUS, memory)
        ids = {version.key_id for version in (current, previous) if version}
        memory.note(seen=memory.record.seen | (ids - {""}))
        current_id = current.version_id if current else ""
        attempts = self._attempts(naming, current_id)
        pending = self._version(described, PENDING, memory)
        if pending and pending.version_id == next_version_id and not pending.key_id:
            pending = None  # AWS made this version, and we fill it
        return RotationFacts(
            naming=naming,
            account=self._options.api.account,
            next_version_id=next_version_id
            or naming.free_version_id(current_id, attempts),
            given=bool(next_version_id),
            current=current,
            pending=pending,
            previous=previous,
            attempts=attempts,
            fenced=frozenset(v for v in attempts if self._is_fence(v)),
            keys=self._keys.list_keys(),
            grace_left=self._grace_left(described, memory),
            **{name: getattr(memory.record, name) for name in RECORD_FIELDS},
        )

    def _attempts(self, naming: KeyNaming, current_id: str) -> frozenset[str]:
        """Return the versions of runs that started from the current version."""
        existing = self._store.version_ids()
        possible = [naming.next_version_id(current_id, n) for n in range(MAX_ATTEMPTS)]
        return existing.intersection(possible)

    def _version(
        self, described: DescribedSecret, label: str, memory: RunMemory
    ) -> Version | None:
        """Return the version that has a label."""
        version_id = described.labels.get(label)
        if version_id is None:
            return None
        version = self._read.get(version_id)
        # Only a version without a value can still change.
        if version is None or label == PENDING:
            version = self._read_version(version_id)
        proof = memory.proofs.get(version_id, Proof.UNTRIED)
        return replace(version, proof=proof)

    def _read_version(self, version_id: str) -> Version:
        """Read the metadata of a version's key, not the key."""
        read = self._store.read(version_id)
        if read is None:
            return Version(version_id)
        label = read_label(read.raw)
        version = Version(
            version_id, label.key_id, label.account, read.created, label.fence
        )
        self._read[version_id] = version
        return version

    def _is_fence(self, version_id: str) -> bool:
        """Return True if a version holds no key."""
        version = self._read.get(version_id) or self._read_version(version_id)
        return version.fence

    def _grace_left(self, described: DescribedSecret, memory: RunMemory) -> float:
        """
        Return the seconds of the grace that are left.

        The grace begins when AWSCURRENT moves. A run that did not move it uses the
        last change of the secret; a wrong clock neither ends the grace before that
        change nor makes it longer.
        """
        grace = self._options.grace_seconds
        if memory.grace_ends is None:
            gone = min(max(self._clock.now() - described.changed, 0.0), grace)
            memory.grace_ends = self._clock.monotonic() + grace - gone
        return max(0.0, memory.grace_ends - self._clock.monotonic())
