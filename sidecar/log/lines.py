"""
Renders a record as one line without a secret in it.

Rule 1: one event is one line. Control characters, line separators and all unprintable
characters are escaped, in both formats.
Rule 2: a line is rendered by structlog and searched once. Names are searched together
with their values: `"token": "x"` is masked, too.
Rule 3: if the search finds a secret or the line is long, every text is masked and cut by
itself, because a mask in a rendered line may destroy its structure. That line is rendered
and searched again.
Rule 4: a text is masked before it is cut, because half a key is not recognised.
"""

import json
import re
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from logging import LogRecord
from typing import Any, Final, Literal

import structlog

from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import MASK
from sidecar.log.failures import failure_text
from sidecar.log.values import MAX_INPUT, Plain, plain

Format = Literal["json", "console"]

MAX_TEXT: Final = 2048
"""Characters of one text in a line: this bounds the part that a peer controls."""

MAX_FAILURE: Final = 8192
"""Characters of a rendered exception, which holds no text of a peer."""

MAX_LINE: Final = 65_536
"""Characters of a line; container runtimes split longer lines, collectors drop them."""

_HEAD: Final = ("timestamp", "level", "logger", "event")
_NEVER: Final = frozenset({"event", "stack_info"})

# `json.dumps` with options makes an encoder per call. ASCII: U+2028 and lone surrogates
# are escaped, too.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_json_renderer: Final = structlog.processors.JSONRenderer(
    lambda fields, default: _ENCODER.encode(fields)  # noqa: ARG005 - structlog passes it
)
_console_renderer: Final = structlog.dev.ConsoleRenderer(
    colors=False, sort_keys=False, pad_event_to=0, pad_level=False
)
_exception_renderer: Final = structlog.processors.ExceptionRenderer(
    lambda exc_info: failure_text(exc_info[1])
)


class LogEvent(dict[str, Any]):
    """The event of one of our own loggers; the message of any other logger is a text."""


def as_message(
    _logger: object, _method: str, event: Mapping[str, Any]
) -> tuple[tuple[LogEvent], dict[str, Any]]:
    """
    Pass an event through the standard library unchanged: structlog's last processor.

    `structlog.stdlib.ProcessorFormatter` does the same with a copy of every record, which
    costs 8 us more (measured).
    """
    return (LogEvent(event),), {}


class LineRenderer:
    """
    Renders records in one format.

    Args:
        redactor: Masks secrets; it also counts them.
        style: The format.
        quiet: The logger whose secrets are not counted: the canary's.
    """

    def __init__(self, redactor: Redactor, style: Format, quiet: str) -> None:
        self._redactor = redactor
        self._json = style == "json"
        self._render: Callable[[dict[str, Plain]], str] = (
            _as_json if self._json else _as_console
        )
        self._quiet = quiet

    def __call__(self, record: LogRecord) -> str:
        """Return the line of a record. Raises what formatting a bad message raises."""
        fields = _fields(record)
        line = self._render(fields)
        masked, hits = self._redactor.masked(line[:MAX_TEXT])
        if hits or len(line) > MAX_TEXT:
            masked, hits = self._masked_line(fields)
            if record.name != self._quiet:
                self._redactor.report(hits)
        return masked

    def withheld(self, record: LogRecord, reason: str) -> str:
        """Return a line that replaces one that cannot be shown."""
        own: dict[str, Plain] = {"logger": "sidecar.log", "event": "line_withheld"}
        return self._render(_head(record) | own | {"reason": reason})

    def _masked_line(self, fields: dict[str, Plain]) -> tuple[str, int]:
        """Mask and cut every text, then mask the line; return the number of secrets."""
        texts = _Texts(self._redactor)
        masked = {
            texts.clean(name): texts.clean_value(
                value, MAX_FAILURE if name == "exception" else MAX_TEXT
            )
            for name, value in fields.items()
        }
        line, hits = self._redactor.masked(self._render(masked))
        if len(line) > MAX_LINE or (hits and self._json and not _is_json(line)):
            head: dict[str, Plain] = {name: masked[name] for name in _HEAD}
            line = texts.mask(self._render({**head, "withheld": "fields"}))
        return line, texts.hits + hits


class _Texts:
    """Masks and cuts the texts of one line, and counts the masked secrets."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.hits = 0

    def mask(self, text: str) -> str:
        """Return the text without a secret."""
        masked, hits = self._redactor.masked(text)
        self.hits += hits
        return masked

    def clean(self, text: str, limit: int = MAX_TEXT) -> str:
        """Mask, then cut to `limit` characters."""
        masked = self.mask(text[:MAX_INPUT])
        # A key that `MAX_INPUT` splits ends `masked`: that end is never shown.
        if len(text) > MAX_INPUT and len(masked) < MAX_INPUT // 2:
            return MASK
        if len(masked) <= limit:
            return masked
        return f"{masked[:limit]}... ({len(text)} characters)"

    def clean_value(self, value: Plain, limit: int) -> Plain:
        """Clean every text in a value, the keys of mappings too."""
        if isinstance(value, str):
            return self.clean(value, limit)
        if isinstance(value, list):
            return [self.clean_value(one, limit) for one in value]
        if isinstance(value, dict):
            return {
                self.clean(key): self.clean_value(one, limit)
                for key, one in value.items()
            }
        return value


def _fields(record: LogRecord) -> dict[str, Plain]:
    """Return the head of a line, then the event's own fields, then its exception."""
    event: MutableMapping[str, Any]
    if isinstance(record.msg, LogEvent):
        event = record.msg
    else:
        event = {"event": record.getMessage(), "exc_info": record.exc_info}
    # Here and not before `as_message`: what it raises must not reach the program.
    event = _exception_renderer(None, "", event)
    fields = _head(record)
    shown = plain(event.get("event", ""))
    fields["event"] = shown if isinstance(shown, str) else json.dumps(shown)
    for name, value in event.items():
        if name not in _NEVER:
            fields[f"{name}_" if name in fields else name] = plain(value)
    return fields


def _head(record: LogRecord) -> dict[str, Plain]:
    """Return time (RFC 3339, UTC), level and logger."""
    created = datetime.fromtimestamp(record.created, UTC)
    return {
        "timestamp": f"{created.isoformat(timespec='milliseconds')[:-6]}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
    }


def _as_json(fields: dict[str, Plain]) -> str:
    """Return one line of JSON."""
    return str(_json_renderer(None, "", fields))


def _as_console(fields: dict[str, Plain]) -> str:
    """Return one line for people; an exception follows in indented lines."""
    rest = dict(fields)
    failure = str(rest.pop("exception", ""))
    first = _printable(_console_renderer(None, "", rest))
    return "\n".join([first, *(f"    {_printable(e)}" for e in failure.splitlines())])


_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def _printable(text: str) -> str:
    """Escape characters that move the cursor, end the line or reverse its direction."""
    return _UNPRINTABLE.sub(
        lambda match: (
            match[0]
            if match[0].isprintable()
            else match[0].encode("unicode_escape", "surrogatepass").decode()
        ),
        text,
    )


def _is_json(line: str) -> bool:
    """Return whether a line is still a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
