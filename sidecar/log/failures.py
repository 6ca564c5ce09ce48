"""
Exceptions as text: types and places, never arguments or local variables.

`repr()` and `.args` of the exceptions of aiohttp hold the Authorization header, those of
botocore hold answers of AWS, and a `KeyError` holds the key of the lookup. Only the
messages of our own exceptions never hold a secret; an `OSError` shows the name of its
number.
"""

import errno
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from sidecar.errors import SidecarError

_MAX_FRAMES: Final = 20
_MAX_FAILURES: Final = 8


def failure_text(failure: BaseException) -> str:
    """Return a failure, its causes and the members of a group, each with its places."""
    lines: list[str] = []
    for number, (relation, one) in enumerate(_related(failure)):
        if number == _MAX_FAILURES:
            lines.append("and more")
            break
        lines.append(f"{relation}{failure_name(one)}")
        lines += (f"  {place}" for place in _places(one.__traceback__))
    return "\n".join(lines)


def failure_name(failure: BaseException) -> str:
    """Return the type of a failure, with its message if that is safe."""
    kind = type(failure)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    if isinstance(failure, SidecarError):
        return f"{name}: {failure}"
    if isinstance(failure, OSError) and failure.errno is not None:
        return f"{name}: {errno.errorcode.get(failure.errno, failure.errno)}"
    return name


def _related(failure: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Yield the failure, its causes and the members of groups; each once."""
    seen: set[int] = set()
    waiting = [("", failure)]
    while waiting:
        relation, one = waiting.pop(0)
        if id(one) in seen:
            continue  # `raise a from b` and `raise b from a` form a cycle
        seen.add(id(one))
        yield relation, one
        if isinstance(one, BaseExceptionGroup):
            waiting += (("holding ", member) for member in one.exceptions)
        if one.__cause__ is not None:
            waiting.append(("caused by ", one.__cause__))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append(("while handling ", one.__context__))


def _places(traceback: TracebackType | None) -> list[str]:
    """Return `module:line function`, outermost first; the last ones if there are many."""
    places = []
    while traceback is not None:
        frame = traceback.tb_frame
        module = frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{traceback.tb_lineno} {frame.f_code.co_name}")
        traceback = traceback.tb_next
    if len(places) > _MAX_FRAMES:
        return ["...", *places[-_MAX_FRAMES:]]
    return places
