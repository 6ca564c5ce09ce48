"""RefreshSchedule at the secret and at the API, and puts what is found into `RotationFacts`."""

from dataclasses import dataclass, field
from typing import Final

from sidecar.core.rotation.facts import Proof, RotationFacts, RotationStopped, Version
from sidecar.core.rotation.key_naming import KeyNaming
from sidecar.core.rotation.refusals import MAX_ATTEMPTS
from sidecar.errors import Exit
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.secret_document import NOTHING, CreatedKey, read_label
from sidecar.rotation.store import CURRENT, PENDING, PREVIOUS, DescribedSecret

MAX_LOOKS: Final = 5


@dataclass(slots=True)
class Memory:
    """What one run remembers; the next run has none of it."""

    made: CreatedKey = NOTHING
    """The key that this run has made, until it is seen stored or is given up."""
    attempted: bool = False
    lost: bool = False
    begun: bool = False
    finished: bool = False
    rejected: bool = False
    own: str = ""
    sought: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()
    proofs: dict[str, Proof] = field(default_factory=dict)
    grace_ends: float | None = None
    """Monotonic seconds; None = not known yet."""


class Observer:
    """
    Makes `RotationFacts`, again and again in one run.

    Args:
        parts: what is rotated, where it is looked at, time.
    """

    def __init__(self, parts: RotationDependencies) -> None:
        self._options = parts.options
        self._store = parts.store
        self._keys = parts.keys
        self._clock = parts.clock
        self._read: dict[str, Version] = {}

    def facts(self, memory: Memory, slot: str = "") -> RotationFacts:
        """
        Look, and put the run's memory beside what is found.

        Args:
            memory: of the run; the grace is noted in it at the first look.
            slot: the version that AWS has chosen to come next, where it has.

        Raises:
            RotationStopped: the secret or the API cannot be looked at.
        """
        for _ in range(MAX_LOOKS):
            described = self._store.describe()
            facts = self._look(described, memory, slot)
            # Another run may have moved on between our two looks: then the labels
            # and the list of keys do not belong together.
            if self._store.describe().labels == described.labels:
                return facts
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the secret changes faster than it can be looked at",
            "let the other rotations of this secret finish",
        )

    def _look(
        self, described: DescribedSecret, memory: Memory, slot: str
    ) -> RotationFacts:
        """Look once."""
        marks = self._options.marks(described.arn)
        current = self._version(described, CURRENT, memory)
        previous = self._version(described, PREVIOUS, memory)
        ids = {version.key_id for version in (current, previous) if version}
        memory.seen |= ids - {""}
        current_id = current.version_id if current else ""
        slots = self._slots(marks, current_id)
        pending = self._version(described, PENDING, memory)
        if pending and pending.version_id == slot and not pending.key_id:
            pending = None  # AWS has made this version for us to fill
        return RotationFacts(
            marks=marks,
            account=self._options.api.account,
            free=slot or marks.free_slot(current_id, slots),
            given=bool(slot),
            current=current,
            pending=pending,
            previous=previous,
            slots=slots,
            fenced=frozenset(v for v in slots if self._is_fence(v)),
            keys=self._keys.list_keys(),
            grace_left=self._grace_left(described, memory),
            held=memory.made.key_id,
            attempted=memory.attempted,
            seen=memory.seen,
            lost=memory.lost,
            begun=memory.begun,
            finished=memory.finished,
            rejected=memory.rejected,
            own=memory.own,
            sought=memory.sought,
            revoked=memory.revoked,
        )

    def _slots(self, marks: KeyNaming, current_id: str) -> frozenset[str]:
        """List what runs that started from the current version have stored."""
        existing = self._store.version_ids()
        possible = [marks.slot(current_id, n) for n in range(MAX_ATTEMPTS)]
        return existing.intersection(possible)

    def _version(
        self, described: DescribedSecret, label: str, memory: Memory
    ) -> Version | None:
        """Find the version that has a label."""
        version_id = described.labels.get(label)
        if version_id is None:
            return None
        version = self._read.get(version_id)
        # A version that waits for its value has none yet; all others never change.
        if version is None or label == PENDING:
            version = self._read_version(version_id)
        proof = memory.proofs.get(version_id, Proof.UNTRIED)
        return Version(
            version_id,
            version.key_id,
            version.account,
            version.created,
            version.fence,
            proof,
        )

    def _read_version(self, version_id: str) -> Version:
        """Read what a version tells about its key, not the key."""
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
        """Tell whether a version only takes a place."""
        version = self._read.get(version_id) or self._read_version(version_id)
        return version.fence

    def _grace_left(self, described: DescribedSecret, memory: Memory) -> float:
        """
        Count down the grace.

        It began when AWSCURRENT was moved. A run that did not move it knows only that
        nothing of the secret has changed since `changed`; a clock that is wrong
        neither ends the grace before the secret's last change nor makes it longer.
        """
        grace = self._options.grace_seconds
        if memory.grace_ends is None:
            gone = min(max(self._clock.now() - described.changed, 0.0), grace)
            memory.grace_ends = self._clock.monotonic() + grace - gone
        return max(0.0, memory.grace_ends - self._clock.monotonic())
