"""The steps of a rotation in advance, for `--dry-run` and for tests."""

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from sidecar.core.rotation.facts import (
    Action,
    ApiKey,
    Create,
    Done,
    Fence,
    Find,
    Promote,
    Proof,
    Prove,
    Refuse,
    Revoke,
    RevokeReason,
    RotationFacts,
    RotationRequest,
    Step,
    StorePending,
    Unmark,
    Version,
    Wait,
)
from sidecar.core.rotation.plan import plan


def preview(
    facts: RotationFacts, order: RotationRequest, grace_seconds: float
) -> Iterator[Step]:
    """Yield every step up to `Done` or `Refuse`, assuming that the API accepts all keys."""
    while True:
        step = plan(facts, order)
        yield step
        if isinstance(step, Done | Refuse):
            return
        facts = after(step, facts, grace_seconds)


def after(step: Action, facts: RotationFacts, grace_seconds: float) -> RotationFacts:
    """Return the facts after a step that succeeds."""
    facts = _memory(step, _outside(step, facts), grace_seconds)
    current = facts.current.version_id if facts.current else ""
    ids = {v.key_id for v in (facts.current, facts.previous) if v and v.key_id}
    return replace(
        facts,
        next_version_id=facts.naming.free_version_id(current, facts.attempts),
        seen=facts.seen | ids,
    )


def _outside(step: Action, facts: RotationFacts) -> RotationFacts:  # noqa: PLR0911  (one per step)
    """Apply the effect on Secrets Manager and the API."""
    match step:
        case Create():
            key = ApiKey(f"the key for {step.version_id[:8]}", step.name)
            return replace(facts, keys=(*facts.keys, key), held=key.key_id)
        case StorePending():
            created = facts.current.created if facts.current else 0.0
            stored = Version(step.version_id, facts.held, facts.account, created)
            facts = replace(
                facts, pending=stored, attempts=facts.attempts | {step.version_id}
            )
            return facts if facts.current else replace(facts, current=stored)
        case Fence():
            return replace(
                facts,
                pending=Version(step.version_id, fence=True),
                attempts=facts.attempts | {step.version_id},
                fenced=facts.fenced | {step.version_id},
            )
        case Promote():
            return replace(
                facts,
                previous=facts.current,
                current=facts.pending,
                attempts=frozenset(),
                fenced=frozenset(),
            )
        case Find():
            return replace(facts, keys=(*facts.keys, ApiKey(step.key_id)))
        case Unmark():
            return replace(facts, pending=None)
        case Revoke():
            keys = tuple(
                replace(key, live=key.live and key.key_id != step.key_id)
                for key in facts.keys
            )
            return replace(facts, keys=keys)
        case Prove() | Wait():
            return facts
        case other:
            assert_never(other)


def _memory(step: Action, facts: RotationFacts, grace_seconds: float) -> RotationFacts:
    """Apply the effect on the record of the run."""
    match step:
        case Create():
            facts = replace(facts, begun=True, own=facts.held)
        case StorePending():
            facts = replace(facts, held="", attempted=False)
        case Prove():
            facts = prove(facts, step.version_id, Proof.PROVEN)
        case Promote():
            facts = replace(facts, begun=True, grace_left=grace_seconds)
        case Wait():
            facts = waited(replace(facts, grace_left=0.0))
        case Revoke():
            finished = facts.finished or step.why is RevokeReason.SUPERSEDED
            revoked = facts.revoked | {step.key_id}
            facts = replace(facts, finished=finished, revoked=revoked)
        case _:
            pass
    return facts


def waited(facts: RotationFacts) -> RotationFacts:
    """Discard the proof of the current key: the key is proven again after the grace."""
    version_id = facts.current.version_id if facts.current else ""
    return prove(facts, version_id, Proof.UNTRIED)


def prove(facts: RotationFacts, version_id: str, proof: Proof) -> RotationFacts:
    """Set the proof of a version."""

    def noted(version: Version | None) -> Version | None:
        if version is None or version.version_id != version_id:
            return version
        return replace(version, proof=proof)

    return replace(facts, current=noted(facts.current), pending=noted(facts.pending))
