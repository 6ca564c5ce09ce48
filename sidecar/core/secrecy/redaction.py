"""
Masks secrets in text that leaves the process.

Rule 1: a learned key never survives: plain, in base64 at any offset or in hexadecimal,
each under up to `LAYERS` layers of percent, JSON, Python or HTML escapes. When masking
one thing makes another appear, we go round again; when that does not end, the whole text
is masked.
Rule 2: what looks like a secret (`patterns.py`) is masked though nobody knows it.
Rule 3: no input takes more than linear time, and a plain line takes microseconds.
Rule 4: a key that nobody holds any more is forgotten in the end (`forget`): what it opens
was revoked long ago, and memory that has no key in it can be shown to anybody.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sidecar.core.secrecy.escapes import LAYERS, layers, unescaped
from sidecar.core.secrecy.secret import MASK, Secret, Unpicklable
from sidecar.core.secrecy.secret_patterns import PATTERNS, WORDS

# Keys that nobody holds, or nobody told of: at one rotation a day a month of keys.
# Bounded, because a source may change its value at every look and this set is searched
# for every line. Keys that are held are never dropped.
KEPT: Final = 32

REMEMBERED_SECONDS: Final = 86_400.0
"""
A key that nobody holds is masked for another day: an old line may still be rendered,
and an old answer may still hold it.
"""

_ROUNDS: Final = 4

# Shorter pieces of an encoded key would be found in words.
_MIN_ENCODED: Final = 8

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-]{0,3}={0,2}")
_BASE64_BEFORE: Final = re.compile(r"[A-Za-z0-9+/_\-]{0,3}\Z")

Span = tuple[int, int]


class LearnedKey(Unpicklable):
    """One learned key in the encodings that are searched for."""

    __slots__ = ("hexadecimal", "needles", "owned", "retired", "value")

    def __init__(self, value: str) -> None:
        self.value = value
        self.owned = False
        """Somebody held it, or holds it."""
        self.retired: float | None = None
        """Since when nobody holds it; None: somebody does, or nobody told."""
        raw = value.encode()
        self.hexadecimal = raw.hex() if len(raw) * 2 >= _MIN_ENCODED else ""
        encoded = [core for core in _base64_cores(raw) if len(core) >= _MIN_ENCODED]
        self.needles = (
            *((one, False) for one in _unescaped_forms(value)),
            *((one, True) for one in encoded),
        )

    def encodings(self) -> list[str]:
        """Every form of it that is kept."""
        return [*(needle for needle, _ in self.needles), self.hexadecimal]

    def is_in(self, text: str, lower: str) -> bool:
        """Whether the text holds this key in any spelling; `lower` is its lower case."""
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
    """Masks the keys it has learned, and whatever looks like one."""

    def __init__(self, on_hits: Callable[[int], None] | None = None) -> None:
        self._on_hits = on_hits
        self._known: tuple[LearnedKey, ...] = ()
        self._held: dict[str, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} known)"

    def learn(self, secret: Secret) -> None:
        """
        Mask this key from now on, and keep it: an old line may still be rendered.

        The last `KEPT` keys are kept, besides those that are held. Safe while another
        thread redacts.
        """
        value = secret.reveal()
        if not value.strip("*"):
            return  # nothing to hide, and masking it would never end
        same = [known for known in self._known if known.value == value]
        others = [known for known in self._known if known.value != value]
        self._known = _bounded([*others, *(same or [LearnedKey(value)])])

    def hold(self, owner: str, secrets: Sequence[Secret], now: float) -> None:
        """
        Mask these keys as long as their owner holds them, and a while longer.

        Args:
            owner: Whose keys they are, all of them: those held before are let go.
            secrets: What it holds now.
            now: Seconds that never step, for `forget`.
        """
        self._held[owner] = tuple(secret.reveal() for secret in secrets)
        held = {value for values in self._held.values() for value in values}
        for known in self._known:
            if known.value in held:
                known.owned, known.retired = True, None
        for secret in secrets:
            self.learn(secret)
        for known in self._known:
            if known.value in held:
                known.owned, known.retired = True, None
            elif known.owned and known.retired is None:
                known.retired = now

    def retired(self, before: float) -> list[str]:
        """Return the keys that nobody has held since before this time."""
        return [
            known.value
            for known in self._known
            if known.retired is not None and known.retired <= before
        ]

    def forget(self, now: float) -> list[str]:
        """Drop what nobody has held for long; return it, in every spelling kept."""
        limit = now - REMEMBERED_SECONDS
        gone = [k for k in self._known if k.retired is not None and k.retired <= limit]
        self._known = tuple(known for known in self._known if known not in gone)
        return [text for known in gone for text in known.encodings() if text]

    def is_part(self, text: str) -> bool:
        """Tell whether a text stands in another key that is known, in any spelling."""
        return any(
            text in form
            for known in self._known
            if known.value != text
            for form in known.encodings()
        )

    def redact(self, text: str) -> str:
        """Return the text with `MASK` for every secret; idempotent."""
        text, hits = self.masked(text)
        self.report(hits)
        return text

    def masked(self, text: str) -> tuple[str, int]:
        """Like `redact`, but tell the number of secrets instead of reporting it."""
        hits = 0
        for _ in range(_ROUNDS):
            spans = self._spans(text)
            if not spans:
                return text, hits
            hits += len(spans)
            text = _masked(text, spans)
        return MASK, hits

    def report(self, hits: int) -> None:
        """Tell the callback, if there was anything to tell."""
        if hits and self._on_hits is not None:
            self._on_hits(hits)

    def _spans(self, text: str) -> list[Span]:
        """Where the secrets are: sorted, apart from each other, in every layer."""
        found: list[Span] = []
        known = self._known
        for layer, origin in layers(text):
            lower = layer.lower()
            for one in known:
                if one.is_in(layer, lower):
                    found += _traced(one.find(layer), origin)
            words = [word for word in WORDS if word in lower]
            if words:
                for pattern in PATTERNS:
                    if not pattern.words.isdisjoint(words):
                        found += _traced(_matches(pattern.regex, layer), origin)
        return _merged(text, found)


def _bounded(known: list[LearnedKey]) -> tuple[LearnedKey, ...]:
    """Leave out the oldest of those that nobody holds, when there are too many."""
    loose = [one for one in known if one.retired is not None or not one.owned]
    surplus = loose[: max(0, len(loose) - KEPT)]
    return tuple(one for one in known if one not in surplus)


def _matches(regex: re.Pattern[str], text: str) -> Iterator[Span]:
    """The part of every match that is to be masked."""
    return (match.span(match.lastgroup or 0) for match in regex.finditer(text))


def _traced(spans: Iterator[Span], origin: list[int] | None) -> Iterator[Span]:
    """Take spans of a layer back to the text that it was decoded from."""
    if origin is None:
        return spans
    return ((origin[start], origin[end]) for start, end in spans)


def _occurrences(text: str, needle: str) -> Iterator[Span]:
    """Every place of a needle, also where they overlap."""
    start = text.find(needle)
    while start >= 0:
        yield start, start + len(needle)
        start = text.find(needle, start + 1)


def _unescaped_forms(value: str) -> list[str]:
    """
    The key, and what is left of it under every layer.

    A key that holds escapes itself (`a%41"b`) loses them together with those around it.
    """
    forms = [value]
    for _ in range(LAYERS):
        value, _ = unescaped(value)
        if value not in forms and value.strip("*"):
            forms.append(value)
    return forms


def _base64_cores(raw: bytes) -> set[str]:
    """
    What base64 makes of these bytes whatever stands around them (RFC 4648, 4 and 5).

    At each of the three offsets the first and last characters depend on the
    neighbours; they are left out here.
    """
    cores = set()
    for offset, skip in ((0, 0), (1, 2), (2, 3)):
        whole = (offset + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            cores.add(encode(bytes(offset) + raw)[skip:whole].decode())
    return cores


def _merged(text: str, spans: list[Span]) -> list[Span]:
    """Join spans that touch; leave out empty ones and what is masked already."""
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
    """Put `MASK` in the place of every span."""
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        pieces += (text[position:start], MASK)
        position = end
    pieces.append(text[position:])
    return "".join(pieces)
