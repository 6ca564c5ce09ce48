"""
Where lines go: one write per line, and no failure of it reaches the program.

A full disk, a closed descriptor or a reader that went away loses lines, counted in
`lost`; it does not raise, does not retry and does not grow a buffer.
"""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from sidecar.core.secrecy.redaction import Redactor
from sidecar.log.lines import Format, Lines

CANARY: Final = "sidecar.canary"
"""The logger of the self test."""

PINNED: Final = frozenset(
    {"botocore", "boto3", "s3transfer", "urllib3", "aiohttp", "asyncio", "concurrent"}
)
"""
Loggers that never log below INFO.

botocore prints SecretString at DEBUG (hooks, parsers), urllib3 and aiohttp print heads.
"""


class Stream(Protocol):
    """The part of a text file that we use."""

    def write(self, text: str, /) -> object:
        """Write all of it."""

    def flush(self) -> object:
        """Leave nothing behind."""


class Descriptor:
    """
    A file descriptor without a buffer.

    `sys.stderr` keeps what it could not write and tries again at exit, which turns a
    full disk into exit code 120.
    """

    def __init__(self, number: int) -> None:
        self._file = io.FileIO(number, "w", closefd=False)

    def write(self, text: str, /) -> None:
        """Write all of it, or raise OSError."""
        data = text.encode("utf-8", "backslashreplace")
        while data:
            written = self._file.write(data)
            if not written:  # somebody made it non-blocking, and the reader is slow
                raise BlockingIOError
            data = data[written:]

    def flush(self) -> None:
        """There is nothing to flush."""


class LineHandler(logging.Handler):
    """The only handler: every record of every library passes the redactor."""

    def __init__(
        self, redactor: Redactor, style: Format, stream: Stream | None
    ) -> None:
        super().__init__()
        self.lost = 0
        """Lines that could not be written."""
        self._lines = Lines(redactor, style, CANARY)
        self._stream = stream if stream is not None else _standard_error()
        self._tap: list[str] | None = None
        self.addFilter(_allowed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, whatever happens."""
        try:
            line = self._lines(record)
        except Exception as failure:  # noqa: BLE001 - somebody's bad arguments must not stop us
            line = self._lines.withheld(record, type(failure).__qualname__)
        if self._tap is not None and record.name == CANARY:
            self._tap.append(line)
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: a file object that is closed
            self.lost += 1

    @contextmanager
    def tapped(self) -> Iterator[list[str]]:
        """Keep the lines of the self test instead of writing them."""
        lines: list[str] = []
        self._tap = lines
        try:
            yield lines
        finally:
            self._tap = None


def _allowed(record: logging.LogRecord) -> bool:
    """Refuse chatter of pinned libraries, also when somebody lowered their level."""
    return record.levelno >= logging.INFO or record.name.partition(".")[0] not in PINNED


class _Nowhere:
    """A stream for a process without one."""

    def write(self, text: str, /) -> None:
        """Lose the line."""

    def flush(self) -> None:
        """There is nothing to flush."""


def _standard_error() -> Stream:
    """
    Descriptor 2, unless the process was started without one.

    Then the number belongs to whatever was opened first: a socket, perhaps.
    """
    if sys.stderr is None:
        return _Nowhere()
    return Descriptor(2)
