"""What a rotation would do: the plan played forward, for `--dry-run` and for tests."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, assert_never

from sidecar.core.rotation import plan
from sidecar.core.rotation_facts import (
    Create,
    Done,
    Facts,
    Fence,
    Key,
    Order,
    Promote,
    Proof,
    Prove,
    Refuse,
    Revoke,
    Step,
    Store,
    Unmark,
    Version,
    Wait,
    Why,
)

# Far above any plan: a bound, so that a mistake in `plan` cannot run for ever.
MAX_STEPS: Final = 200


def preview(facts: Facts, order: Order, grace_seconds: float) -> Iterator[Step]:
    """Yield every step up to `Done` or `Refuse`, if the API accepts every key."""
    for _ in range(MAX_STEPS):
        step = plan(facts, order)
        yield step
        if isinstance(step, Done | Refuse):
            return
        facts = after(step, facts, grace_seconds)
    message = "the plan does not end"
    raise AssertionError(message)


def after(step: Step, facts: Facts, grace_seconds: float) -> Facts:
    """Apply what a step brings about when nothing goes wrong."""
    facts = _memory(step, _outside(step, facts), grace_seconds)
    current = facts.current.version_id if facts.current else ""
    ids = {v.key_id for v in (facts.current, facts.previous) if v and v.key_id}
    return replace(
        facts,
        free=facts.marks.free_slot(current, facts.slots),
        seen=facts.seen | ids,
    )


def _outside(step: Step, facts: Facts) -> Facts:  # noqa: PLR0911  (one per step)
    """Change what Secrets Manager and the API hold."""
    match step:
        case Create():
            key = Key(f"the key for {step.version_id[:8]}", step.name)
            return replace(facts, keys=(*facts.keys, key), held=key.key_id)
        case Store():
            created = facts.current.created if facts.current else 0.0
            stored = Version(step.version_id, facts.held, facts.account, created)
            facts = replace(
                facts, pending=stored, slots=facts.slots | {step.version_id}
            )
            return facts if facts.current else replace(facts, current=stored)
        case Fence():
            return replace(
                facts,
                pending=Version(step.version_id, fence=True),
                slots=facts.slots | {step.version_id},
                fenced=facts.fenced | {step.version_id},
            )
        case Promote():
            return replace(
                facts,
                previous=facts.current,
                current=facts.pending,
                slots=frozenset(),
                fenced=frozenset(),
            )
        case Unmark():
            return replace(facts, pending=None)
        case Revoke():
            keys = tuple(
                replace(key, live=key.live and key.key_id != step.key_id)
                for key in facts.keys
            )
            return replace(facts, keys=keys)
        case Prove() | Wait() | Done() | Refuse():
            return facts
        case other:
            assert_never(other)


def _memory(step: Step, facts: Facts, grace_seconds: float) -> Facts:
    """Change what the run remembers."""
    match step:
        case Create():
            return replace(facts, begun=True)
        case Store():
            return replace(facts, held="", attempted=False)
        case Prove():
            return prove(facts, step.version_id, Proof.PROVEN)
        case Promote():
            return replace(facts, begun=True, grace_left=grace_seconds)
        case Wait():
            return waited(replace(facts, grace_left=0.0))
        case _:
            return remember_revoked(step, facts) if isinstance(step, Revoke) else facts


def waited(facts: Facts) -> Facts:
    """Forget the proof of the current key: it is asked for again after the grace."""
    version_id = facts.current.version_id if facts.current else ""
    return prove(facts, version_id, Proof.UNTRIED)


def prove(facts: Facts, version_id: str, proof: Proof) -> Facts:
    """Note what the API said to the key of a version."""

    def noted(version: Version | None) -> Version | None:
        if version is None or version.version_id != version_id:
            return version
        return replace(version, proof=proof)

    return replace(facts, current=noted(facts.current), pending=noted(facts.pending))


def remember_revoked(step: Revoke, facts: Facts) -> Facts:
    """Note what a revocation means for the rest of the run."""
    if step.why is Why.LOST:
        return replace(facts, held="", lost=True)
    if step.why is Why.REJECTED:
        return replace(facts, rejected=True)
    return replace(facts, finished=facts.finished or step.why is Why.SUPERSEDED)
