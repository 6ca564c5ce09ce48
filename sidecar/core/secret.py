"""
What a secret is in memory, and how a value becomes one.

Rule 1: only `reveal()` gives the value; every other way to look at a secret shows
`********`. `grep reveal(` is the audit list.
Rule 2: a value is checked once, when it is loaded, as the header value it will be;
never per call.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final, Never

MASK: Final = "********"


class Secret:
    """A value that masks itself in `repr`, `str`, formats, pickles and copies."""

    __slots__ = ("__value",)

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
        """Compare in constant time, so that a comparison tells nothing."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.reveal().encode())

    # Unhashable: a hash would be a digest of the value, kept in every dict.
    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Never:
        message = "a Secret cannot be pickled or copied"
        raise TypeError(message)


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """One key, ready to be sent: built once per key, never per call."""

    secret: Secret
    header_line: bytes = field(repr=False)
    """`Authorization: Bearer <key>` with CRLF, as it leaves."""
    generation: int
    """Grows with every key that this process accepts; a 401 on an older one is no news."""
    version_id: str
    fingerprint: str
    """The first 8 characters of the VersionId, or of the SHA-256 of a file's key."""
    created: float | None = None
    """Unix seconds at which the source made this version, where it tells."""
