"""
Revokes a key by hand: only after saying what for, never the one in use by mistake.

In an emergency the order is turned around on purpose: a leaked key is revoked although
sidecars use it. They get a 401, look again, and go on with what they find.
"""

from dataclasses import dataclass, replace

from sidecar.core.rotation_facts import Facts, Order, RotationStopped
from sidecar.errors import Exit
from sidecar.rotation.parts import Parts
from sidecar.rotation.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants."""

    key_id: str = ""
    """Empty = the key in use."""
    emergency: bool = False
    """Also when it is in use, and at once."""
    replace: bool = False
    """Put another one in its place first."""


def revoke(parts: Parts, wish: Wish) -> None:
    """
    Revoke a key.

    Raises:
        RotationStopped: it is in use, unknown, or could not be revoked.
    """
    facts = Workflow(parts).observe()
    key_id = wish.key_id or (facts.current.key_id if facts.current else "")
    _check(facts, key_id, wish)
    current = may_be_current(facts, key_id)
    if facts.live(key_id) and (current or uses_of(facts, key_id)):
        parts.say(_consequence(facts, key_id, wish))
    replaced = current and wish.replace
    if replaced:
        _replace(parts)
    # Also when the list does not have it: a leaked key is rather revoked twice.
    if not parts.keys.revoke(key_id) and not replaced:
        raise RotationStopped(
            Exit.CREDENTIAL,
            f"the service account has no key {key_id}: revoked already, or misspelt",
            "see sidecar keys list",
        )
    parts.say(f"revoked key {key_id}")


def may_be_current(facts: Facts, key_id: str) -> bool:
    """Tell whether a key is the one in use, or could be: a value may tell no id."""
    current = facts.current
    if current is None:
        return False
    named = any(v and v.key_id == key_id for v in (facts.pending, facts.previous))
    return current.key_id == key_id or not (current.key_id or named)


def uses_of(facts: Facts, key_id: str) -> list[str]:
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


def _check(facts: Facts, key_id: str, wish: Wish) -> None:
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


def _consequence(facts: Facts, key_id: str, wish: Wish) -> str:
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


def _replace(parts: Parts) -> None:
    """Rotate without any grace."""
    hurried = replace(parts.options, grace_seconds=0.0)
    Workflow(replace(parts, options=hurried)).run(Order(again=True))
