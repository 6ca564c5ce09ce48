"""
What a field of a line may be, and how a line looks.

Rule 1: one event is one line: control bytes, line separators and all that is not
printable are escaped, in both formats.
Rule 2: an object that we do not know is named by its type. Its `repr` may hold anything.
Rule 3: text is masked before it is cut: half a key is not found any more.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Final, TypeAlias

from sidecar.core.secrecy.secret import MASK, Secret
from sidecar.log.failures import failure_name

MAX_TEXT: Final = 2048
"""Characters of one field; the attacker's part of a line is bounded (log injection)."""

MAX_FAILURE: Final = 8192
"""Characters of a rendered exception, which is ours."""

# What is never looked at cannot be masked, so it is never shown either; see `shortened`.
_MAX_INPUT: Final = 131_072
_MAX_ITEMS: Final = 50
_MAX_DEPTH: Final = 4
_MAX_INT: Final = 2**63

AS_IT_IS: Final = frozenset({str, bool, type(None)})
"""Types that `plain` leaves alone. An enum's member is a text too, and not one of these."""

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"


def plain(value: object, depth: int = 0) -> Plain:
    """Make a value of anything that JSON can hold and a person may see."""
    result: Plain
    match value:
        case Enum():
            result = plain(value.value, depth)
        case None | bool() | str():
            result = value
        case int():
            result = int(value) if abs(value) < _MAX_INT else "<int>"
        case float():
            result = value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            result = bytes(value[:_MAX_INPUT]).decode("utf-8", "backslashreplace")
        case Secret():
            result = MASK
        case BaseException():
            result = failure_name(value)
        case PurePath() | date() | datetime():
            result = str(value)
        case Mapping() | Sequence() | AbstractSet():
            result = _container(value, depth)
        case _:
            result = f"<{type(value).__module__}.{type(value).__qualname__}>"
    return result


def _container(
    value: Mapping[object, object] | Sequence[object] | AbstractSet[object], depth: int
) -> Plain:
    """Take a bounded part of a container."""
    if depth == _MAX_DEPTH:
        return "<nested>"
    if isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ITEMS]
        return {str(plain(key, depth + 1)): plain(one, depth + 1) for key, one in items}
    return [plain(one, depth + 1) for one in list(value)[:_MAX_ITEMS]]


def mapped(value: Plain, change: Callable[[str], str]) -> Plain:
    """Change every text in a value, the keys of mappings too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [mapped(one, change) for one in value]
    if isinstance(value, dict):
        return {change(key): mapped(one, change) for key, one in value.items()}
    return value


def shortened(mask: Callable[[str], str], limit: int) -> Callable[[str], str]:
    """Mask first, then cut."""

    def change(text: str) -> str:
        clean = mask(text[:_MAX_INPUT])
        # A key that our own cut went through would be at the end of `clean`: never
        # show that end.
        if len(text) > _MAX_INPUT and len(clean) < _MAX_INPUT // 2:
            return MASK
        if len(clean) <= limit:
            return clean
        return f"{clean[:limit]}... ({len(text)} characters)"

    return change


def longest(value: Plain) -> int:
    """The length of the longest text in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return max(map(longest, value), default=0)
    if isinstance(value, dict):
        return max((max(len(k), longest(v)) for k, v in value.items()), default=0)
    return 0


# Made once: `json.dumps` with arguments makes an encoder per call.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


def as_json(fields: dict[str, Plain]) -> str:
    """One line of JSON in ASCII: U+2028 and lone surrogates are escaped, too."""
    return _ENCODER.encode(fields)


_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_BARE: Final = re.compile(r"[A-Za-z0-9_.:/+*@{}<>#~-]+")


def as_console(fields: dict[str, Plain]) -> str:
    """One line for people; an exception follows on lines of its own."""
    rest = dict(fields)
    head = " ".join(
        _printable(str(rest.pop(name, "-")))
        for name in ("timestamp", "level", "logger", "event")
    )
    failure = rest.pop("exception", None)
    pairs = [f"{_printable(name)}={_value(one)}" for name, one in rest.items()]
    lines = [" ".join([head, *pairs])]
    if isinstance(failure, str):
        lines += (f"    {_printable(line)}" for line in failure.split("\n"))
    return "\n".join(lines)


def _value(value: Plain) -> str:
    """Bare where a reader cannot mistake it, else as JSON."""
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """Escape what could move the cursor, end the line or turn it around."""
    return _UNPRINTABLE.sub(
        lambda match: (
            match[0]
            if match[0].isprintable()
            else match[0].encode("unicode_escape", "surrogatepass").decode()
        ),
        text,
    )
