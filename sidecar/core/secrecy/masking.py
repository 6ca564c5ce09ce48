"""
The reflection guard: a key in an answer is overwritten before the answer leaves.

Rule 1: what is masked are the places of a key in the answer as the API sent it, in any
    spelling, also where they overlap; so the result does not depend on how the answer
    came in pieces.
Rule 2: masked bytes have the length of the key, so that Content-Length holds, and are a
    byte that is in no spelling: so masking can never complete another one.
Rule 3: nothing is held back but an end that may be the beginning of a key. An event that
    ends with a line break leaves at once.
"""

from sidecar.core.secrecy.key_matcher import KeyMatcher, Span, token_end
from sidecar.core.secrecy.secret import Unpicklable

__all__ = ["KeyMatcher", "Masker"]


class Masker(Unpicklable):
    """Masks the bytes of one answer, fed in pieces as they come."""

    __slots__ = ("_carried", "_held", "_needles", "_open", "hits")

    def __init__(self, needles: KeyMatcher) -> None:
        self._needles = needles
        self._held = b""
        """An end that may be the beginning of a key, as the API sent it."""
        self._carried: list[Span] = []
        """Places that began before `_held` and reach into it; offsets are in it."""
        self._open = -1
        """Offset in `_held` from where a new key's token still goes on; -1: none."""
        self.hits = 0
        """Places that were masked so far."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what may leave, of the same length in the end."""
        needles = self._needles
        if self._held:
            data = self._held + data
        if self._carried or self._open >= 0 or needles.within(data):
            return self._mask(data, needles.tail(data))
        keep = needles.tail(data)
        if not keep:
            self._held = b""
            return data
        self._held = data[-keep:]
        return data[:-keep]

    def flush(self) -> bytes:
        """Return what is held: the answer has ended, so it is no beginning of a key."""
        return self._mask(self._held, 0) if self._held else b""

    def _mask(self, data: bytes, keep: int) -> bytes:
        """Mask all but the last `keep` bytes, which are held as they are."""
        tokens = list(self._needles.tokens(data))
        if self._open >= 0:
            end = token_end(data, self._open)
            # Those within the token that goes on are a part of it.
            tokens = [token for token in tokens if token[1] > end]
            tokens.append((-1, self._open, end))
        cut = len(data) - keep
        out = bytearray(data[:cut])
        fill = bytes([self._needles.mask_byte])
        carried: list[Span] = []
        for begin, start, end in (*self._carried, *self._needles.keys(data), *tokens):
            # What begins in the held part will be found again, with it.
            if begin < cut:
                self.hits += begin >= 0
                out[start:end] = fill * (min(end, cut) - start)
                if end > cut:
                    carried.append((-1, max(start - cut, 0), end - cut))
        self._open = max(
            (
                max(start - cut, 0)
                for begin, start, end in tokens
                if begin < cut and end == len(data)
            ),
            default=-1,
        )
        self._carried = carried
        self._held = data[cut:]
        return bytes(out)
