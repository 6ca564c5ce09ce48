"""
Calls that were judged before: the same bytes need no second judgment.

A client sends the same fields with most of its calls, and a job that polls sends nothing
else than the same head. Parsing and judging it costs more than all the rest of a call.

Rule 1: only what was admitted is remembered, whole, and found by all of its bytes.
Rule 2: what was searched for keys is forgotten when the keys change.
Rule 3: what is remembered is bounded in number and size.
"""

from typing import Final

from sidecar.core.access.operations import Operation
from sidecar.core.http.request_head import ACCEPT_JSON, RequestHead

KnownCall = tuple[bytes, bytes, RequestHead, Operation]
"""Method, target, what the fields say, and what the call does."""

MOST: Final = 256
LONGEST: Final = 1024
"""Bytes of a head. With the number above at most half a megabyte, whatever comes."""


class CallCache:
    """Of one upstream."""

    __slots__ = ("_calls", "_fields", "fields", "find")

    def __init__(self) -> None:
        self._calls: dict[bytes, KnownCall] = {}
        self._fields: dict[bytes, RequestHead] = {}
        # The dicts' own methods: a call of a function is a tenth of what a call may cost.
        self.find = self._calls.get
        """Whole head -> the call, or None."""
        self.fields = self._fields.get
        """Version and fields of a head -> what they say, or None."""

    def __len__(self) -> int:
        """Return how many whole heads are remembered."""
        return len(self._calls)

    def remember(self, raw: bytes, at: int, call: KnownCall) -> None:
        """
        Remember a head that was admitted and holds no key, and what it says.

        Args:
            raw: The whole head.
            at: Where its fields begin, with the version before them.
            call: What was found.
        """
        if len(raw) > LONGEST:
            return
        method, target, head, operation = call
        fields = raw[at:]
        known = self._fields.get(fields)
        if known is None:
            if len(self._fields) >= MOST:
                self._fields.clear()
            known = self._fields[fields] = head._replace(
                forward=head.forward if head.has_accept else head.forward + ACCEPT_JSON,
                has_accept=True,
            )
        if len(self._calls) >= MOST:
            self._calls.clear()
        self._calls[raw] = (method, target, known, operation)

    def forget(self) -> None:
        """Judge everything anew."""
        self._calls.clear()
        self._fields.clear()
