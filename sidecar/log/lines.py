"""
The last stage: one event becomes one line without a secret in it.

A line is rendered and searched once. Only when that finds something, or when a text is
too long, every field is masked and cut for itself, and the line made of them is searched
again: what is masked in a rendered line could have swallowed its structure.
"""

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from logging import LogRecord
from typing import Any, Final, Literal

from sidecar.core.secrecy.redaction import Redactor
from sidecar.log.failures import failure_text
from sidecar.log.fields import (
    AS_IT_IS,
    MAX_FAILURE,
    MAX_TEXT,
    Plain,
    as_console,
    as_json,
    longest,
    mapped,
    plain,
    shortened,
)

Format = Literal["json", "console"]

MAX_LINE: Final = 65_536
"""Characters of a line; container runtimes split lines at 16 KiB, collectors drop them."""

_HEAD: Final = ("timestamp", "level", "logger", "event")
_NEVER: Final = ("stack_info", "positional_args")


class LogEvent(dict[str, Any]):
    """What one of our own loggers was told; others' messages are texts."""


def as_message(
    _logger: object, _method: str, event: Mapping[str, Any]
) -> tuple[tuple[LogEvent], dict[str, Any]]:
    """
    Hand an event to the standard library as it is: structlog's last processor.

    structlog's own `ProcessorFormatter` does the same and copies each record: 15 us.
    """
    return (LogEvent(event),), {}


class Lines:
    """Renders events in one format; counts what it masks through the redactor."""

    def __init__(self, redactor: Redactor, style: Format, quiet: str) -> None:
        self._redactor = redactor
        self._json = style == "json"
        self._render = as_json if self._json else as_console
        self._quiet = quiet
        """The logger whose masked secrets are not counted: they are the self test's."""

    def __call__(self, record: LogRecord) -> str:
        """Render one record. Raises what the formatting of a bad one raises."""
        line, hits = self._line(_fields(record))
        if record.name != self._quiet:
            self._redactor.report(hits)
        return line

    def withheld(self, record: LogRecord, reason: str) -> str:
        """A line in the place of one that cannot be shown."""
        return self._render(
            {
                **_head(record),
                "logger": "sidecar.log",
                "event": "line_withheld",
                "reason": reason,
            }
        )

    def _line(self, fields: dict[str, Plain]) -> tuple[str, int]:
        """The line, and how many secrets it would have shown."""
        line = self._render(fields)
        # No text of a short line can be too long.
        if len(line) <= MAX_TEXT or (
            len(line) <= MAX_LINE and longest(fields) <= MAX_TEXT
        ):
            _, hits = self._redactor.masked(line)
            if not hits:
                return line, 0
        return self._careful_line(fields)

    def _careful_line(self, fields: dict[str, Plain]) -> tuple[str, int]:
        """Mask and cut field by field, then the line once more."""
        total = 0

        def mask(text: str) -> str:
            nonlocal total
            clean, hits = self._redactor.masked(text)
            total += hits
            return clean

        cut = shortened(mask, MAX_TEXT)
        changes: dict[str, Callable[[str], str]] = {
            "exception": shortened(mask, MAX_FAILURE)
        }
        masked = {
            cut(name): mapped(value, changes.get(name, cut))
            for name, value in fields.items()
        }
        line = self._render(masked)
        clean, hits = self._redactor.masked(line)
        if len(clean) > MAX_LINE or (hits and self._json and not _is_json(clean)):
            head: dict[str, Plain] = {name: masked[name] for name in _HEAD}
            clean = mask(self._render({**head, "withheld": "fields"}))
        return clean, total + hits


def _fields(record: LogRecord) -> dict[str, Plain]:
    """The head of a line, then the event's own fields, then its exception."""
    event: dict[str, Any]
    if isinstance(record.msg, LogEvent):
        event = dict(record.msg)
    else:
        event = {"event": record.getMessage(), "exc_info": record.exc_info}
    for name in _NEVER:
        event.pop(name, None)
    failure = _failure(event.pop("exc_info", None))
    text = plain(event.pop("event", ""))
    fields = _head(record)
    fields["event"] = text if isinstance(text, str) else json.dumps(text)
    for name, value in event.items():
        fields[f"{name}_" if name in fields else name] = (
            value if type(value) in AS_IT_IS else plain(value)
        )
    if failure is not None:
        fields["exception"] = failure_text(failure)
    return fields


def _head(record: LogRecord) -> dict[str, Plain]:
    """Time (RFC 3339, UTC), level and logger."""
    second, part = divmod(record.created, 1)
    return {
        "timestamp": f"{_second(int(second))}.{int(part * 1000):03}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
    }


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    """A second of Unix time; most lines are of the same one as the line before."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _failure(exc_info: object) -> BaseException | None:
    """The exception out of any form that logging and structlog allow."""
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    elif exc_info is True:
        exc_info = sys.exc_info()[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _is_json(line: str) -> bool:
    """Whether a line is still what its readers expect."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
