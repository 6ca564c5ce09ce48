"""
What a secret is in memory, and how a value becomes one.

Rule 1: only `reveal()` returns the value; every other way to show a secret shows
`********`. `grep reveal(` is the audit list.
Rule 2: a value is checked once, when it is loaded, as the header value that it becomes;
never per call.
Rule 3: a value is refused, not repaired, except for one newline at its end: files and the
AWS console leave one there, and no key has one. A refusal names the broken rule, never the
value or a part of it.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Never

from sidecar.errors import SecretRejected

MASK: Final = "********"

MAX_KEY_BYTES: Final = 8192
"""The longest key: one header field of nginx (large_client_header_buffers) is 8 KiB."""

MAX_VALUE_BYTES: Final = 65536
"""The longest value of a source: the limit of AWS Secrets Manager for a secret."""

FINGERPRINT_LENGTH: Final = 8
"""Characters of a version that are shown: they distinguish versions and help no guess."""


class Unpicklable:
    """Base of every class that holds a key: it cannot be pickled or copied."""

    __slots__ = ()

    def __reduce__(self) -> Never:
        message = f"a {type(self).__name__} cannot be pickled or copied"
        raise TypeError(message)


class Secret(Unpicklable):
    """A value that masks itself in `repr`, `str`, formats, pickles and copies."""

    __slots__ = ("__value", "__weakref__")

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the value. Every caller is part of the audit list."""
        return self.__value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.reveal().encode())

    # Unhashable: a hash would be a digest of the value, kept in every dict.
    __hash__ = None  # type: ignore[assignment]  # how Python says unhashable


@dataclass(frozen=True, slots=True, eq=False)
class Credential(Unpicklable):
    """One key, ready to be sent: built once per key, never per call."""

    secret: Secret
    header_line: bytes = field(repr=False)
    """`Authorization: Bearer <key>` with CRLF, as it leaves."""
    generation: int
    """Grows with every key that this process accepts."""
    version_id: str
    fingerprint: str
    """The first 8 characters of the VersionId, or of the SHA-256 of a file's key."""
    created: float | None = None
    """Unix seconds at which this version was created, if the source reports it."""


@dataclass(frozen=True, slots=True)
class SecretRules:
    """The rules for the value of a source, and how the key is sent."""

    json_key: str | None = None
    """The value is a JSON object and the key is this member; `a.b` is `b` within `a`."""
    key_prefix: str = ""
    """The beginning of every key of this environment; any other key is refused."""
    scheme: str = "Bearer"
    """The word before the key; empty for the bare key."""
    header: str = "Authorization"
    """The field that carries the key."""


# Values of a secret that was created before its key: samples of the console, common
# words, text in angle brackets, and asterisks that were copied from a masked page.
_PLACEHOLDER: Final = re.compile(
    r"replace[_-]?(with|me)|change[_-]?me|your[_-]?(api[_-]?)?(key|token|secret)"
    r"|<[^>]*>|\A[*]{3,}\Z",
    re.IGNORECASE,
)
# RFC 6750, 2.1 allows less (b64token), but keys of other APIs hold "!" and the like.
# fullmatch, not match with "$": "$" also accepts "key\n".
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
# After the scheme: "Bearer x", "Bearer:x", "Bearer" alone; not a key named "bearerx".
_AFTER_SCHEME: Final = re.compile(r"\A(?:[\s:=]|%20|\Z)")


def parse_secret(raw: str | bytes, rules: SecretRules) -> Secret:
    """
    Turn the value of a source into a secret.

    Args:
        raw: The value; bytes when the source holds a binary value.
        rules: The rules that it must keep.

    Raises:
        SecretRejected: The value breaks a rule; the message names the rule only.
    """
    value, broken = _take_key(raw, rules)
    # `echo` and the editors of consoles add one newline.
    value = value.removesuffix("\n").removesuffix("\r")
    broken = broken or next(_broken_rules(value, rules), None)
    if broken:
        raise SecretRejected(*broken)
    return Secret(value)


def header_line(rules: SecretRules, secret: Secret) -> bytes:
    """Return the header field that carries `secret`, with its CRLF."""
    word = f"{rules.scheme} " if rules.scheme else ""
    return f"{rules.header}: {word}{secret.reveal()}\r\n".encode("ascii")


def fingerprint_of(version_id: str) -> str:
    """Return the part of a version id that may be shown: its first 8 characters."""
    return version_id[:FINGERPRINT_LENGTH]


def digest_of(value: str) -> str:
    """
    Return the first 8 hex digits of the SHA-256 of a value that has no version id.

    32 bits of a digest of a random key reveal nothing about the key.
    """
    return hashlib.sha256(value.encode()).hexdigest()[:FINGERPRINT_LENGTH]


_Broken = tuple[str, str]
"""A rule and its remedy."""


def _take_key(raw: str | bytes, rules: SecretRules) -> tuple[str, _Broken | None]:
    """Return the key in the value of a source, or the broken rule."""
    if isinstance(raw, bytes):
        return "", ("the secret is binary", "store the key as text (SecretString)")
    if len(raw) > MAX_VALUE_BYTES:
        rule = f"the secret is longer than {MAX_VALUE_BYTES} bytes"
        return "", (rule, "store only the key")
    if rules.json_key is None:
        return raw, None
    return _take_member(_decode(raw), rules.json_key)


def _take_member(found: object, json_key: str) -> tuple[str, _Broken | None]:
    """Return the string at `json_key` of the decoded value, or the broken rule."""
    remedy = "store a JSON object with that member, or remove json_key"
    if not isinstance(found, dict):
        return "", ("json_key is set but the secret is no JSON object", remedy)
    # A member whose own name has a dot takes precedence over the path.
    path = [json_key] if json_key in found else json_key.split(".")
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return "", (f"the JSON object has no member {json_key}", remedy)
        found = found[name]
    if not isinstance(found, str):
        return "", (f"the member {json_key} is not a string", remedy)
    return found, None


def _decode(raw: str) -> object:
    """Decode JSON; None if it is invalid."""
    # Nothing is raised inside the handler: JSONDecodeError holds the whole value and would
    # become the context of that exception.
    try:
        decoded: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return decoded


def _broken_rules(value: str, rules: SecretRules) -> Iterator[_Broken]:
    """Yield the rules that a key breaks, the most helpful one first."""
    prefix = rules.key_prefix
    if not value:
        yield "the key is empty", "store the key in the secret"
    if len(value) > MAX_KEY_BYTES:
        yield f"the key is longer than {MAX_KEY_BYTES} bytes", "store only the key"
    if _begins_with_scheme(value, rules.scheme):
        remedy = f"store the key alone: the sidecar adds {rules.scheme}"
        yield f"the key already begins with {rules.scheme}", remedy
    if value.startswith("{") and value.endswith("}"):
        yield "the key is a JSON object", "set json_key to the member with the key"
    if _PLACEHOLDER.search(value):
        yield "the key is a placeholder", "store the real key"
    if not _VISIBLE.fullmatch(value):
        yield _bad_character(value), "store the key exactly as the API gave it"
    if not value.startswith(prefix) or (prefix and value == prefix):
        remedy = "store a key of this environment, or correct key_prefix"
        yield f"the key does not begin with {prefix}", remedy


def _begins_with_scheme(value: str, scheme: str) -> bool:
    """Return whether the header would read `Bearer Bearer ...`."""
    if not scheme or value[: len(scheme)].lower() != scheme.lower():
        return False
    return _AFTER_SCHEME.match(value[len(scheme) :]) is not None


def _bad_character(value: str) -> str:
    """Name the character that is not visible ASCII: it could end the header field."""
    if "\r" in value or "\n" in value:
        return "the key contains a line break"
    if "\0" in value:
        return "the key contains a NUL"
    if any(character.isspace() for character in value):
        return "the key contains a space"
    return "the key contains a character that is not visible ASCII"
