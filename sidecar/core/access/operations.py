r"""
Which calls may pass: the `allow` and `deny` lists of an upstream.

An entry is `METHODS /path`, as in `GET,PATCH /contacts/{id}`: `*` is any method, `{id}`
any one segment, `**` at the end the rest of the path, which may be empty. `GET` covers
HEAD, which is a GET without the body (RFC 9110, 9.3.2).

Rule 1: deny wins over allow.
Rule 2: deny checks every reading of the path (`target.readings`), without empty segments
and without regard to case. A path that any server could take for a denied operation is
denied.
Rule 3: allow checks one reading: the path decoded once, segment by segment, exactly.
`{id}` does not match a segment that could be read as two.
Rule 4: the first entry of `allow` that matches names the operation. Names come from the
settings, never from a call, so metrics stay bounded.
Rule 5: `OperationPattern.denies` and `allows` define the result. The compiled expressions
(one for each method) give the same result for the usual targets, faster; a test compares
them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from sidecar.core.http.target import (
    MAX_TARGET_BYTES,
    PLAIN,
    QUERY,
    SEGMENT,
    check_target,
    plain,
    readings,
)
from sidecar.errors import Code, Refused

ANY: Final = "*"
"""The label of every operation if there is no `allow`, and of refused calls."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ONE: Final = None  # `{id}` in a list of segments
_PLAIN: Final = re.compile(PLAIN)
_UNRESERVED: Final = re.compile(rb"[0-9A-Za-z\-._~]*")
_PARAMETER: Final = re.compile(r"\{[^/{}]*\}")


@dataclass(frozen=True, slots=True)
class OperationPattern:
    """One entry of `allow` or `deny`."""

    methods: frozenset[bytes]
    """Empty: any."""
    segments: tuple[bytes | None, ...]
    """Decoded once; None is any one segment."""
    rest: bool
    """The path ends with `**`."""

    @classmethod
    def parse(cls, text: str) -> "OperationPattern":
        """
        Parse `GET,PATCH /contacts/{id}`.

        Raises:
            ValueError: The text is not `METHODS /path`.
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
        """Return whether the entry applies to this method."""
        return not self.methods or method in self.methods

    def allows(self, segments: Sequence[bytes]) -> bool:
        """Match the raw segments of a path, strictly."""
        wanted = self.segments
        if len(segments) < len(wanted) or (
            len(segments) > len(wanted) and not self.rest
        ):
            return False
        return all(
            _is_one(segment) if want is _ONE else unquote_to_bytes(segment) == want
            for want, segment in zip(wanted, segments, strict=False)
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
        """Return the segments as in `readings`, in lower case, without empty ones."""
        wanted = [
            _ONE if want is _ONE else plain(want).lower() for want in self.segments
        ]
        return [want for want in wanted if want != b""]

    def is_simple(self) -> bool:
        """Return whether all names consist of characters that need no escape."""
        return all(
            want is _ONE or _UNRESERVED.fullmatch(want) for want in self.segments
        )

    def allow_expression(self, one: bytes) -> bytes | None:
        """Return `allows` as an expression; None: no plain path matches."""
        parts = []
        for want in self.segments:
            if want is not _ONE and not _PLAIN.fullmatch(want):
                return None
            parts.append(one if want is _ONE else re.escape(want))
        path = b"".join(b"/" + part for part in parts)
        return path + b"(?:/%b)*/?" % one if self.rest else path

    def deny_expression(self) -> bytes:
        """Return `denies` as an expression for a negative lookahead."""
        path = b"".join(
            b"/[^/?]+" if want is _ONE else b"/" + re.escape(want)
            for want in self._loose()
        )
        end = b"(?:[/?]|\\Z)" if self.rest else b"/?(?:\\?|\\Z)"
        return b"(?i:%b)%b" % (path, end)


def _is_one(segment: bytes) -> bool:
    """Return whether a raw segment is one, and not empty, in every reading."""
    return bool(segment) and all(
        len(parts) == 1 and parts[0] for parts in readings(b"/" + segment)
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """What a call does, for logs and metrics."""

    label: str
    """The path of the entry, or `*`."""
    scopes: tuple[str, ...] = ()
    """The scopes that the settings note for it; shown when the API returns 403."""


Allowed = tuple[OperationPattern, Operation]


class _MethodRules(NamedTuple):
    """The rules for one method."""

    plain: re.Pattern[bytes]
    """Matches plain targets that may pass; the number of the group is the entry's."""
    escaped: re.Pattern[bytes]
    """The same with harmless escapes; it costs twice as much."""
    operations: tuple[Operation, ...]
    """By group; the first one is for an expression without groups."""
    allow: tuple[Allowed, ...] | None
    deny: tuple[OperationPattern, ...]


class Operations:
    """
    The `allow` and `deny` lists of one upstream.

    Args:
        allow: Entries and the scopes that are noted for them; None allows everything.
        deny: Entries.

    Raises:
        ValueError: An entry is not `METHODS /path`.
    """

    __slots__ = ("_other", "_rules", "labels")

    def __init__(
        self,
        allow: Iterable[tuple[str, Sequence[str]]] | None = None,
        deny: Iterable[str] = (),
    ) -> None:
        allowed = None if allow is None else tuple(_allowed(allow))
        denied = tuple(OperationPattern.parse(text) for text in deny)
        patterns = [*denied, *(pattern for pattern, _ in allowed or ())]
        named = {name for pattern in patterns for name in pattern.methods}
        self.labels = tuple(
            dict.fromkeys([ANY, *(found.label for _, found in allowed or ())])
        )
        """Every label that an operation can have, for metrics."""
        self._other = _rules_for(b"", allowed, denied)
        self._rules = {
            method: _rules_for(method, allowed, denied)
            for method in named | {name.encode() for name in _METHODS}
        }

    def match(self, method: bytes, target: bytes) -> Operation:
        """
        Return the operation of a request; `check_target` is part of it.

        Raises:
            Refused: `operation_denied`, `bad_target` or `target_too_long`.
        """
        rules = self._rules.get(method, self._other)
        found = rules.plain.fullmatch(target) or rules.escaped.fullmatch(target)
        if found and len(target) <= MAX_TARGET_BYTES:
            return rules.operations[found.lastindex or 0]
        check_target(target)
        path = target.partition(b"?")[0]
        for pattern in rules.deny:
            if any(pattern.denies(segments) for segments in readings(path)):
                raise Refused(
                    Code.OPERATION_DENIED, "The sidecar's settings deny this operation"
                )
        if rules.allow is None:
            return rules.operations[0]
        segments = path[1:].split(b"/")
        for pattern, operation in rules.allow:
            if pattern.allows(segments):
                return operation
        raise Refused(
            Code.OPERATION_DENIED, "The sidecar's settings do not allow this operation"
        )


def _allowed(entries: Iterable[tuple[str, Sequence[str]]]) -> Iterator[Allowed]:
    """Parse the entries of `allow`."""
    for text, scopes in entries:
        label = text.partition(" ")[2]
        yield OperationPattern.parse(text), Operation(label, tuple(scopes))


def _rules_for(
    method: bytes, allowed: Sequence[Allowed] | None, denied: Sequence[OperationPattern]
) -> _MethodRules:
    """Return the rules for a method; for an empty one those of all methods not named."""
    deny = tuple(pattern for pattern in denied if pattern.is_for(method))
    allow = None
    if allowed is not None:
        allow = tuple(entry for entry in allowed if entry[0].is_for(method))
    # If deny names punctuation, an escape of it must not match the fast expression.
    simple = all(pattern.is_simple() for pattern in deny)
    return _MethodRules(
        _expression(allow, deny, PLAIN),
        _expression(allow, deny, SEGMENT if simple else PLAIN),
        (Operation(ANY), *(operation for _, operation in allow or ())),
        allow,
        deny,
    )


def _expression(
    allow: Sequence[Allowed] | None, deny: Sequence[OperationPattern], segment: bytes
) -> re.Pattern[bytes]:
    """Compile what may pass, for targets whose segments match `segment`."""
    never = b"(?!)"
    ahead = b"|".join(pattern.deny_expression() for pattern in deny) or never
    if allow is None:
        path = b"/(?:%b/)*(?:%b)?" % (segment, segment)
    else:
        groups = (pattern.allow_expression(segment) or never for pattern, _ in allow)
        path = b"|".join(b"(%b)" % group for group in groups) or never
    return re.compile(b"(?!%b)(?:%b)%b" % (ahead, path, QUERY))
