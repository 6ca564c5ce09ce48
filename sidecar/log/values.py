"""
The values that a line may hold.

Rule 1: a value becomes plain JSON, of bounded depth, and bounded in number of items.
Rule 2: an object of an unknown type is shown as the name of its type, because its `repr`
may hold anything.
"""

import math
from collections.abc import Mapping, Sequence, Set as AbstractSet
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Final, TypeAlias

from sidecar.core.secrecy.secret import MASK, Secret
from sidecar.log.failures import failure_name

MAX_INPUT: Final = 131_072
"""Characters of a text that are searched for secrets; no later one is shown."""

_MAX_ITEMS: Final = 50
_MAX_DEPTH: Final = 4
_MAX_INT: Final = 2**63

# The member of a string enum is a `str`, but its type is not one of these.
_PLAIN_TYPES: Final = frozenset({str, bool, type(None)})

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"


def plain(value: object, depth: int = 0) -> Plain:
    """Return a value in plain JSON types."""
    result: Plain
    if type(value) in _PLAIN_TYPES:
        return value  # type: ignore[return-value]  # mypy does not narrow by such a set
    match value:
        case Enum():
            result = plain(value.value, depth)
        case int():
            result = int(value) if abs(value) < _MAX_INT else "<int>"
        case float():
            result = value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            result = bytes(value[:MAX_INPUT]).decode("utf-8", "backslashreplace")
        case Secret():
            result = MASK
        case BaseException():
            result = failure_name(value)
        case str() | PurePath() | date():
            result = str(value)
        case Mapping() | Sequence() | AbstractSet():
            result = _container(value, depth)
        case _:
            result = f"<{type(value).__module__}.{type(value).__qualname__}>"
    return result


def _container(
    value: Mapping[object, object] | Sequence[object] | AbstractSet[object], depth: int
) -> Plain:
    """Return the first items of a container."""
    if depth == _MAX_DEPTH:
        return "<nested>"
    if isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ITEMS]
        return {str(plain(key, depth + 1)): plain(one, depth + 1) for key, one in items}
    return [plain(one, depth + 1) for one in list(value)[:_MAX_ITEMS]]
