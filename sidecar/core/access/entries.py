"""
One entry of `allow` or `deny`: what it says, and what it matches.

Rule 1: `denies` and `allows` are the truth. The expressions are the same for plain paths,
    and faster; a test holds them to it.
Rule 2: where a path could be read in two ways, `denies` says yes and `allows` says no.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.core.http.target import PLAIN, plain, readings

_ONE: Final = None  # `{id}` in a list of segments
_PLAIN: Final = re.compile(PLAIN)
_UNRESERVED: Final = re.compile(rb"[0-9A-Za-z\-._~]*")
_PARAMETER: Final = re.compile(r"\{[^/{}]*\}")


@dataclass(frozen=True, slots=True)
class OperationPattern:
    """One entry of a list, parsed."""

    methods: frozenset[bytes]
    """Empty: any."""
    segments: tuple[bytes | None, ...]
    """Decoded once; None is any one segment."""
    rest: bool
    """It ends with `**`."""

    @classmethod
    def parse(cls, text: str) -> "OperationPattern":
        """
        Parse `GET,PATCH /contacts/{id}`.

        Raises:
            ValueError: It is not `METHODS /path`.
        """
        methods, space, path = text.partition(" ")
        if not methods or not space or not path.startswith("/"):
            message = "an operation is METHOD /path, for example GET /contacts"
            raise ValueError(message)
        names = {name.encode("ascii") for name in methods.split(",")}
        if b"GET" in names:
            names.add(b"HEAD")
        segments = path[1:].split("/")
        rest = segments[-1] == "**"
        return cls(
            frozenset() if b"*" in names else frozenset(names),
            tuple(
                _ONE if _PARAMETER.fullmatch(segment) else unquote_to_bytes(segment)
                for segment in segments[: len(segments) - rest]
            ),
            rest,
        )

    def is_for(self, method: bytes) -> bool:
        """Say whether the entry speaks of this method."""
        return not self.methods or method in self.methods

    def allows(self, segments: Sequence[bytes]) -> bool:
        """Match the raw segments of a path, strictly."""
        if not self._fits(segments):
            return False
        return all(
            _is_one(segment) if want is _ONE else unquote_to_bytes(segment) == want
            for want, segment in zip(self.segments, segments, strict=False)
        )

    def denies(self, segments: Sequence[bytes]) -> bool:
        """Match one reading of a path, loosely."""
        present = [segment.lower() for segment in segments if segment]
        wanted = self._loose()
        if len(present) < len(wanted) or (len(present) > len(wanted) and not self.rest):
            return False
        return all(
            want is _ONE or want == segment
            for want, segment in zip(wanted, present, strict=False)
        )

    def _loose(self) -> list[bytes | None]:
        """Return the segments as readings have them, in lower case."""
        wanted = [
            _ONE if want is _ONE else plain(want).lower() for want in self.segments
        ]
        return [want for want in wanted if want != b""]

    def _fits(self, segments: Sequence[bytes]) -> bool:
        if self.rest:
            return len(segments) >= len(self.segments)
        return len(segments) == len(self.segments)

    def is_simple(self) -> bool:
        """Say whether all names are of characters that nobody needs to escape."""
        return all(
            want is _ONE or _UNRESERVED.fullmatch(want) for want in self.segments
        )

    def allow_expression(self, one: bytes) -> bytes | None:
        """Return `allows` for plain paths as an expression; None: no plain path fits."""
        parts = []
        for want in self.segments:
            if want is not _ONE and not _PLAIN.fullmatch(want):
                return None
            parts.append(one if want is _ONE else re.escape(want))
        if self.rest:
            return b"".join(b"/" + part for part in parts) + b"(?:/%b)*/?" % one
        return b"".join(b"/" + part for part in parts)

    def deny_expression(self) -> bytes:
        """Return `denies` for plain paths as an expression, to be looked for ahead."""
        path = b"".join(
            b"/[^/?]+" if want is _ONE else b"/" + re.escape(want)
            for want in self._loose()
        )
        end = b"(?:[/?]|\\Z)" if self.rest else b"/?(?:\\?|\\Z)"
        return b"(?i:%b)%b" % (path, end)


def _is_one(segment: bytes) -> bool:
    """Say whether a raw segment is one, and not empty, in every reading."""
    return bool(segment) and all(
        len(parts) == 1 and parts[0] for parts in readings(b"/" + segment)
    )
