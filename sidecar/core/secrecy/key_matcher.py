"""
Searches answers for keys. Every call pays for it.

Rule 1: one pass searches for every encoding of every key: `ahocorasick_rs`, whose
    vectorised search (AVX2, SSSE3, NEON) reads 11 GB/s whatever the number of needles.
    Measured over 1.2 KB of JSON and one key: 0.4 us; one `bytes.partition` for each
    needle 2.4 us. Over 256 KiB: 23 us; memmem(3) for each 54 us, `bytes.find` 170 us.
    More than 64 needles would use an automaton (1,150 us), so they are searched for in
    groups. Hostile data costs 1 to 3 ns a byte at most.
Rule 2: a needle is never shown: not in `repr`, not in a refusal.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from sidecar.core.secrecy.encodings import encodings
from sidecar.core.secrecy.secret import Secret, Unpicklable

MIN_NEEDLE: Final = 8
"""
Bytes. A shorter needle occurs in ordinary words, and masking it would spoil answers. A
key that short is not guarded: it is no secret.
"""

MIN_TOKEN: Final = 16
"""
Characters after the prefix from which a token is a key: APIs show the first few to
identify a key, and manuals show `fln_live_...`.
"""

# RFC 6750, 2.1: the characters of a bearer token.
_TOKEN_BYTES: Final = (
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~+/="
)
_TOKEN: Final = re.compile(b"[%b]+" % re.escape(_TOKEN_BYTES))
_MASKS: Final = b"*#!?^"

_AT_ONCE: Final = 64
"""Patterns of one vectorised search (the Rust crate's `packed` module)."""

Span = tuple[int, int, int]
"""Where a match begins, and the start and end of its masked part."""

Searches = tuple[Callable[[bytes], Sequence[object]], ...]
"""Each returns matches: an empty result is exact, the choice among several is not."""


class KeyMatcher(Unpicklable):
    """
    Finds keys in answers; made once per set of keys, never per call.

    Args:
        secrets: The known keys: current, previous, candidate.
        key_prefix: The beginning of every key. A token that follows it is masked too:
            it is a new key, shown once. The prefix itself is no secret and stays.
    """

    __slots__ = (
        *("_anything", "_beginnings", "_ends", "_firsts", "_known"),
        *("all", "mask_byte", "prefix", "reach"),
    )

    def __init__(self, secrets: Iterable[Secret], key_prefix: str = "") -> None:
        found = {
            encoding
            for secret in secrets
            if len(secret.reveal()) >= MIN_NEEDLE
            for encoding in encodings(secret.reveal().encode("ascii"))
            if len(encoding) >= MIN_NEEDLE
        }
        self.all = tuple(sorted(found, key=lambda needle: (-len(needle), needle)))
        """Every encoding of the known keys, longest first."""
        self.prefix = key_prefix.encode("ascii")
        used = frozenset(self.prefix.join(self.all) + self.prefix)
        self.mask_byte = next((byte for byte in _MASKS if byte not in used), _MASKS[0])
        """`*`, unless a key has one in it."""
        self._beginnings = (*self.all, self.prefix) if self.prefix else self.all
        self._known = _searches(self.all)
        self._anything = _searches(self._beginnings) if self.prefix else self._known
        whole = len(self.prefix) + MIN_TOKEN if self.prefix else 1
        self.reach = max(whole, *map(len, self.all), 1) - 1
        """Bytes: a key that is split begins at most this far before the split."""
        self._firsts = frozenset(one[:1] for one in self._beginnings)
        ends: dict[bytes, list[tuple[int, bytes]]] = {}
        for one in self._beginnings:
            for size in range(2, len(one)):
                ends.setdefault(one[size - 2 : size], []).append((size, one))
        self._ends = {
            pair: tuple(sorted(some, key=lambda end: -end[0]))
            for pair, some in ends.items()
        }
        """Two bytes -> the beginnings of needles that end with them, longest first."""

    def __repr__(self) -> str:
        """Show the number of needles, never one of them."""
        return f"KeyMatcher({len(self.all)} encodings)"

    def knows(self, data: bytes) -> bool:
        """Return whether a known key is in the data (for the tripwire)."""
        for find in self._known:  # noqa: SIM110 - `any` costs twice as much, and every call pays
            if find(data):
                return True
        return False

    def within(self, data: bytes) -> bool:
        """Return whether a known or a new key is in the data."""
        for find in self._anything:
            if find(data):
                return self.knows(data) or any(True for _ in self.tokens(data))
        return False

    def mask(self, data: bytes) -> bytes:
        """Mask data that is complete, such as a head."""
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
        """Yield every place of a new key, without its prefix."""
        for at, start, end in self._runs(data):
            if end - start >= MIN_TOKEN:
                yield at, start, end

    def _runs(self, data: bytes) -> Iterator[Span]:
        """Yield every token after the prefix, of any length."""
        prefix = self.prefix
        at = data.find(prefix) if prefix else -1
        while at >= 0:
            start = at + len(prefix)
            end = token_end(data, start)
            yield at, start, end
            # A prefix inside the token belongs to the token.
            at = data.find(prefix, max(at + 1, end - len(prefix) + 1))

    def tail(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a key."""
        best = 1 if data[-1:] in self._firsts else 0
        # Beginnings are cut when they are compared: a stored one would be another object
        # in memory that holds most of a key.
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
    """Return searches that together find every needle."""
    # Leftmost: the only kind that is vectorised. The automaton itself then hardly runs,
    # so the kind that is built fastest is used: 70 us instead of 500.
    kind, automaton = MatchKind.LeftmostFirst, Implementation.NoncontiguousNFA
    return tuple(
        BytesAhoCorasick(
            needles[start : start + _AT_ONCE], kind, automaton
        ).find_matches_as_indexes
        for start in range(0, len(needles), _AT_ONCE)
    )


def token_end(data: bytes, start: int) -> int:
    """Return the end of the token that begins at `start`; it may be empty."""
    match = _TOKEN.match(data, start)
    return match.end() if match else start
