"""
Whose a key or a version is: in a version, of a run that died, or of somebody else.

Rule: what ties a key to a rotation is its name, what ties a version to one is its id;
both are digests that nobody else makes. See `sidecar.core.rotation.key_naming`.
"""

from sidecar.core.rotation.facts import ApiKey, RotationFacts, Version
from sidecar.core.rotation.refusals import MAX_ATTEMPTS


def keys_nobody_names(facts: RotationFacts) -> tuple[ApiKey, ...]:
    """List live keys that no version holds and no rotation made: for people to judge."""
    return tuple(
        key
        for key in facts.keys
        if key.live
        and key.key_id not in named_in(facts) | facts.seen
        and not facts.naming.ours(key.name)
    )


def is_ours(facts: RotationFacts, pending: Version) -> bool:
    """Tell whether a rotation of this job made the version."""
    if not pending.key_id or pending.account != facts.account:
        return False
    name = facts.naming.name_for(pending.version_id)
    return pending.version_id in _expected(facts) or any(
        key.key_id == pending.key_id and key.name == name for key in facts.keys
    )


def _expected(facts: RotationFacts) -> set[str]:
    """
    Collect the versions that runs of ours fill.

    Also those behind AWSPREVIOUS: when a key was stored by hand meanwhile, the run
    that made the pending version had started from there. An API may list a dead key
    no more, so its name cannot always tell.
    """
    before = facts.previous.version_id if facts.previous else ""
    attempts = {facts.naming.next_version_id(before, n) for n in range(MAX_ATTEMPTS)}
    return attempts | facts.attempts | {facts.next_version_id}


def orphan_named(facts: RotationFacts, version_id: str) -> ApiKey | None:
    """Find a live key made for this version that no version holds."""
    name = facts.naming.name_for(version_id)
    return next((key for key in strays_of(facts) if key.name == name), None)


def strays_of(facts: RotationFacts) -> list[ApiKey]:
    """List live keys that rotations of this secret made and no labelled version holds."""
    return [
        key
        for key in facts.keys
        if key.live
        and facts.naming.ours(key.name)
        and key.key_id not in named_in(facts) | {facts.held}
    ]


def named_in(facts: RotationFacts) -> set[str]:
    """Collect the ids of keys in labelled versions."""
    versions = (facts.current, facts.pending, facts.previous)
    return {version.key_id for version in versions if version and version.key_id}
