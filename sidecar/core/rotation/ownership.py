"""
The owner of a key or a version: a version of the secret, a dead run, or another party.

Rule: the name of a key and the id of a version identify the rotation that made them;
both are digests that only a rotation produces. See `sidecar.core.rotation.key_naming`.
"""

from sidecar.core.rotation.facts import ApiKey, RotationFacts, Version
from sidecar.core.rotation.refusals import MAX_ATTEMPTS


def unnamed_keys(facts: RotationFacts) -> tuple[ApiKey, ...]:
    """Return live keys that no version holds and no rotation made."""
    return tuple(
        key
        for key in facts.keys
        if key.live
        and key.key_id not in named_in(facts) | facts.seen
        and not facts.naming.ours(key.name)
    )


def is_ours(facts: RotationFacts, pending: Version) -> bool:
    """Return True if a rotation of this job made the version."""
    if not pending.key_id or pending.account != facts.account:
        return False
    name = facts.naming.name_for(pending.version_id)
    return pending.version_id in _expected(facts) or any(
        key.key_id == pending.key_id and key.name == name for key in facts.keys
    )


def _expected(facts: RotationFacts) -> set[str]:
    """
    Return the ids of versions that rotations of this job may have stored.

    They include the successors of AWSPREVIOUS: if a person has stored a key since, the
    run that made the pending version started from there. The name of the key is no
    substitute, because an API may omit dead keys from its list.
    """
    before = facts.previous.version_id if facts.previous else ""
    attempts = {facts.naming.next_version_id(before, n) for n in range(MAX_ATTEMPTS)}
    return attempts | facts.attempts | {facts.next_version_id}


def orphan_named(facts: RotationFacts, version_id: str) -> ApiKey | None:
    """Return the live key made for this version that no version holds."""
    name = facts.naming.name_for(version_id)
    return next((key for key in strays_of(facts) if key.name == name), None)


def strays_of(facts: RotationFacts) -> list[ApiKey]:
    """Return live keys that rotations of this secret made and no label refers to."""
    return [
        key
        for key in facts.keys
        if key.live
        and facts.naming.ours(key.name)
        and key.key_id not in named_in(facts) | {facts.held}
    ]


def named_in(facts: RotationFacts) -> set[str]:
    """Return the ids of the keys in labelled versions."""
    versions = (facts.current, facts.pending, facts.previous)
    return {version.key_id for version in versions if version and version.key_id}
