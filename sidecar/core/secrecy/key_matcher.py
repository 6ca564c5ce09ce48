"""
What must not be seen in an answer, and the search for it, which every call pays for.

Rule 1: every spelling of every key is looked for in one pass: `ahocorasick_rs`, whose
    vectorised search (AVX2, SSSE3, NEON) reads 11 GB/s however many needles there are.
    Measured over 1.2 KB of JSON and one key: 0.4 us; one `bytes.partition` for each
    needle 2.4 us. Over 256 KiB: 23 us; memmem(3) for each 54 us, `bytes.find` 170 us.
    Beyond 64 needles it falls to an automaton (1,150 us), so more are looked for in turn.
    Data made to look like a needle takes 1 to 3 ns a byte, and no more.
Rule 2: a needle never shows itself: not in `repr`, not in a refusal.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from sidecar.core.secrecy.encodings import encodings
from sidecar.core.secrecy.secret import Secret, Unpicklable

MIN_NEEDLE: Final = 8
"""
Bytes. A shorter needle would be found in words, and masking it would spoil answers; a
key that short is not guarded, and is no secret.
"""

MIN_TOKEN: Final = 16
"""
Characters after the prefix that make a key of it: APIs show the first few, to tell keys
apart, and manuals show `fln_live_...`.
"""

# RFC 6750, 2.1: what a bearer token is made of.
_TOKEN_BYTES: Final = (
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~+/="
)
_TOKEN: Final = re.compile(b"[%b]+" % re.escape(_TOKEN_BYTES))
_MASKS: Final = b"*#!?^"

_AT_ONCE: Final = 64
"""Patterns of one vectorised search (the Rust crate's `packed` module)."""

Span = tuple[int, int, int]
"""Where a match begins, and the start and end of what is masked of it."""

Searches = tuple[Callable[[bytes], Sequence[object]], ...]
"""Each returns what it finds: whether anything is exact, which of several is not."""


class KeyMatcher(Unpicklable):
    """
    What must not be seen in an answer; made once per set of keys, never per call.

    Args:
        secrets: The known keys: current, previous, candidate.
        key_prefix: How keys begin. What follows it is masked too, for it is a key that
            was just made and is shown once; the prefix itself is no secret and stays.
    """

    __slots__ = (
        *("_anything", "_beginnings", "_ends", "_firsts", "_known"),
        *("all", "mask_byte", "prefix", "reach"),
    )

    def __init__(self, secrets: Iterable[Secret], key_prefix: str = "") -> None:
        found = {
            spelling
            for secret in secrets
            if len(secret.reveal()) >= MIN_NEEDLE
            for spelling in encodings(secret.reveal().encode("ascii"))
            if len(spelling) >= MIN_NEEDLE
        }
        self.all = tuple(sorted(found, key=lambda needle: (-len(needle), needle)))
        """Every spelling of the known keys, longest first."""
        self.prefix = key_prefix.encode("ascii")
        used = frozenset(self.prefix.join(self.all) + self.prefix)
        self.mask_byte = next((byte for byte in _MASKS if byte not in used), _MASKS[0])
        """`*`, unless a key has one in it."""
        self._beginnings = (*self.all, self.prefix) if self.prefix else self.all
        self._known = _searches(self.all)
        self._anything = _searches(self._beginnings) if self.prefix else self._known
        whole = len(self.prefix) + MIN_TOKEN if self.prefix else 1
        self.reach = max(whole, *map(len, self.all), 1) - 1
        """Bytes: a key that was cut in two begins within so many before the cut."""
        self._firsts = frozenset(one[:1] for one in self._beginnings)
        ends: dict[bytes, list[tuple[int, bytes]]] = {}
        for one in self._beginnings:
            for size in range(2, len(one)):
                ends.setdefault(one[size - 2 : size], []).append((size, one))
        self._ends = {
            pair: tuple(sorted(some, key=lambda end: -end[0]))
            for pair, some in ends.items()
        }
        """Two bytes -> where in a needle they stand, the longest beginning first."""

    def __repr__(self) -> str:
        """Never a needle."""
        return f"KeyMatcher({len(self.all)} encodings)"

    def knows(self, data: bytes) -> bool:
        """Say whether a known key is in the data: what a tripwire is for."""
        for find in self._known:  # noqa: SIM110 - `any` costs twice, and every call pays
            if find(data):
                return True
        return False

    def within(self, data: bytes) -> bool:
        """Say whether there is anything in the data to be masked."""
        for find in self._anything:
            if find(data):
                return self.knows(data) or any(True for _ in self.tokens(data))
        return False

    def mask(self, data: bytes) -> bytes:
        """Mask something that came whole, such as a head."""
        if not self.within(data):
            return data
        out = bytearray(data)
        for _, start, end in (*self.keys(data), *self.tokens(data)):
            out[start:end] = bytes([self.mask_byte]) * (end - start)
        return bytes(out)

    def keys(self, data: bytes) -> Iterator[Span]:
        """Yield every place of a known key; they may overlap."""
        for needle in self.all:
            start = data.find(needle)
            while start >= 0:
                yield start, start, start + len(needle)
                start = data.find(needle, start + 1)

    def tokens(self, data: bytes) -> Iterator[Span]:
        """Yield where new keys stand, without the prefix."""
        for at, start, end in self._runs(data):
            if end - start >= MIN_TOKEN:
                yield at, start, end

    def _runs(self, data: bytes) -> Iterator[Span]:
        """Yield the tokens after the prefix, however short."""
        prefix = self.prefix
        at = data.find(prefix) if prefix else -1
        while at >= 0:
            start = at + len(prefix)
            end = token_end(data, start)
            yield at, start, end
            # A prefix that is wholly within the token is judged with it.
            at = data.find(prefix, max(at + 1, end - len(prefix) + 1))

    def tail(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a key."""
        best = 1 if data[-1:] in self._firsts else 0
        # Beginnings are cut from the needles when they are compared, not kept: each
        # would be one more object in memory with most of a key in it.
        for size, needle in self._ends.get(data[-2:], ()):
            if data.endswith(needle[:size]):
                best = size
                break
        if self.prefix:
            window = data[-self.reach :]
            for at, start, end in self._runs(window):
                if end == len(window) and end - start < MIN_TOKEN:
                    best = max(best, len(window) - at)
        return best


def _searches(needles: Sequence[bytes]) -> Searches:
    """Make the searches for any of these."""
    # Leftmost: the only kind that is vectorised. The automaton itself then hardly runs,
    # so it is the one that is made fastest: 70 us in place of 500.
    kind, automaton = MatchKind.LeftmostFirst, Implementation.NoncontiguousNFA
    return tuple(
        BytesAhoCorasick(
            needles[start : start + _AT_ONCE], kind, automaton
        ).find_matches_as_indexes
        for start in range(0, len(needles), _AT_ONCE)
    )


def token_end(data: bytes, start: int) -> int:
    """Return where the token that begins at `start` ends; it may be empty."""
    match = _TOKEN.match(data, start)
    return match.end() if match else start
