"""
Heads that were read before: a client and an API send nearly the same head each time.

Parsing and judging a request head costs more than the rest of a call. Parsing the eight
fields of a response head one by one costs as much as the rest of a call; looking up
eight lines costs a fifth of that, and looking up a head that is the same to the last
byte, as many are within one second of their `Date`, costs nearly nothing.

Rule 1: a request is remembered only after it was admitted, whole, and is found by all of
its bytes. When the known keys change, everything that was searched for keys is cleared.
Rule 2: for responses, this file only knows the easy case and refuses nothing. A head with
a line that is not plainly end-to-end, a length or `keep-alive` is left to llhttp and
`ResponseRules.read`. For a head that is taken here, both give the same result; a test
compares them.
Rule 3: a response line is taken only if `ResponseRules` judged its name and its value is
visible text. So it contains no bare CR or LF, no NUL and no folded line.
Rule 4: what is remembered is bounded in number and size.
"""

import re
from typing import Final, Generic, TypeVar

from sidecar.core.http.fields import DROP, KEEP, MAX_FIELDS, MAX_LENGTH_DIGITS
from sidecar.core.http.request_head import ACCEPT_JSON, RequestHead
from sidecar.core.http.response_head import (
    LENGTH,
    PERSISTENCE,
    ResponseHead,
    ResponseRules,
)
from sidecar.errors import Refused

OperationT = TypeVar("OperationT")
KnownRequest = tuple[bytes, bytes, RequestHead, OperationT]
"""Method, target, what the fields say, and the operation."""

MAX_REQUESTS: Final = 256
LONGEST_REQUEST: Final = 1024
"""Bytes of a request head: with the number above at most half a megabyte."""
MAX_RESPONSES: Final = 64
LONGEST_RESPONSE: Final = 2048
"""Bytes of a response head; nearly all are shorter."""
MAX_LINES: Final = 1024
LONGEST_LINE: Final = 256
"""Bytes; longer lines are rarely repeated."""

# RFC 9112, 5: field-line, in the spelling of nearly all servers.
_VALUE: Final = re.compile(rb": ?[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*)")
_DIGITS: Final = re.compile(rb": ?([0-9]{1,%d})" % MAX_LENGTH_DIGITS)
_KEEP_ALIVE: Final = frozenset({b": keep-alive", b": Keep-Alive"})

_UNKNOWN: Final = 2
"""`ResponseRules.read` must judge the head."""
_FIRST_LENGTH: Final = 16
"""An action of this or more is a Content-Length, plus this."""

_tuple: Final = tuple.__new__


class RequestCache(Generic[OperationT]):
    """The requests of one upstream that were admitted."""

    __slots__ = ("_fields", "_requests", "fields", "find")

    def __init__(self) -> None:
        self._requests: dict[bytes, KnownRequest[OperationT]] = {}
        self._fields: dict[bytes, RequestHead] = {}
        # The methods of the dicts: a Python function costs a tenth of a whole call.
        self.find = self._requests.get
        """Return the request with this whole head, or None."""
        self.fields = self._fields.get
        """Return what this version and these fields of a head say, or None."""

    def __len__(self) -> int:
        """Return how many requests are remembered."""
        return len(self._requests)

    def remember(self, raw: bytes, at: int, request: KnownRequest[OperationT]) -> None:
        """
        Remember a request that was admitted and contains no key.

        Args:
            raw: The whole head.
            at: Where the version and the fields begin in it.
            request: The result.
        """
        if len(raw) > LONGEST_REQUEST:
            return
        method, target, head, operation = request
        fields = raw[at:]
        known = self._fields.get(fields)
        if known is None:
            if len(self._fields) >= MAX_REQUESTS:
                self._fields.clear()
            known = self._fields[fields] = head._replace(
                forward=head.forward if head.has_accept else head.forward + ACCEPT_JSON,
                has_accept=True,
            )
        if len(self._requests) >= MAX_REQUESTS:
            self._requests.clear()
        self._requests[raw] = (method, target, known, operation)

    def clear(self) -> None:
        """Forget everything."""
        self._requests.clear()
        self._fields.clear()


class LineCache:
    """The heads and lines of one API's responses."""

    __slots__ = ("_heads", "_lines", "_rules", "_statuses")

    def __init__(self, rules: ResponseRules) -> None:
        self._rules = rules
        self._heads: dict[bytes, ResponseHead] = {}
        """Heads of which every line was known when they came."""
        self._lines: dict[bytes, int] = {}
        """Line -> KEEP, DROP, `_UNKNOWN` or a length."""
        self._statuses: dict[bytes, tuple[int, bytes]] = {}

    def read(self, head: bytes, method: bytes) -> ResponseHead | None:
        """
        Put a head together; None: `ResponseRules.read` must judge it.

        Args:
            head: The whole head as received, from `HTTP/` to the empty line.
            method: Of the request: the response to HEAD has no body.
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
        all_known = len(head) <= LONGEST_RESPONSE
        kept: list[bytes] = []
        keep = kept.append
        framing = -1
        for line in lines[1:-2]:
            try:
                action = known[line]
            except KeyError:
                action = self._judge(line)
                all_known = False  # this line may never come again
            if not action:  # KEEP
                keep(line)
            elif action >= _FIRST_LENGTH and framing < 0:
                framing = action - _FIRST_LENGTH
                keep(line)
            elif action != DROP:
                return None
        if framing < 0:
            return None
        keep(b"")
        result: ResponseHead = _tuple(
            ResponseHead, (*start, b"\r\n".join(kept), framing, True, b"", None)
        )
        if all_known:
            if len(self._heads) >= MAX_RESPONSES:
                self._heads.clear()
            self._heads[head] = result
        return result

    def _start(self, line: bytes) -> tuple[int, bytes] | None:
        """Judge a status line: only HTTP/1.1, and only responses that have a body."""
        try:
            status, start, http_1_0 = self._rules.start_of(line)
        except Refused:
            return None
        if http_1_0 or status < 200 or status in {204, 304}:  # noqa: PLR2004 - RFC 9110, 15
            return None
        if len(self._statuses) < MAX_LINES and len(line) <= LONGEST_LINE:
            self._statuses[line] = (status, start)
        return status, start

    def _judge(self, line: bytes) -> int:
        """Judge a line that is not remembered."""
        name = line.partition(b":")[0]
        at = len(name)
        if not _VALUE.fullmatch(line, at):
            return _UNKNOWN
        try:
            action = self._rules.action_of(name)
        except Refused:
            return _UNKNOWN
        if action == DROP:
            return DROP  # not remembered: the line may contain a cookie
        result = _UNKNOWN
        if action == KEEP:
            result = KEEP
        elif action == LENGTH:
            digits = _DIGITS.fullmatch(line, at)
            result = int(digits[1]) + _FIRST_LENGTH if digits else _UNKNOWN
        elif action == PERSISTENCE and line[at:] in _KEEP_ALIVE:
            result = DROP
        if len(line) <= LONGEST_LINE:
            if len(self._lines) >= MAX_LINES:
                self._lines.clear()
            self._lines[line] = result
        return result
