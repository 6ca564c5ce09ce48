"""
The reflection guard for compressed answers: looked into, never changed.

Rule 1: no compressed byte leaves before what it decodes to was searched; and while what
    was decoded ends with what may be the beginning of a key, the last bytes wait.
Rule 2: what cannot be looked into does not pass: another coding, a broken stream.
Rule 3: bounded. Decoding goes in steps of `STEP` bytes, nothing decoded is kept, and a
    stream that grows beyond all reason is refused (a bomb would block the event loop).

The compressed bytes are searched too: a gzip header has a name and a comment in plain
text, and bytes after the end of a stream are nobody's.
"""

import zlib
from typing import Final, Never, Protocol

from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.errors import Code, Refused

STEP: Final = 65536
"""Decoded bytes that exist at a time."""

MAX_RATIO: Final = 200
"""
Decoded bytes per compressed one, beyond `FREE`. Text is 5 to 20; deflate cannot pass
1032 (zlib's technical details).
"""

FREE: Final = 16 * 1024 * 1024
"""Decoded bytes that any answer may have, however well it compresses."""

MAX_HELD: Final = 1024 * 1024
"""Compressed bytes that may wait; only a stream made for it gets there."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_ZLIB_HEADER: Final = 2


class _Engine(Protocol):
    """What we use of `zlib.decompressobj`."""

    @property
    def eof(self) -> bool:
        """The stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """What follows its end."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What was not decoded yet, for the limit."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decode up to so many bytes."""


def _block(why: str) -> Never:
    """Refuse the answer."""
    raise Refused(Code.REFLECTION_BLOCKED, f"The compressed answer was cut: {why}.")


class _Search:
    """Searches a stream for keys, across the borders of its pieces."""

    __slots__ = ("_needles", "_tail")

    def __init__(self, needles: KeyMatcher) -> None:
        self._needles = needles
        self._tail = b""

    def feed(self, data: bytes) -> int:
        """Search the next bytes; return `doubt`."""
        data = self._tail + data
        if self._needles.within(data):
            _block("it holds the API key")
        doubt = self._needles.tail(data)
        self._tail = data[-doubt:] if doubt else b""
        return doubt

    @property
    def doubt(self) -> int:
        """Bytes at the end that may be the beginning of a key."""
        return len(self._tail)


class Inspector:
    """
    RefreshSchedule into the compressed body of one answer.

    Args:
        needles: What must not be in it.
        coding: `gzip` or `deflate`, as `ResponseHead.coding` has it.

    Raises:
        Refused: `reflection_blocked`, for a coding that cannot be looked into.
    """

    __slots__ = (
        *("_begun", "_coded", "_decoded", "_ended", "_engine", "_gzip", "_held"),
        *("_in", "_out"),
    )

    def __init__(self, needles: KeyMatcher, coding: bytes) -> None:
        if coding not in (b"gzip", b"deflate"):
            _block("its coding cannot be looked into")
        self._gzip = coding == b"gzip"
        self._engine: _Engine | None = None
        self._ended = False
        """A stream has ended; another may follow."""
        self._begun = b""
        """Of a deflate stream: the first byte, until the second tells the format."""
        self._coded = _Search(needles)
        self._decoded = _Search(needles)
        self._held = b""
        self._in = 0
        self._out = 0

    def feed(self, data: bytes) -> bytes:
        """
        Take the next compressed bytes; return those that may leave.

        Raises:
            Refused: `reflection_blocked`; nothing that was not returned may leave.
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
            _block("it hides what it holds")
        return held

    def flush(self) -> bytes:
        """Return what waited: the answer has ended, so it is no beginning of a key."""
        released, self._held = self._held, b""
        return released

    def _decode(self, data: bytes) -> None:
        """Decode and search the next bytes, through the end of a stream if it comes."""
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
                _block("it grows out of all proportion")
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

    def _start(self, data: bytes) -> "tuple[_Engine | None, bytes]":
        """Return a decoder for the stream that begins here, or None: not yet known."""
        if self._gzip:
            if self._ended:
                data = data.lstrip(b"\0")
            return (zlib.decompressobj(_GZIP) if data else None), data
        data = self._begun + data
        if len(data) < _ZLIB_HEADER:
            self._begun = data
            return None, b""
        # RFC 9110, 8.4.1.2: "deflate" is zlib's format; some send it without (RFC 1950).
        zlibs = data[0] & 0x8F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
        return zlib.decompressobj(_ZLIB if zlibs else _RAW), data
