"""
The JSON value that a rotation stores: the old value with a new key in it.

Rule 1: other members stay in their order; only the key and its metadata change.
Rule 2: the whole value is a `Secret`, also its public members such as `key_id`.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import Secret, SecretRules
from sidecar.errors import Exit

FENCE: Final = Secret('{"sidecar": "fence"}')
"""A value without a key: see `sidecar.core.rotation.facts.Fence`."""


@dataclass(frozen=True, slots=True)
class KeyMetadata:
    """The members beside a key in the value; never the key."""

    key_id: str = ""
    account: str = ""
    fence: bool = False


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key that the API has just created."""

    key_id: str
    secret: Secret
    created_at: str
    """ISO 8601, UTC."""


NOTHING: Final = CreatedKey("", Secret(""), "")
"""No key."""


def read_label(raw: Secret) -> KeyMetadata:
    """Return the metadata in a value; missing members are empty."""
    if raw == FENCE:
        return KeyMetadata(fence=True)
    document = _decode(raw)
    if document is None:
        return KeyMetadata()
    return KeyMetadata(_text(document, "key_id"), _text(document, "service_account_id"))


def successor(
    old: Secret | None, rules: SecretRules, account: str, made: CreatedKey
) -> Secret:
    """
    Return the value that follows `old`; None = the secret has no value yet.

    Raises:
        RotationStopped: the old value has no place for the metadata of a key.
    """
    if not rules.json_key:
        raise RotationStopped(
            Exit.USAGE,
            "the secret holds the bare key, so there is no place for its key_id",
            'store {"api_key": "..."} and set json_key = "api_key"',
        )
    document: dict[str, Any] | None = {} if old is None else _decode(old)
    if document is None:
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the value of AWSCURRENT is no JSON object",
            f"store an object with the member {rules.json_key}",
        )
    _put(document, rules.json_key, made.secret.reveal())
    document["key_id"] = made.key_id
    document["service_account_id"] = account
    document["created_at"] = made.created_at
    return Secret(json.dumps(document))


def _put(document: dict[str, Any], json_key: str, value: str) -> None:
    """Set a member at the path that `sidecar.core.secrecy.secret` reads."""
    path = [json_key] if json_key in document else json_key.split(".")
    for name in path[:-1]:
        inner = document.get(name)
        if not isinstance(inner, dict):
            inner = document[name] = {}
        document = inner
    document[path[-1]] = value


def _decode(raw: Secret) -> dict[str, Any] | None:
    """Decode a JSON object; None = it is not one."""
    # JSONDecodeError holds the value, so nothing is raised within its handler.
    try:
        document = json.loads(raw.reveal())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(document: dict[str, Any], name: str) -> str:
    """Return a string member, or ""."""
    found = document.get(name)
    return found if isinstance(found, str) else ""
