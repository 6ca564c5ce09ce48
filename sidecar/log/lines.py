"""
The last stage: one event becomes one line without a secret in it.

A line is rendered and searched once. Only when that finds something, or when a text is
too long, every field is masked and cut for itself, and the line made of them is searched
again: what is masked in a rendered line could have swallowed its structure.
"""

import json
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from logging import LogRecord
from typing import Any, Final, Literal

from sidecar.core.redaction import Redactor
from sidecar.log.failures import failure_text
from sidecar.log.fields import (
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
_NEVER: Final = ("stack_info", "positional_args", "_from_structlog")


class Lines:
    """Renders events in one format; counts what it masks through the redactor."""

    def __init__(self, redactor: Redactor, style: Format, quiet: str) -> None:
        self._redactor = redactor
        self._json = style == "json"
        self._render = as_json if self._json else as_console
        self._quiet = quiet
        """The logger whose masked secrets are not counted: they are the self test's."""

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> str:
        """Render one event; the last processor of structlog's formatter."""
        record: LogRecord = event.pop("_record")
        line, hits = self._line(_fields(record, event))
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


def _fields(record: LogRecord, event: MutableMapping[str, Any]) -> dict[str, Plain]:
    """The head of a line, then the event's own fields, then its exception."""
    for name in _NEVER:
        event.pop(name, None)
    failure = _failure(event.pop("exc_info", None))
    text = plain(event.pop("event", ""))
    fields = _head(record)
    fields["event"] = text if isinstance(text, str) else json.dumps(text)
    for name, value in event.items():
        fields[f"{name}_" if name in fields else name] = plain(value)
    if failure is not None:
        fields["exception"] = failure_text(failure)
    return fields


def _head(record: LogRecord) -> dict[str, Plain]:
    """Time (RFC 3339, UTC), level and logger."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return {
        "timestamp": moment.isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": record.levelname.lower(),
        "logger": record.name,
    }


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
