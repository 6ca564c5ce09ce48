"""
What must not be seen in an answer, and the search for it, which every call pays for.

Rule 1: spellings with percent escapes are looked for only where there is a `%`, and so
    on; what remains is the plain key and its base64, four searches at memory speed.
Rule 2: a needle never shows itself: not in `repr`, not in a refusal.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sidecar.core.search import LARGE, holds
from sidecar.core.secret import Secret, Unpicklable
from sidecar.core.spellings import spellings

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

_SMALL: Final = 4096
"""
Bytes. In so little data a call costs more than the search, so what begins alike is looked
for together; in more, the search for a longer needle is faster.
"""

# RFC 6750, 2.1: what a bearer token is made of.
_TOKEN_BYTES: Final = (
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~+/="
)
_TOKEN: Final = re.compile(b"[%b]+" % re.escape(_TOKEN_BYTES))
_MASKS: Final = b"*#!?^"

Span = tuple[int, int, int]
"""Where a match begins, and the start and end of what is masked of it."""

Groups = tuple[tuple[bytes, tuple[bytes, ...]], ...]
"""Needles, and what is looked for before them."""


class Needles(Unpicklable):
    """
    What must not be seen in an answer; made once per set of keys, never per call.

    Args:
        secrets: The known keys: current, previous, candidate.
        key_prefix: How keys begin. What follows it is masked too, for it is a key that
            was just made and is shown once; the prefix itself is no secret and stays.
    """

    __slots__ = (
        *("_beginnings", "_ends", "_firsts", "_gated", "_plain", "_probes"),
        *("all", "mask_byte", "prefix", "reach"),
    )

    def __init__(self, secrets: Iterable[Secret], key_prefix: str = "") -> None:
        found = {
            spelling
            for secret in secrets
            if len(secret.reveal()) >= MIN_NEEDLE
            for spelling in spellings(secret.reveal().encode("ascii"))
            if len(spelling) >= MIN_NEEDLE
        }
        self.all = tuple(sorted(found, key=lambda needle: (-len(needle), needle)))
        """Every spelling of the known keys, longest first."""
        self.prefix = key_prefix.encode("ascii")
        used = frozenset(self.prefix.join(self.all) + self.prefix)
        self.mask_byte = next((byte for byte in _MASKS if byte not in used), _MASKS[0])
        """`*`, unless a key has one in it."""
        groups: dict[int, list[bytes]] = {}
        for needle in self.all:
            gate = next((byte for byte in b"%\\&" if byte in needle), 0)
            groups.setdefault(gate, []).append(needle)
        plain = groups.pop(0, [])
        self._plain: Groups = tuple((needle, (needle,)) for needle in plain)
        self._probes = _alike(plain)
        self._gated = tuple((gate, tuple(some)) for gate, some in groups.items())
        self._beginnings = (*self.all, self.prefix) if self.prefix else self.all
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
        return f"Needles({len(self.all)} spellings)"

    def knows(self, data: bytes) -> bool:
        """Say whether a known key is in the data: what a tripwire is for."""
        if len(data) >= LARGE:
            return self._in_much(data)
        groups = self._probes if len(data) < _SMALL else self._plain
        for probe, needles in groups:
            # partition: half the price of `find`, a third of `in` (Python 3.11), and it
            # copies nothing where there is nothing to find.
            if data.partition(probe)[1]:
                for needle in needles:
                    if data.partition(needle)[1]:
                        return True
        for gate, needles in self._gated:
            if gate in data:
                for needle in needles:
                    if data.partition(needle)[1]:
                        return True
        return False

    def _in_much(self, data: bytes) -> bool:
        return any(holds(data, needle) for needle, _ in self._plain) or any(
            gate in data and any(holds(data, needle) for needle in needles)
            for gate, needles in self._gated
        )

    def within(self, data: bytes) -> bool:
        """Say whether there is anything in the data to be masked."""
        if self.knows(data):
            return True
        if not self.prefix or not data.partition(self.prefix)[1]:
            return False
        return any(True for _ in self.tokens(data))

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


def _alike(needles: Sequence[bytes]) -> Groups:
    """Put together needles that begin alike: keys have a prefix, also in base64."""
    alike: dict[bytes, list[bytes]] = {}
    for needle in needles:
        alike.setdefault(needle[:MIN_NEEDLE], []).append(needle)
    return tuple((_common(some), tuple(some)) for some in alike.values())


def _common(needles: Sequence[bytes]) -> bytes:
    """Return how all of these begin."""
    low, high = min(needles), max(needles)
    length = next(
        (at for at, byte in enumerate(low) if high[at : at + 1] != bytes([byte])),
        len(low),
    )
    return low[:length]


def token_end(data: bytes, start: int) -> int:
    """Return where the token that begins at `start` ends; it may be empty."""
    match = _TOKEN.match(data, start)
    return match.end() if match else start
