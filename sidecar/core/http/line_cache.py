"""
Answer heads that are known, or made of lines that are: put together without a parser.

An API says nearly the same with each answer. Parsing eight fields one by one costs as
much as all the rest of a call; looking eight lines up costs a fifth of that, and looking
up a head that is the same to the last byte, as many are within a second of their `Date`,
nearly nothing.

Rule 1: this file only knows the easy case and refuses nothing. A head with any line that
is not plainly end-to-end, a length or `keep-alive` is left to llhttp and
`ResponseRules.read`, which judge it whole. For a head that is taken here, both say the
same; a test holds them to it for any bytes.
Rule 2: a line is taken only if its name was judged by `ResponseRules` and its value is
visible text. So no bare CR or LF, no NUL, no folded line can be in it.
Rule 3: what is remembered is bounded in number and size.
"""

import re
from typing import Final

from sidecar.core.http.fields import DROP, KEEP, MAX_FIELDS, MAX_LENGTH_DIGITS
from sidecar.core.http.response_head import (
    LENGTH,
    PERSISTENCE,
    ResponseHead,
    ResponseRules,
)
from sidecar.errors import Refused

REMEMBERED_HEADS: Final = 64
LONGEST_HEAD: Final = 2048
"""Bytes; nearly all heads are shorter."""
REMEMBERED_LINES: Final = 1024
LONGEST_REMEMBERED: Final = 256
"""Bytes; longer lines are rarely the same twice."""

# RFC 9112, 5: field-line, in the spelling that nearly all servers use.
_VALUE: Final = re.compile(rb": ?[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*)")
_DIGITS: Final = re.compile(rb": ?([0-9]{1,%d})" % MAX_LENGTH_DIGITS)
_KEEP_ALIVE: Final = frozenset({b": keep-alive", b": Keep-Alive"})

_LONG_WAY: Final = 2
_FIRST_LENGTH: Final = 16
"""A verdict of this or more is a Content-Length, plus this."""

_tuple: Final = tuple.__new__


class LineCache:
    """What the answers of one API began with so far, as heads and as lines."""

    __slots__ = ("_heads", "_lines", "_rules", "_statuses")

    def __init__(self, rules: ResponseRules) -> None:
        self._rules = rules
        self._heads: dict[bytes, ResponseHead] = {}
        """Heads of which every line was known when they came."""
        self._lines: dict[bytes, int] = {}
        """Line -> KEEP, DROP, the long way, or a length."""
        self._statuses: dict[bytes, tuple[int, bytes]] = {}

    def read(self, head: bytes, method: bytes) -> ResponseHead | None:
        """
        Put a head together; None: `ResponseRules.read` must judge it.

        Args:
            head: The whole head as it came, from `HTTP/` to the empty line.
            method: Of the request: an answer to HEAD has no body.
        """
        if method == b"HEAD":
            return None
        return self._heads.get(head) or self._put_together(head)

    def _put_together(self, head: bytes) -> ResponseHead | None:
        lines = head.split(b"\r\n")
        start = self._statuses.get(lines[0]) or self._start(lines[0])
        if start is None or len(lines) > MAX_FIELDS:
            return None
        known = self._lines
        again = len(head) <= LONGEST_HEAD
        kept: list[bytes] = []
        keep = kept.append
        framing = -1
        for line in lines[1:-2]:
            try:
                verdict = known[line]
            except KeyError:
                verdict = self._judge(line)
                again = False  # it may be the only one with this line
            if not verdict:  # KEEP
                keep(line)
            elif verdict >= _FIRST_LENGTH and framing < 0:
                framing = verdict - _FIRST_LENGTH
                keep(line)
            elif verdict != DROP:
                return None
        if framing < 0:
            return None
        keep(b"")
        result: ResponseHead = _tuple(
            ResponseHead, (*start, b"\r\n".join(kept), framing, True, b"", None)
        )
        if again:
            if len(self._heads) >= REMEMBERED_HEADS:
                self._heads.clear()
            self._heads[head] = result
        return result

    def _start(self, line: bytes) -> tuple[int, bytes] | None:
        """Judge a status line: only of HTTP/1.1 and of answers that have a body."""
        try:
            status, start, http_1_0 = self._rules.start_of(line)
        except Refused:
            return None
        if http_1_0 or status < 200 or status in {204, 304}:  # noqa: PLR2004 - RFC 9110, 15
            return None
        if len(self._statuses) < REMEMBERED_LINES and len(line) <= LONGEST_REMEMBERED:
            self._statuses[line] = (status, start)
        return status, start

    def _judge(self, line: bytes) -> int:
        """Judge a line that is not remembered."""
        name = line.partition(b":")[0]
        at = len(name)
        if not _VALUE.fullmatch(line, at):
            return _LONG_WAY
        try:
            action = self._rules.action_of(name)
        except Refused:
            return _LONG_WAY
        if action == DROP:
            return DROP  # a cookie is not remembered for having been dropped
        verdict = _LONG_WAY
        if action == KEEP:
            verdict = KEEP
        elif action == LENGTH:
            digits = _DIGITS.fullmatch(line, at)
            verdict = int(digits[1]) + _FIRST_LENGTH if digits else _LONG_WAY
        elif action == PERSISTENCE and line[at:] in _KEEP_ALIVE:
            verdict = DROP
        if len(line) <= LONGEST_REMEMBERED:
            if len(self._lines) >= REMEMBERED_LINES:
                self._lines.clear()
            self._lines[line] = verdict
        return verdict
