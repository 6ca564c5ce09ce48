"""
Revokes a key by hand: only after saying what for, never the one in use by mistake.

In an emergency the order is turned around on purpose: a leaked key is revoked although
sidecars use it. They get a 401, look again, and go on with what they find.
"""

from dataclasses import dataclass, replace
from typing import Final

from sidecar.core.rotation.facts import RotationFacts, RotationRequest, RotationStopped
from sidecar.core.rotation.refusals import LOST
from sidecar.errors import Exit
from sidecar.rotation.dependencies import RotationDependencies, Say
from sidecar.rotation.store import Deleted
from sidecar.rotation.workflow import Workflow

# Other runs that may be first, one after another, before an emergency gives up.
RACES: Final = 3


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """What the caller wants."""

    key_id: str = ""
    """Empty = the key in use."""
    emergency: bool = False
    """Also when it is in use, and at once."""
    replace: bool = False
    """Put another one in its place first."""


def revoke(parts: RotationDependencies, wish: RevokeRequest, warn: Say) -> None:
    """
    Revoke a key.

    Args:
        parts: what it works with.
        wish: which key, and how.
        warn: takes a line about what could not be looked at.

    Raises:
        RotationStopped: it is in use, unknown, or could not be revoked.
    """
    try:
        facts = look(parts, warn)
    except RotationStopped as exc:
        _check_blind(exc, wish)
        warn(
            f"{exc.reason}; so nobody knows what uses key {wish.key_id}: it is revoked "
            "all the same"
        )
        _revoke(parts, wish.key_id)
    else:
        _revoke_seen(parts, wish, facts, warn)


def look(parts: RotationDependencies, warn: Say) -> RotationFacts:
    """
    Look at everything; of a secret that is to be deleted, at the keys only.

    Raises:
        RotationStopped: it cannot be looked at.
    """
    try:
        return Workflow(parts).observe()
    except Deleted as exc:
        warn(f"{exc.reason}: no sidecar can read its keys any more")
    options = parts.options
    return RotationFacts(
        naming=options.naming(""),
        account=options.api.account,
        next_version_id="",
        keys=parts.keys.list_keys(),
    )


def _check_blind(exc: RotationStopped, wish: RevokeRequest) -> None:
    """Refuse to go on without a look, unless that is what an emergency asks for."""
    if not wish.emergency:
        raise exc
    if wish.replace or not wish.key_id:
        raise _still(exc, wish.key_id or "KEY_ID", "may still work")


def _revoke_seen(
    parts: RotationDependencies, wish: RevokeRequest, facts: RotationFacts, warn: Say
) -> None:
    """Revoke a key after looking at what uses it."""
    key_id = wish.key_id or (facts.current.key_id if facts.current else "")
    _check(facts, key_id, wish)
    current = may_be_current(facts, key_id)
    if facts.live(key_id) and (current or uses_of(facts, key_id)):
        parts.say(_consequence(facts, key_id, wish))
    if current and wish.replace:
        _replace(parts, key_id, warn)
        # The rotation has revoked it already, if it was told which key that is.
        parts.keys.revoke(key_id)
        parts.say(f"revoked key {key_id}")
    else:
        _revoke(parts, key_id)


def _revoke(parts: RotationDependencies, key_id: str) -> None:
    """Revoke a key, also when the list does not have it: rather twice than never."""
    if not parts.keys.revoke(key_id):
        raise RotationStopped(
            Exit.CREDENTIAL,
            f"the service account has no key {key_id}: revoked already, or misspelt",
            "see sidecar keys list",
        )
    parts.say(f"revoked key {key_id}")


def may_be_current(facts: RotationFacts, key_id: str) -> bool:
    """Tell whether a key is the one in use, or could be: a value may tell no id."""
    current = facts.current
    if current is None:
        return False
    named = any(v and v.key_id == key_id for v in (facts.pending, facts.previous))
    return current.key_id == key_id or not (current.key_id or named)


def uses_of(facts: RotationFacts, key_id: str) -> list[str]:
    """List the labels of the versions that hold a key."""
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


def _check(facts: RotationFacts, key_id: str, wish: RevokeRequest) -> None:
    """Refuse what is not certainly meant."""
    if not key_id:
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the secret does not tell the id of the key in use",
            "find it by sidecar keys list, and name it",
        )
    if wish.emergency or not facts.live(key_id):
        return
    uses = ", ".join(uses_of(facts, key_id))
    if may_be_current(facts, key_id) and not uses:
        uses = "perhaps AWSCURRENT, which does not tell its key's id"
    if uses:
        raise RotationStopped(
            Exit.CREDENTIAL,
            f"key {key_id} is in use ({uses}): calls could fail",
            "sidecar rotate replaces it in order; if it has leaked: "
            "sidecar keys revoke --emergency --replace",
        )


def _consequence(facts: RotationFacts, key_id: str, wish: RevokeRequest) -> str:
    """Say what will happen, before it does."""
    if not may_be_current(facts, key_id):
        return f"key {key_id} is not current; sidecars that still use it look again"
    if wish.replace:
        return (
            f"a new key is made, proven and promoted, then key {key_id} is revoked at "
            "once; running sidecars get a 401 on it, fetch the new one and replay"
        )
    previous = facts.previous.key_id if facts.previous else ""
    if previous and previous != key_id and facts.live(previous):
        return (
            f"key {key_id} is revoked at once; running sidecars get a 401 on it and "
            f"roll back to AWSPREVIOUS (key {previous}) until sidecar rotate"
        )
    return (
        f"key {key_id} is revoked at once and nothing takes its place: every call gets "
        "the API's 401 until sidecar rotate"
    )


def _replace(parts: RotationDependencies, key_id: str, warn: Say) -> None:
    """
    Rotate without any grace.

    Raises:
        RotationStopped: nothing has taken its place for certain; with the way out.
    """
    try:
        _race(parts, key_id, warn)
    except RotationStopped as exc:
        stopped = exc
    else:
        return
    try:
        facts = look(parts, warn)
    except RotationStopped:
        raise _still(stopped, key_id, "may still work") from None
    if facts.dead(key_id):
        raise stopped
    works = "still works" if facts.live(key_id) else "may still work"
    raise _still(stopped, key_id, works)


def _race(parts: RotationDependencies, key_id: str, warn: Say) -> None:
    """
    Rotate, though other runs may be first.

    The key that another run stores has not leaked: it will do. So its rotation is
    finished here, at once, where the other run would wait the grace.
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
        parts.say("another run was first: going on with what it has stored")
        order = RotationRequest(
            begin=may_be_current(look(parts, warn), key_id), again=True
        )


def _still(exc: RotationStopped, key_id: str, works: str) -> RotationStopped:
    """Add what an emergency must not leave unsaid."""
    way_out = f"key {key_id} {works}: sidecar keys revoke --emergency {key_id}"
    return RotationStopped(
        exc.exit, exc.reason, f"{exc.remedy}; {way_out} revokes it at once"
    )
