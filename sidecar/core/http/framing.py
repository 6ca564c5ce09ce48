"""
Chunked bodies: what is data, and where exactly the message ends (RFC 9112, 7.1).

Rule 1: strict. CRLF only, sizes of hex digits only, extensions by the grammar and without
the white space that the RFC tolerates. If two parsers can end a line in two places, a
second request can be smuggled.
Rule 2: exact. No byte after the message is read; it is in `rest`.
Rule 3: bounded. A line, the trailers and the digits of a size have limits. Data is never
held, and is sliced once.
Rule 4: extensions and trailers are dropped (CVE-2026-10051, CVE-2026-22815: a trailer
that was merged into the head was a header that was never checked).
"""

import re
from typing import Final

from sidecar.core.http.fields import TOKEN
from sidecar.errors import Code, Refused

LAST_CHUNK: Final = b"0\r\n\r\n"

MAX_LINE: Final = 256
"""Bytes of a chunk's size with its extensions, about as in Go and nginx."""

MAX_TRAILERS: Final = 8192
"""Bytes of all trailers, although they are dropped."""

# 15 digits: below 2**60.
_SIZE: Final = (
    rb"(?P<size>[0-9A-Fa-f]{1,15})"
    rb"(?:;%(token)b(?:=(?:%(token)b|\"(?:[ !#-\[\]-~]|\\[ -~])*\"))?)*\r\n"
    % {b"token": TOKEN.pattern}
)
_FIRST: Final = re.compile(_SIZE)
_NEXT: Final = re.compile(rb"\r\n" + _SIZE)
_TRAILER: Final = re.compile(rb"(?:%b:[\t\x20-\x7e\x80-\xff]*)?\r\n" % TOKEN.pattern)
# No line is valid that has one of these in it.
_ENDED: Final = re.compile(rb"\n|\r.|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", re.DOTALL)


class Chunked:
    """
    A decoder of one chunked body, which may come in any pieces.

    It cannot be used after `done`.
    """

    __slots__ = ("_expected", "_left", "_line", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self._expected = _FIRST
        """The grammar of the next line."""
        self._left = 0
        """Bytes of the present chunk that are still to come."""
        self._line = b""
        """The beginning of a line that is not complete."""
        self._trailers = 0
        self.done = False
        """The message has ended."""
        self.rest = b""
        """Once `done`: what follows the message."""

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take the next bytes; return the pieces of the body in them.

        Raises:
            Refused: `bad_request`; the body is malformed, and its end is unknown.
        """
        pieces: list[bytes] = []
        at = 0
        end = len(data)
        while at < end:
            left = self._left
            if left:
                piece = data if left >= end and not at else data[at : at + left]
                pieces.append(piece)
                self._left = left - len(piece)
                at += len(piece)
                continue
            at = self._take_line(data, at)
            if self.done:
                self.rest = data[at:]
                break
        return pieces

    def _take_line(self, data: bytes, at: int) -> int:
        """Take a line, or the beginning of one; return where it ends in `data`."""
        limit = MAX_LINE
        if self._expected is _TRAILER:
            limit = MAX_TRAILERS - self._trailers
        held = self._line
        # Only the rest of the line is copied to a held beginning, not the data.
        text, start = (held + data[at : at + limit], 0) if held else (data, at)
        match = self._expected.match(text, start)
        if match is None or match.end() - start > limit:
            self._line = self._beginning(text[start : start + limit], limit)
            return len(data)
        self._line = b""
        if self._expected is _TRAILER:
            self._trailers += match.end() - start
            self.done = match[0] == b"\r\n"
        else:
            self._left = int(match["size"], 16)
            self._expected = _NEXT if self._left else _TRAILER
        return at + match.end() - start - len(held)

    def _beginning(self, line: bytes, limit: int) -> bytes:
        """Check that a line without its end can still become valid."""
        skip = 0
        if self._expected is _NEXT:
            skip = 2
            if not b"\r\n".startswith(line[:2]):
                raise Refused(Code.BAD_REQUEST, "A chunk is longer than its size")
        if len(line) >= limit:
            raise Refused(
                Code.BAD_REQUEST, "A line of a chunk or the trailers are too long"
            )
        if _ENDED.search(line, skip):
            raise Refused(
                Code.BAD_REQUEST, "A line of a chunk or a trailer is malformed"
            )
        return line


def encode_chunk(data: bytes) -> tuple[bytes, ...]:
    """Return the pieces of one chunk; none for no data: that would end the body."""
    return (b"%x\r\n" % len(data), data, b"\r\n") if data else ()
