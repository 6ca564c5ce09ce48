"""
The next step of a rotation.

Rule 1: `plan` depends on the facts only, so that the next run continues correctly after
    a crash between any two steps.
Rule 2: a key is revoked only after its replacement is proven in this run and the grace
    is over; a key that no version holds is an exception.
Rule 3: a key that no version holds is revoked only if no run can still store it.
Rule 4: a version or key of unknown origin is not changed, and is reported.
Rule 5: a key that the API does not list need not be dead: a list may lag. Only a listed
    key is promoted, because only a listed key can be revoked later.
Rule 6: the key in AWSCURRENT is never revoked. If that version has no `key_id`, any
    working key may be the one: then a new key is promoted first.

The order without errors: Create, StorePending, Prove, Promote, Unmark, Wait, Prove again
(a new key may be revoked in its first minutes; then the old key is needed), Revoke.
"""

from sidecar.core.rotation.facts import (
    Create,
    Done,
    Fence,
    Find,
    Promote,
    Proof,
    Prove,
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
from sidecar.core.rotation.ownership import is_ours, named_in, orphan_named, strays_of
from sidecar.core.rotation.refusals import (
    BROKEN,
    EMPTY,
    EXHAUSTED,
    FOREIGN,
    LOST,
    MAX_ATTEMPTS,
    OCCUPIED,
    REJECTED,
    UNDEAD,
    UNLISTED,
    UNPROVEN,
    UNUSED,
)


def plan(facts: RotationFacts, order: RotationRequest) -> Step:
    """Return the next step; `Done` and `Refuse` end the run."""
    if facts.lost:
        return LOST
    if any(facts.live(key_id) for key_id in facts.revoked):
        return UNDEAD
    if facts.held and facts.held not in named_in(facts):
        return _place(facts)
    if facts.current is None:
        return _fill(facts, order)
    if order.first and not facts.begun:
        return OCCUPIED
    return (
        _pending(facts, facts.current)
        or _orphans(facts)
        or _supersede(facts, facts.current, order)
        or (_begin(facts) if _may_begin(facts, order) else _end(facts))
    )


def _place(facts: RotationFacts) -> Step:
    """Store the held key, or revoke it if storing it failed."""
    if facts.attempted:
        return Revoke(facts.held, RevokeReason.LOST)
    return StorePending(facts.next_version_id)


def _fill(facts: RotationFacts, order: RotationRequest) -> Step:
    """Begin with a secret without a value; there is no key to fall back to."""
    if not order.first:
        return EMPTY
    if facts.pending is not None:
        return FOREIGN
    orphan = orphan_named(facts, facts.next_version_id)
    # No fence: the first version of a secret becomes AWSCURRENT whatever it holds.
    if orphan is not None:
        return Revoke(orphan.key_id, RevokeReason.ORPHANED)
    return _begin(facts) if _may_begin(facts, order) else Done()


def _pending(facts: RotationFacts, current: Version) -> Step | None:
    """Continue with the pending version, or remove it."""
    pending = facts.pending
    if pending is None or pending.fence:
        return REJECTED if facts.rejected else None
    if pending.version_id == current.version_id:
        return Unmark(pending.version_id)
    if not is_ours(facts, pending):
        return FOREIGN
    return _adopt(facts, current, pending)


def _adopt(facts: RotationFacts, current: Version, pending: Version) -> Step:
    """Continue with a pending version that a rotation of this job made."""
    overtaken = pending.created < current.created
    in_use = pending.key_id == current.key_id or (overtaken and not current.key_id)
    if in_use or facts.dead(pending.key_id):
        # In use: a person has copied the value into AWSCURRENT.
        return Unmark(pending.version_id)
    if overtaken:
        # A person has stored a newer key: that key stays.
        return Revoke(pending.key_id, RevokeReason.OVERTAKEN)
    by_proof: dict[Proof, Step] = {
        Proof.UNTRIED: Prove(pending.version_id),
        Proof.PROVEN: _promote(facts, current, pending),
        Proof.REFUSED: Revoke(pending.key_id, RevokeReason.REJECTED),
        Proof.SILENT: UNPROVEN,
    }
    return by_proof[pending.proof]


def _promote(facts: RotationFacts, current: Version, pending: Version) -> Step:
    """Promote a proven key after the list shows it."""
    if facts.listed(pending.key_id):
        return Promote(pending.version_id, current.version_id)
    return _seek(facts, pending.key_id)


def _seek(facts: RotationFacts, key_id: str) -> Step:
    """Wait the time that a new key may need to appear in the list."""
    return UNLISTED if key_id in facts.sought else Find(key_id)


def _orphans(facts: RotationFacts) -> Step | None:
    """Revoke keys whose run died before it stored them."""
    for version_id in facts.fenced:
        orphan = orphan_named(facts, version_id)
        if orphan is not None:
            return Revoke(orphan.key_id, RevokeReason.ORPHANED)
    # A given version cannot be fenced; its orphan is revoked after it is stored.
    if not facts.given and orphan_named(facts, facts.next_version_id) is not None:
        return Fence(facts.next_version_id)
    return None


def _supersede(
    facts: RotationFacts, current: Version, order: RotationRequest
) -> Step | None:
    """Revoke the keys that the current one has replaced, once it is proven."""
    may_begin = _may_begin(facts, order)
    if facts.begun and current.key_id and not facts.listed(current.key_id):
        return _seek(facts, current.key_id)
    doomed = _doomed(facts, current, may_begin=may_begin)
    gone = bool(current.key_id) and not facts.live(current.key_id)
    if gone or current.proof is Proof.REFUSED:
        # The sidecars have rolled back to the previous key: it stays until a new
        # key is proven.
        return None if may_begin else BROKEN
    if not doomed and not facts.begun:
        return None
    if current.proof is Proof.UNTRIED:
        return Prove(current.version_id)
    if current.proof is Proof.SILENT:
        return UNPROVEN
    return _revoke(facts, doomed)


def _doomed(facts: RotationFacts, current: Version, *, may_begin: bool) -> list[str]:
    """Return the live keys that the current key has replaced."""
    if not current.key_id:
        return []
    strays = [] if may_begin else [key.key_id for key in strays_of(facts)]
    return [
        key_id
        for key_id in [*sorted(facts.seen | named_in(facts)), *strays]
        if facts.live(key_id) and key_id != current.key_id
    ]


def _revoke(facts: RotationFacts, doomed: list[str]) -> Step | None:
    """Revoke one key, after the grace."""
    if not doomed:
        return None
    if facts.grace_left > 0:
        return Wait(facts.grace_left)
    return Revoke(doomed[0], RevokeReason.SUPERSEDED)


def _may_begin(facts: RotationFacts, order: RotationRequest) -> bool:
    """Return True if this run should create a new key."""
    return order.begin and not facts.begun and (order.again or not facts.finished)


def _begin(facts: RotationFacts) -> Step:
    """Create the next key."""
    if len(facts.attempts) >= MAX_ATTEMPTS:
        return EXHAUSTED
    return Create(facts.next_version_id, facts.naming.name_for(facts.next_version_id))


def _end(facts: RotationFacts) -> Step:
    """Remove the last traces, then end the run."""
    if facts.pending is not None and facts.pending.fence:
        return Unmark(facts.pending.version_id)
    # A run whose key was never in use is not a success.
    return UNUSED if facts.own and facts.own not in facts.seen else Done()
