"""
Uncaught exceptions become a line of the log instead of a raw traceback.

The hooks of Python print the arguments of an exception, and the handler of asyncio prints
the `repr` of its future; both may hold a header (see `failures.py`).
"""

import asyncio
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

_NAME = "sidecar.unhandled"


def install_hooks() -> None:
    """Replace the hooks of the interpreter."""
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_thread


def loop_exception_handler(
    _loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Log an exception that no task awaits; for `loop.set_exception_handler`."""
    _report("loop_exception", context.get("exception"), message=str(context["message"]))


def _uncaught(
    kind: type[BaseException],
    failure: BaseException,
    traceback: TracebackType | None,
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, failure, traceback)
        return
    _report("uncaught_exception", failure)


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    _report("unraisable_exception", unraisable.exc_value)


def _in_thread(arguments: threading.ExceptHookArgs) -> None:
    _report("thread_exception", arguments.exc_value)


def _report(event: str, failure: BaseException | None, **fields: str) -> None:
    """Log one line."""
    structlog.stdlib.get_logger(_NAME).critical(event, exc_info=failure, **fields)
