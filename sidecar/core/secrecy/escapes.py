"""
Escapes that a text may wear, taken off in layers: percent, JSON, Python, HTML.

A library that fails likes to quote what it was given, and a log likes to quote that once
more. Every character keeps its place in the text that it came from, so that what is found
under the escapes can be masked above them.
"""

import re
from collections.abc import Iterator
from typing import Final

LAYERS: Final = 4
"""How many are taken off: more is nobody's accident."""

_ESCAPE: Final = re.compile(
    r"%([0-9A-Fa-f]{2})"  # RFC 3986, 2.1
    r"|\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|\\([\"'\\/nrt])"  # RFC 8259, 7; repr()
    r"|&#[xX]0{0,6}([0-9A-Fa-f]{1,4});|&#0{0,6}([0-9]{1,4});|&(amp|lt|gt|quot|apos);"
)
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def layers(text: str) -> Iterator[tuple[str, list[int] | None]]:
    """
    The text, and the text with one layer of escapes taken off after the other.

    With each comes, for every index, the offset in the text that it came from.
    """
    yield text, None
    layer, origin = text, None
    for _ in range(LAYERS):
        if not _ESCAPE.search(layer):
            return
        decoded, starts = unescaped(layer)
        origin = starts if origin is None else [origin[start] for start in starts]
        layer = decoded
        yield layer, origin


def unescaped(text: str) -> tuple[str, list[int]]:
    """Take one layer of escapes off; with the offset of every character, and the end."""
    pieces: list[str] = []
    starts: list[int] = []
    position = 0
    for match in _ESCAPE.finditer(text):
        pieces.append(text[position : match.start()])
        starts.extend(range(position, match.start() + 1))
        pieces.append(_character(match))
        position = match.end()
    pieces.append(text[position:])
    starts.extend(range(position, len(text) + 1))
    return "".join(pieces), starts


def _character(match: re.Match[str]) -> str:
    """The one character that an escape stands for."""
    percent, unicode, byte, itself, entity, decimal, name = match.groups()
    if itself:
        return _CONTROLS.get(itself, itself)
    if name:
        return _ENTITIES[name]
    if decimal:
        return chr(int(decimal))
    return chr(int(percent or unicode or byte or entity, 16))
