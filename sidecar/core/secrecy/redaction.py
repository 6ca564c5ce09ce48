"""
Masks secrets in text that leaves the process.

Rule 1: a learned key never survives: plain, in base64 at any offset or in hexadecimal,
each under up to `LAYERS` layers of percent, JSON, Python or HTML escapes. If masking one
secret makes another one appear, the text is searched again; after `_ROUNDS` rounds the
whole text is masked.
Rule 2: text that looks like a secret (`secret_patterns.py`) is masked even if the key is
not known.
Rule 3: no input takes more than linear time, and a plain line takes microseconds.
Rule 4: old keys stay known for the life of the process, because an old line may still be
rendered and an old answer may still be quoted. Their number is bounded by `KEPT`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sidecar.core.secrecy.encodings import base64_cores
from sidecar.core.secrecy.escapes import LAYERS, layers, unescaped
from sidecar.core.secrecy.secret import MASK, Secret, Unpicklable
from sidecar.core.secrecy.secret_patterns import PATTERNS, words_in

KEPT: Final = 32
"""
Keys without an owner that stay known: a month of daily rotations. A source may change
its value at every refresh, and every line is searched for all known keys.
"""

_ROUNDS: Final = 4

# Shorter pieces of an encoded key occur in ordinary words.
_MIN_ENCODED: Final = 8

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-]{0,3}={0,2}")
_BASE64_BEFORE: Final = re.compile(r"[A-Za-z0-9+/_\-]{0,3}\Z")

Span = tuple[int, int]


class LearnedKey(Unpicklable):
    """One known key in the encodings that a text is searched for."""

    __slots__ = ("hexadecimal", "needles", "value")

    def __init__(self, value: str) -> None:
        self.value = value
        raw = value.encode()
        self.hexadecimal = raw.hex() if len(raw) * 2 >= _MIN_ENCODED else ""
        cores = {core.decode() for core in base64_cores(raw)}
        self.needles = (
            *((form, False) for form in _unescaped_forms(value)),
            *((core, True) for core in cores if len(core) >= _MIN_ENCODED),
        )
        """Each with True if it is a part of base64."""

    def is_in(self, text: str, lower: str) -> bool:
        """Whether the text holds this key in any encoding; `lower` is its lower case."""
        for needle, _ in self.needles:
            if needle in text:
                return True
        return bool(self.hexadecimal) and self.hexadecimal in lower

    def find(self, text: str) -> Iterator[Span]:
        """Every place of this key in a text."""
        for needle, encoded in self.needles:
            for start, end in _occurrences(text, needle):
                if not encoded:
                    yield start, end
                    continue
                # The characters at both ends hold some bits of the key, too.
                before = _BASE64_BEFORE.search(text, max(0, start - 3), start)
                after = _BASE64.match(text, end)
                yield (
                    before.start() if before else start,
                    after.end() if after else end,
                )
        if self.hexadecimal:
            yield from (
                match.span()
                for match in re.finditer(self.hexadecimal, text, re.IGNORECASE)
            )


class Redactor(Unpicklable):
    """
    Masks the keys it has learned, and text that looks like a secret.

    Safe while another thread redacts.

    Args:
        on_hits: Called with the number of secrets that were masked in a text.
    """

    def __init__(self, on_hits: Callable[[int], None] | None = None) -> None:
        self._on_hits = on_hits
        self._known: tuple[LearnedKey, ...] = ()
        """Oldest first."""
        self._owned: dict[str, frozenset[str]] = {}

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} known)"

    def learn(self, secret: Secret) -> None:
        """Mask this key from now on; the last `KEPT` keys without an owner stay known."""
        value = secret.reveal()
        if not value.strip("*"):
            return  # there is nothing to hide, and masking it would never end
        same = [known for known in self._known if known.value == value]
        others = [known for known in self._known if known.value != value]
        self._known = self._bounded([*others, *(same or [LearnedKey(value)])])

    def hold(self, owner: str, secrets: Sequence[Secret]) -> None:
        """
        Mask these keys, and never drop one of them while its owner holds it.

        Args:
            owner: A name; its keys of the call before are held no longer.
            secrets: All keys that it holds now.
        """
        self._owned[owner] = frozenset(secret.reveal() for secret in secrets)
        for secret in secrets:
            self.learn(secret)

    def _bounded(self, known: list[LearnedKey]) -> tuple[LearnedKey, ...]:
        """Drop the oldest keys without an owner if there are too many."""
        owned = frozenset[str]().union(*self._owned.values())
        loose = [one.value for one in known if one.value not in owned]
        surplus = loose[:-KEPT]
        return tuple(one for one in known if one.value not in surplus)

    def redact(self, text: str) -> str:
        """Return the text with `MASK` for every secret; idempotent."""
        text, hits = self.masked(text)
        self.report(hits)
        return text

    def masked(self, text: str) -> tuple[str, int]:
        """Like `redact`, but return the number of secrets instead of reporting it."""
        hits = 0
        for _ in range(_ROUNDS):
            spans = self._spans(text)
            if not spans:
                return text, hits
            hits += len(spans)
            text = _masked(text, spans)
        return MASK, hits

    def report(self, hits: int) -> None:
        """Report masked secrets to the callback, if there are any."""
        if hits and self._on_hits is not None:
            self._on_hits(hits)

    def _spans(self, text: str) -> list[Span]:
        """Where the secrets are, in every layer: sorted, without overlaps."""
        found: list[Span] = []
        known = self._known
        for layer, origin in layers(text):
            lower = layer.lower()
            for one in known:
                if one.is_in(layer, lower):
                    found += _traced(one.find(layer), origin)
            words = words_in(lower)
            if words:
                for pattern in PATTERNS:
                    if not pattern.words.isdisjoint(words):
                        found += _traced(_matches(pattern.regex, layer), origin)
        return _merged(text, found)


def _matches(regex: re.Pattern[str], text: str) -> Iterator[Span]:
    """The part of every match that is to be masked."""
    return (match.span(match.lastgroup or 0) for match in regex.finditer(text))


def _traced(spans: Iterator[Span], origin: list[int] | None) -> Iterator[Span]:
    """Map spans of a layer to the text that it was decoded from."""
    if origin is None:
        return spans
    return ((origin[start], origin[end]) for start, end in spans)


def _occurrences(text: str, needle: str) -> Iterator[Span]:
    """Every place of a needle; they may overlap."""
    start = text.find(needle)
    while start >= 0:
        yield start, start + len(needle)
        start = text.find(needle, start + 1)


def _unescaped_forms(value: str) -> list[str]:
    """
    The key, and the key without its own escapes, layer by layer.

    A key may hold escapes (`a%41"b`); they are decoded together with those of the text.
    """
    forms = [value]
    for _ in range(LAYERS):
        value, _ = unescaped(value)
        if value not in forms and value.strip("*"):
            forms.append(value)
    return forms


def _merged(text: str, spans: list[Span]) -> list[Span]:
    """Join spans that touch; leave out empty and masked ones."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return [
        (start, end) for start, end in merged if start < end and text[start:end] != MASK
    ]


def _masked(text: str, spans: list[Span]) -> str:
    """Replace every span by `MASK`."""
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        pieces += (text[position:start], MASK)
        position = end
    pieces.append(text[position:])
    return "".join(pieces)
