"""
The reflection guard: a key in an answer is overwritten before the answer leaves.

Rule 1: every place of a key in the answer as the API sent it is masked, in any encoding,
    even if places overlap. So the result does not depend on how the answer is split.
Rule 2: the mask has the length of the key, so that Content-Length stays right. Its byte is
    in no encoding of a key, so masking can never complete another one.
Rule 3: only an end that may be the beginning of a key is held back. An event that ends
    with a line break leaves at once.
"""

from sidecar.core.secrecy.key_matcher import KeyMatcher, Span, token_end
from sidecar.core.secrecy.secret import Unpicklable

__all__ = ["KeyMatcher", "Masker"]


class Masker(Unpicklable):
    """Masks the bytes of one answer, fed in pieces."""

    __slots__ = ("_carried", "_held", "_matcher", "_open", "hits")

    def __init__(self, matcher: KeyMatcher) -> None:
        self._matcher = matcher
        self._held = b""
        """An end that may be the beginning of a key, as the API sent it."""
        self._carried: list[Span] = []
        """Places that began before `_held` and reach into it; offsets are in it."""
        self._open = -1
        """Offset in `_held` from which the token of a new key continues; -1: none."""
        self.hits = 0
        """Places that were masked so far."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may leave. The total length is kept."""
        matcher = self._matcher
        if self._held:
            data = self._held + data
        if self._carried or self._open >= 0 or matcher.within(data):
            return self._mask(data, matcher.tail(data))
        keep = matcher.tail(data)
        if not keep:
            self._held = b""
            return data
        self._held = data[-keep:]
        return data[:-keep]

    def flush(self) -> bytes:
        """Return the held bytes: the answer has ended, so no key can follow."""
        return self._mask(self._held, 0) if self._held else b""

    def _mask(self, data: bytes, keep: int) -> bytes:
        """Mask all but the last `keep` bytes, which are held as they are."""
        tokens = list(self._matcher.tokens(data))
        if self._open >= 0:
            end = token_end(data, self._open)
            # A token inside the one that continues is a part of it.
            tokens = [token for token in tokens if token[1] > end]
            tokens.append((-1, self._open, end))
        cut = len(data) - keep
        out = bytearray(data[:cut])
        fill = bytes([self._matcher.mask_byte])
        carried: list[Span] = []
        for begin, start, end in (*self._carried, *self._matcher.keys(data), *tokens):
            # A match that begins in the held part is found again with the next bytes.
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
