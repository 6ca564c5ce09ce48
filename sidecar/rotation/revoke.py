"""
Revokes a key on request; a key in use only in an emergency.

In an emergency a leaked key is revoked while sidecars use it. They get a 401, refresh,
and continue with the key that they find.
"""

from dataclasses import dataclass, replace
from typing import Final

from sidecar.core.rotation.facts import RotationFacts, RotationRequest, RotationStopped
from sidecar.core.rotation.refusals import LOST
from sidecar.errors import Exit
from sidecar.rotation.dependencies import RotationDependencies, Say
from sidecar.rotation.store import Deleted
from sidecar.rotation.workflow import Workflow

# Lost races against other runs after which an emergency gives up.
RACES: Final = 3


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """The request of the caller."""

    key_id: str = ""
    """Empty = the key in use."""
    emergency: bool = False
    """Revoke at once, also a key in use."""
    replace: bool = False
    """Promote a new key first."""


def revoke(parts: RotationDependencies, request: RevokeRequest, warn: Say) -> None:
    """
    Revoke a key.

    Args:
        parts: the clients and the options.
        request: the request.
        warn: takes a line about state that cannot be read.

    Raises:
        RotationStopped: the key is in use, unknown, or could not be revoked.
    """
    try:
        facts = read_facts(parts, warn)
    except RotationStopped as exc:
        _check_blind(exc, request)
        warn(
            f"{exc.reason}; so the use of key {request.key_id} is unknown: it is revoked "
            "anyway"
        )
        _revoke(parts, request.key_id)
    else:
        _revoke_seen(parts, request, facts, warn)


def read_facts(parts: RotationDependencies, warn: Say) -> RotationFacts:
    """
    Read the facts; of a secret that is scheduled for deletion, the keys only.

    Raises:
        RotationStopped: the secret or the list cannot be read.
    """
    try:
        return Workflow(parts).observe()
    except Deleted as exc:
        warn(f"{exc.reason}: no sidecar can read its keys")
    options = parts.options
    return RotationFacts(
        naming=options.naming(""),
        account=options.api.account,
        next_version_id="",
        keys=parts.keys.list_keys(),
    )


def _check_blind(exc: RotationStopped, request: RevokeRequest) -> None:
    """Refuse to revoke without facts, except a named key in an emergency."""
    if not request.emergency:
        raise exc
    if request.replace or not request.key_id:
        raise _still(exc, request.key_id or "KEY_ID", "may still work")


def _revoke_seen(
    parts: RotationDependencies, request: RevokeRequest, facts: RotationFacts, warn: Say
) -> None:
    """Revoke a key whose use is known."""
    key_id = request.key_id or (facts.current.key_id if facts.current else "")
    _check(facts, key_id, request)
    current = may_be_current(facts, key_id)
    if facts.live(key_id) and (current or uses_of(facts, key_id)):
        parts.say(_consequence(facts, key_id, request))
    if current and request.replace:
        _replace(parts, key_id, warn)
        # The rotation has revoked it already, if the version before has its id.
        parts.keys.revoke(key_id)
        parts.say(f"revoked key {key_id}")
    else:
        _revoke(parts, key_id)


def _revoke(parts: RotationDependencies, key_id: str) -> None:
    """Revoke a key, also if the list does not have it: the list may lag."""
    if not parts.keys.revoke(key_id):
        raise RotationStopped(
            Exit.CREDENTIAL,
            f"the service account has no key {key_id}: it is revoked already, or misspelt",
            "see sidecar keys list",
        )
    parts.say(f"revoked key {key_id}")


def may_be_current(facts: RotationFacts, key_id: str) -> bool:
    """Return True if a key is, or may be, the one in use: a value may have no id."""
    current = facts.current
    if current is None:
        return False
    named = any(v and v.key_id == key_id for v in (facts.pending, facts.previous))
    return current.key_id == key_id or not (current.key_id or named)


def uses_of(facts: RotationFacts, key_id: str) -> list[str]:
    """Return the labels of the versions that hold a key."""
    labelled = {
        "AWSCURRENT": facts.current,
        "AWSPENDING": facts.pending,
        "AWSPREVIOUS": facts.previous,
    }
    return [
        label
        for label, version in labelled.items()
        if version is not None and key_id and version.key_id == key_id
    ]


def _check(facts: RotationFacts, key_id: str, request: RevokeRequest) -> None:
    """Refuse a key that is in use, except in an emergency."""
    if not key_id:
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the secret does not contain the id of the key in use",
            "find the id with sidecar keys list, and pass it",
        )
    if request.emergency or not facts.live(key_id):
        return
    uses = ", ".join(uses_of(facts, key_id))
    if may_be_current(facts, key_id) and not uses:
        uses = "perhaps AWSCURRENT, which has no key id"
    if uses:
        raise RotationStopped(
            Exit.CREDENTIAL,
            f"key {key_id} is in use ({uses}): calls could fail",
            "sidecar rotate replaces it in order; if it has leaked: "
            "sidecar keys revoke --emergency --replace",
        )


def _consequence(facts: RotationFacts, key_id: str, request: RevokeRequest) -> str:
    """Return a line about the effect of a revocation."""
    if not may_be_current(facts, key_id):
        return f"key {key_id} is not current; sidecars that still use it refresh"
    if request.replace:
        return (
            f"a new key is created, proven and promoted, then key {key_id} is revoked at "
            "once; running sidecars get a 401 on it, fetch the new one and replay"
        )
    previous = facts.previous.key_id if facts.previous else ""
    if previous and previous != key_id and facts.live(previous):
        return (
            f"key {key_id} is revoked at once; running sidecars get a 401 on it and "
            f"roll back to AWSPREVIOUS (key {previous}) until sidecar rotate"
        )
    return (
        f"key {key_id} is revoked at once without a replacement: every call gets "
        "the API's 401 until sidecar rotate"
    )


def _replace(parts: RotationDependencies, key_id: str, warn: Say) -> None:
    """
    Rotate without a grace.

    Raises:
        RotationStopped: the replacement failed; the remedy revokes the key anyway.
    """
    try:
        _race(parts, key_id, warn)
    except RotationStopped as exc:
        stopped = exc
    else:
        return
    try:
        facts = read_facts(parts, warn)
    except RotationStopped:
        raise _still(stopped, key_id, "may still work") from None
    if facts.dead(key_id):
        raise stopped
    works = "still works" if facts.live(key_id) else "may still work"
    raise _still(stopped, key_id, works)


def _race(parts: RotationDependencies, key_id: str, warn: Say) -> None:
    """
    Rotate, although other runs may be first.

    The key that another run stores has not leaked and is a valid replacement. Its
    rotation is finished here without the grace.
    """
    hurried = replace(parts, options=replace(parts.options, grace_seconds=0.0))
    order = RotationRequest(again=True)
    races = 0
    while True:
        races += 1
        try:
            Workflow(hurried).run(order)
        except RotationStopped as exc:
            if exc.reason != LOST.reason or races == RACES:
                raise
        else:
            return
        parts.say("another run was first: continuing with its key")
        order = RotationRequest(
            begin=may_be_current(read_facts(parts, warn), key_id), again=True
        )


def _still(exc: RotationStopped, key_id: str, works: str) -> RotationStopped:
    """Add the command that revokes the key to the remedy."""
    way_out = f"key {key_id} {works}: sidecar keys revoke --emergency {key_id}"
    return RotationStopped(
        exc.exit, exc.reason, f"{exc.remedy}; {way_out} revokes it at once"
    )
