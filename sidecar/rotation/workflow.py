"""
One rotation, from its present state to its end; `sidecar.core.rotation.plan` decides.

Rule 1: read the facts, plan one step, execute it, read again. The effect of a step is
    read, not assumed; so is the reason for a condition that failed at AWS.
Rule 2: the plaintext of a new key is in `RunMemory` from the answer of the API until a
    labelled version holds it, and nowhere else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from sidecar.core.rotation.facts import (
    ApiKey,
    Done,
    Refuse,
    RotationFacts,
    RotationRequest,
    RotationStopped,
    Step,
)
from sidecar.core.rotation.ownership import unnamed_keys
from sidecar.core.rotation.plan import plan
from sidecar.core.rotation.preview import preview
from sidecar.core.secrecy.secret import fingerprint_of
from sidecar.errors import Exit
from sidecar.rotation.actions import Actions
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.key_answers import CreateUnsure
from sidecar.rotation.secret_document import NOTHING, CreatedKey
from sidecar.rotation.snapshot import Observer, RunMemory
from sidecar.rotation.store import Conflict

# Several times the steps of the longest rotation, races included.
MAX_STEPS: Final = 80


@dataclass(frozen=True, slots=True)
class RotationOutcome:
    """The result of a successful run."""

    fingerprint: str
    """Of the current version."""
    changed: bool
    """This run changed something."""
    unnamed: tuple[ApiKey, ...]
    """Live keys that no version holds and no rotation made."""
    old_key_unknown: bool = False
    """The previous version has no key id, so its key was not revoked."""


Enough = Callable[[RotationFacts], bool]


def never(facts: RotationFacts) -> bool:
    """Run to the end of the plan."""
    del facts
    return False


class Workflow:
    """
    Rotates one secret; an object is one run.

    Args:
        parts: the clients and the options.
        next_version_id: the version that AWS has chosen to come next, if any.
    """

    def __init__(self, parts: RotationDependencies, next_version_id: str = "") -> None:
        self._parts = parts
        self._next_version_id = next_version_id
        self._memory = RunMemory()
        self._observer = Observer(parts)
        self._actions = Actions(parts, self._memory)
        self._failure: RotationStopped | None = None

    def observe(self) -> RotationFacts:
        """
        Read the facts.

        Raises:
            RotationStopped: the secret or the list cannot be read.
        """
        facts = self._observer.facts(self._memory, self._next_version_id)
        labelled = (facts.current, facts.pending, facts.previous)
        if facts.held and facts.held in {
            version.key_id for version in labelled if version
        }:
            # The key is stored, even if the call failed; the plaintext is not needed
            # any more.
            self._failure = None
            self._memory.made = NOTHING
            self._memory.note(held="", attempted=False)
            facts = replace(facts, held="", attempted=False)
        return facts

    def preview(self, order: RotationRequest) -> Iterator[Step]:
        """Return the steps of a run without executing them."""
        return preview(self.observe(), order, self._parts.options.grace_seconds)

    def run(self, order: RotationRequest, enough: Enough = never) -> RotationOutcome:
        """
        Rotate.

        Args:
            order: the request.
            enough: ends the run before a step if it returns True.

        Raises:
            RotationStopped: the next run continues from the state at this time.
        """
        facts: RotationFacts | None = None
        for _ in range(MAX_STEPS):
            try:
                facts = facts or self.observe()
                step = Done() if enough(facts) else plan(facts, order)
                if isinstance(step, Done | Refuse):
                    break
                self._parts.say(str(step))
                facts = self._actions.do(step, facts)
            except Conflict:
                self._parts.say("another run was first: reading the state again")
                facts = None
            except RotationStopped as exc:
                facts = None
                order = self._clear_away(exc, order)
        else:
            raise RotationStopped(
                Exit.UNEXPECTED, "the rotation does not end", "run it again"
            )
        return self._end(step, facts)

    def _clear_away(
        self, exc: RotationStopped, order: RotationRequest
    ) -> RotationRequest:
        """
        Continue after a failure, only to revoke a key that no version holds.

        Raises:
            RotationStopped: there is no such key, or its revocation failed too.
        """
        made = self._memory.made
        if self._failure is not None:
            raise self._with_hint(self._failure, made)
        if made is NOTHING and not isinstance(exc, CreateUnsure):
            raise exc
        self._parts.say(f"failed: {exc.reason}; revoking the unused key")
        self._failure = exc
        return order if made is not NOTHING else replace(order, begin=False)

    def _with_hint(self, failure: RotationStopped, made: CreatedKey) -> RotationStopped:
        """Add to the remedy that the next run revokes the key that is left."""
        known = made is not NOTHING
        which = f"key {made.key_id}" if known else "a key that may exist"
        hint = f"the next run revokes {which}"
        return RotationStopped(
            failure.exit, failure.reason, f"{failure.remedy}; {hint}"
        )

    def _end(self, step: Done | Refuse, facts: RotationFacts) -> RotationOutcome:
        """Return the outcome or raise the failure."""
        if self._failure is not None:
            raise self._failure
        if isinstance(step, Refuse):
            raise RotationStopped(step.exit, step.reason, step.remedy)
        memory = self._memory.record
        if memory.begun:
            self._tag()
        previous = facts.previous
        return RotationOutcome(
            fingerprint=fingerprint_of(
                facts.current.version_id if facts.current else ""
            ),
            changed=memory.begun or memory.finished,
            unnamed=unnamed_keys(facts),
            old_key_unknown=memory.begun and bool(previous and not previous.key_id),
        )

    def _tag(self) -> None:
        """Set the tags of the secret; a failure does not fail the rotation."""
        try:
            tags = self._parts.store.describe().tags
            wrong = {
                k: v for k, v in self._parts.options.tags.items() if tags.get(k) != v
            }
            if wrong:
                self._parts.store.tag(wrong)
        except RotationStopped as exc:
            self._parts.say(f"the tags of the secret were not set: {exc.reason}")
