"""
The reflection guard for compressed answers: it decodes a copy and changes no byte.

Rule 1: no compressed byte leaves before its decoded bytes were searched. While the decoded
    bytes end with a possible beginning of a key, the last compressed bytes wait.
Rule 2: an answer that cannot be decoded is refused: another coding, a broken stream.
Rule 3: memory and time are bounded. Decoding goes in steps of `STEP` bytes, decoded bytes
    are not kept, and a stream that grows too much is refused (a compression bomb would
    block the event loop).

The compressed bytes are searched too: a gzip header has a name and a comment in plain
text, and bytes may follow the end of a stream.
"""

import zlib
from typing import Final, Never

from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.errors import Code, Refused

STEP: Final = 65536
"""Decoded bytes in memory at a time."""

MAX_RATIO: Final = 200
"""
Decoded bytes per compressed byte, beyond `FREE`. Text has 5 to 20; the limit of deflate
is 1032 (zlib, "Technical Details").
"""

FREE: Final = 16 * 1024 * 1024
"""Decoded bytes that every answer may have, whatever its ratio."""

MAX_HELD: Final = 1024 * 1024
"""Compressed bytes that may wait; only a hostile stream reaches this."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_ZLIB_HEADER: Final = 2


def _block(why: str) -> Never:
    """Refuse the answer."""
    raise Refused(Code.REFLECTION_BLOCKED, f"The compressed answer was cut: {why}.")


class _Search:
    """Searches a stream for keys; a key may be split over its pieces."""

    __slots__ = ("_matcher", "_tail")

    def __init__(self, matcher: KeyMatcher) -> None:
        self._matcher = matcher
        self._tail = b""

    def feed(self, data: bytes) -> int:
        """Search the next bytes; return `doubt`. Raises Refused."""
        data = self._tail + data
        if self._matcher.within(data):
            _block("it holds the API key")
        doubt = self._matcher.tail(data)
        self._tail = data[-doubt:] if doubt else b""
        return doubt

    @property
    def doubt(self) -> int:
        """How many bytes at the end may be the beginning of a key."""
        return len(self._tail)


class Inspector:
    """
    Searches the compressed body of one answer.

    Args:
        matcher: The keys that must not be in it.
        coding: `gzip` or `deflate`, as `ResponseHead.coding` has it.

    Raises:
        Refused: `reflection_blocked`: the coding cannot be decoded.
    """

    __slots__ = (
        *("_begun", "_coded", "_decoded", "_ended", "_engine", "_gzip", "_held"),
        *("_in", "_out"),
    )

    def __init__(self, matcher: KeyMatcher, coding: bytes) -> None:
        if coding not in (b"gzip", b"deflate"):
            _block("its coding cannot be decoded")
        self._gzip = coding == b"gzip"
        self._engine: zlib._Decompress | None = None
        self._ended = False
        """A stream has ended; another may follow."""
        self._begun = b""
        """The first byte of a deflate stream, until the second one decides the format."""
        self._coded = _Search(matcher)
        self._decoded = _Search(matcher)
        self._held = b""
        self._in = 0
        self._out = 0

    def feed(self, data: bytes) -> bytes:
        """
        Take the next compressed bytes; return those that may leave.

        Raises:
            Refused: `reflection_blocked`; bytes that were not returned must not leave.
        """
        self._in += len(data)
        before = self._out
        try:
            self._decode(data)
        except zlib.error:
            _block("it cannot be decoded")
        doubts = (
            (self._coded.feed(data), len(data)),
            (self._decoded.doubt, self._out - before),
        )
        held = self._held
        if any(doubt > new for doubt, new in doubts):
            # A key may have begun before these bytes.
            self._held = held + data
            held = b""
        elif any(doubt for doubt, _ in doubts):
            self._held = data
        else:
            self._held = b""
            held += data
        if len(self._held) > MAX_HELD:
            _block("too much of it may be the beginning of a key")
        return held

    def flush(self) -> bytes:
        """Return the waiting bytes: the answer has ended, so no key can follow."""
        released, self._held = self._held, b""
        return released

    def _decode(self, data: bytes) -> None:
        """Decode and search the next bytes, and those of a stream that follows."""
        more = False
        while data or more:
            if self._engine is None:
                self._engine, data = self._start(data)
                if self._engine is None:
                    return
            engine = self._engine
            out = engine.decompress(data, STEP)
            self._out += len(out)
            if self._out > max(FREE, MAX_RATIO * self._in):
                _block("it grows too much")
            self._decoded.feed(out)
            data = engine.unconsumed_tail
            more = len(out) == STEP
            if engine.eof:
                more = False
                self._ended = True
                data = engine.unused_data
                if self._gzip:
                    # RFC 1952, 2.2: members may follow; `gzip` pads them with zeros.
                    self._engine = None
                elif data:
                    _block("something follows its end")

    def _start(self, data: bytes) -> "tuple[zlib._Decompress | None, bytes]":
        """Return a decoder for the stream that begins here; None until it is known."""
        if self._gzip:
            if self._ended:
                data = data.lstrip(b"\0")
            return (zlib.decompressobj(_GZIP) if data else None), data
        data = self._begun + data
        if len(data) < _ZLIB_HEADER:
            self._begun = data
            return None, b""
        # RFC 9110, 8.4.1.2: "deflate" is the zlib format (RFC 1950); some servers send raw
        # deflate.
        zlibs = data[0] & 0x8F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
        return zlib.decompressobj(_ZLIB if zlibs else _RAW), data
