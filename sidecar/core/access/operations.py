r"""
Which calls may pass: the `allow` and `deny` lists of an upstream.

An entry is `METHODS /path`, as in `GET,PATCH /contacts/{id}`: `*` is any method, `{id}`
any one segment, `**` at the end the rest of the path, also nothing. `GET` covers HEAD,
which is a GET without the body (RFC 9110, 9.3.2).

Rule 1: deny wins over allow.
Rule 2: deny looks at every reading of the path (`target.readings`), without empty
    segments and without regard to case: what some server could take for a denied
    operation is denied.
Rule 3: allow looks at one reading: the path decoded once, segment by segment, exactly.
    A segment that could be read as two is data to nobody, so `{id}` does not match it.
Rule 4: the first entry of `allow` that matches names the operation. Names come from the
    settings, never from a call, so that metrics stay bounded.

The usual target, without escapes, is judged by one compiled expression per method.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.core.access.entries import OperationPattern
from sidecar.core.http.target import (
    MAX_TARGET_BYTES,
    PLAIN,
    QUERY,
    SEGMENT,
    check_target,
    readings,
)
from sidecar.errors import Code, Refused

ANY: Final = "*"
"""The label of every operation where there is no `allow`, and of refused calls."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a call does, for logs and metrics."""

    label: str
    """The text of the entry's path, or `*`."""
    scopes: tuple[str, ...] = ()
    """What the settings say that the API asks for; shown when it answers 403."""


class _Judge(NamedTuple):
    """What holds for one method."""

    plain: re.Pattern[bytes]
    """Matches plain targets that may pass; the group tells by which entry."""
    escaped: re.Pattern[bytes]
    """The same with harmless escapes; it costs twice as much."""
    operations: tuple[Operation, ...]
    """By group; the first is for an expression without groups."""
    allow: tuple[tuple[OperationPattern, Operation], ...] | None
    deny: tuple[OperationPattern, ...]


class Operations:
    """The rules of one upstream; made once, from its settings."""

    __slots__ = ("_judges", "_other", "labels")

    def __init__(
        self,
        allow: Iterable[tuple[str, Sequence[str]]] | None = None,
        deny: Iterable[str] = (),
    ) -> None:
        """
        Parse the lists.

        Args:
            allow: Entries and the scopes noted on them; None is every operation.
            deny: Entries.

        Raises:
            ValueError: An entry is not `METHODS /path`.
        """
        allowed = None if allow is None else tuple(_allowed(allow))
        denied = tuple(OperationPattern.parse(text) for text in deny)
        patterns = [*(denied), *(pattern for pattern, _ in allowed or ())]
        named = {name for pattern in patterns for name in pattern.methods}
        self.labels = tuple(
            dict.fromkeys([ANY, *(found.label for _, found in allowed or ())])
        )
        """Every label that an operation can have, for metrics."""
        self._other = _judge(b"", allowed, denied)
        self._judges = {
            method: _judge(method, allowed, denied)
            for method in named | {name.encode() for name in _METHODS}
        }

    def match(self, method: bytes, target: bytes) -> Operation:
        """
        Judge a call by its request line; `check_target` is part of it.

        Raises:
            Refused: `operation_denied`, `bad_target` or `target_too_long`.
        """
        judge = self._judges.get(method, self._other)
        found = judge.plain.fullmatch(target) or judge.escaped.fullmatch(target)
        if found and len(target) <= MAX_TARGET_BYTES:
            return judge.operations[found.lastindex or 0]
        check_target(target)
        path = target.partition(b"?")[0]
        for pattern in judge.deny:
            if any(pattern.denies(segments) for segments in readings(path)):
                raise Refused(
                    Code.OPERATION_DENIED, "The sidecar's settings deny this operation."
                )
        if judge.allow is None:
            return judge.operations[0]
        segments = path[1:].split(b"/")
        for pattern, operation in judge.allow:
            if pattern.allows(segments):
                return operation
        raise Refused(
            Code.OPERATION_DENIED, "The sidecar's settings do not allow this operation."
        )


def _allowed(
    entries: Iterable[tuple[str, Sequence[str]]],
) -> Iterator[tuple[OperationPattern, Operation]]:
    """Parse the entries of `allow`."""
    for text, scopes in entries:
        label = text.partition(" ")[2]
        yield OperationPattern.parse(text), Operation(label, tuple(scopes))


def _judge(
    method: bytes,
    allowed: Sequence[tuple[OperationPattern, Operation]] | None,
    denied: Sequence[OperationPattern],
) -> _Judge:
    """Put together what holds for one method; an empty one is any not named."""
    deny = tuple(pattern for pattern in denied if pattern.is_for(method))
    allow = None
    if allowed is not None:
        allow = tuple(entry for entry in allowed if entry[0].is_for(method))
    # Where deny names punctuation, an escape of it must go the slow way.
    simple = all(pattern.is_simple() for pattern in deny)
    return _Judge(
        _expression(allow, deny, PLAIN),
        _expression(allow, deny, SEGMENT if simple else PLAIN),
        (Operation(ANY), *(operation for _, operation in allow or ())),
        allow,
        deny,
    )


def _expression(
    allow: Sequence[tuple[OperationPattern, Operation]] | None,
    deny: Sequence[OperationPattern],
    segment: bytes,
) -> re.Pattern[bytes]:
    """Compile what may pass, of targets whose segments are like `segment`."""
    never = b"(?!)"
    ahead = b"|".join(pattern.deny_expression() for pattern in deny) or never
    if allow is None:
        path = b"/(?:%b/)*(?:%b)?" % (segment, segment)
    else:
        groups = (pattern.allow_expression(segment) or never for pattern, _ in allow)
        path = b"|".join(b"(%b)" % group for group in groups) or never
    return re.compile(b"(?!%b)(?:%b)%b" % (ahead, path, QUERY))
