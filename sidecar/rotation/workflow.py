"""
One rotation, from wherever it is to its end: obeys `sidecar.core.rotation.plan.plan`.

Rule 1: look, decide, do one thing, look again. What a step brought about is seen, not
    assumed; a condition that failed at AWS is simply the next thing seen.
Rule 2: the plaintext of a new key is in `Memory` from the answer of the API until it
    is seen stored, and nowhere else.
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
from sidecar.core.rotation.ownership import keys_nobody_names
from sidecar.core.rotation.plan import plan
from sidecar.core.rotation.preview import preview
from sidecar.core.secrecy.secret import fingerprint_of
from sidecar.errors import Exit
from sidecar.rotation.actions import Actions
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.key_answers import CreateUnsure
from sidecar.rotation.secret_document import NOTHING, CreatedKey
from sidecar.rotation.snapshot import Memory, Observer
from sidecar.rotation.store import Conflict

# Several times what the longest rotation takes, races included.
MAX_STEPS: Final = 80


@dataclass(frozen=True, slots=True)
class RotationOutcome:
    """How a run ended well."""

    fingerprint: str
    """Of the version that is current now."""
    changed: bool
    """This run did something."""
    unnamed: tuple[ApiKey, ...]
    """Keys of the account that no version holds and no rotation made."""
    old_key_unknown: bool = False
    """The key before has no recorded id, so that it could not be revoked."""


Enough = Callable[[RotationFacts], bool]


def never(facts: RotationFacts) -> bool:
    """Run to the end."""
    del facts
    return False


class Workflow:
    """
    Rotates one secret; an object is one run.

    Args:
        parts: what it works with.
        slot: the version that AWS has chosen to come next, where it has.
    """

    def __init__(self, parts: RotationDependencies, slot: str = "") -> None:
        self._parts = parts
        self._slot = slot
        self._memory = Memory()
        self._observer = Observer(parts)
        self._actions = Actions(parts, self._memory)
        self._failure: RotationStopped | None = None

    def observe(self) -> RotationFacts:
        """
        Look at everything.

        Raises:
            RotationStopped: it cannot be looked at.
        """
        facts = self._observer.facts(self._memory, self._slot)
        labelled = (facts.current, facts.pending, facts.previous)
        if facts.held and facts.held in {
            version.key_id for version in labelled if version
        }:
            # It is seen stored: whatever storing it said, and the plaintext has no
            # further business here.
            self._failure = None
            self._memory.made = NOTHING
            self._memory.attempted = False
            facts = replace(facts, held="", attempted=False)
        return facts

    def preview(self, order: RotationRequest) -> Iterator[Step]:
        """Tell what a run would do, changing nothing."""
        return preview(self.observe(), order, self._parts.options.grace_seconds)

    def run(self, order: RotationRequest, enough: Enough = never) -> RotationOutcome:
        """
        Rotate.

        Args:
            order: what is wanted.
            enough: ends the run early, between two steps.

        Raises:
            RotationStopped: what is done stays done; the next run goes on from there.
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
                self._parts.say("somebody else was first: looking again")
                facts = None
            except RotationStopped as exc:
                facts = None
                order = self._clear_away(exc, order)
        else:
            raise RotationStopped(
                Exit.UNEXPECTED, "the rotation does not come to an end", "run it again"
            )
        return self._end(step, facts)

    def _clear_away(
        self, exc: RotationStopped, order: RotationRequest
    ) -> RotationRequest:
        """
        Go on after a failure, only to clear away a key that nobody can use.

        Raises:
            RotationStopped: there is none, or clearing away failed as well.
        """
        made = self._memory.made
        if self._failure is not None:
            raise self._with_hint(self._failure, made)
        if made is NOTHING and not isinstance(exc, CreateUnsure):
            raise exc
        self._parts.say(f"failed: {exc.reason}; clearing away")
        self._failure = exc
        return order if made is not NOTHING else replace(order, begin=False)

    def _with_hint(self, failure: RotationStopped, made: CreatedKey) -> RotationStopped:
        """Tell what is left behind, and that it is not left for ever."""
        known = made is not NOTHING
        which = f"key {made.key_id}" if known else "a key that it may have made"
        hint = f"the next run clears away {which}"
        return RotationStopped(
            failure.exit, failure.reason, f"{failure.remedy}; {hint}"
        )

    def _end(self, step: Done | Refuse, facts: RotationFacts) -> RotationOutcome:
        """Tell how it ended."""
        if self._failure is not None:
            raise self._failure
        if isinstance(step, Refuse):
            raise RotationStopped(step.exit, step.reason, step.remedy)
        memory = self._memory
        if memory.begun:
            self._tag()
        previous = facts.previous
        return RotationOutcome(
            fingerprint=fingerprint_of(
                facts.current.version_id if facts.current else ""
            ),
            changed=memory.begun or memory.finished,
            unnamed=keys_nobody_names(facts),
            old_key_unknown=memory.begun and bool(previous and not previous.key_id),
        )

    def _tag(self) -> None:
        """Let the secret say whose key it is; a rotation does not fail by that."""
        try:
            tags = self._parts.store.describe().tags
            wrong = {
                k: v for k, v in self._parts.options.tags.items() if tags.get(k) != v
            }
            if wrong:
                self._parts.store.tag(wrong)
        except RotationStopped as exc:
            self._parts.say(f"the tags of the secret were not set: {exc.reason}")
