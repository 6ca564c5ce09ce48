"""
Writes lines: one write per line, and no failed write reaches the program.

A full disk, a closed descriptor or a broken pipe loses lines, which are counted in `lost`.
Nothing is raised, retried or buffered.
"""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sidecar.core.secrecy.redaction import Redactor
from sidecar.log.lines import Format, LineRenderer

CANARY: Final = "sidecar.canary"
"""The logger of the canary."""

PINNED: Final = frozenset(
    {"botocore", "boto3", "s3transfer", "urllib3", "aiohttp", "asyncio", "concurrent"}
)
"""
Loggers that never log below INFO.

botocore prints SecretString at DEBUG (hooks, parsers), urllib3 and aiohttp print heads.
"""


class Descriptor:
    """
    A file descriptor without a buffer.

    `sys.stderr` keeps a failed write and repeats it at exit, which turns a full disk into
    exit code 120.
    """

    def __init__(self, number: int) -> None:
        self._file = io.FileIO(number, "w", closefd=False)

    def write(self, text: str, /) -> None:
        """Write all of it, or raise OSError."""
        data = text.encode("utf-8", "backslashreplace")
        while data:
            written = self._file.write(data)
            if not written:  # the descriptor is non-blocking, and its reader is slow
                raise BlockingIOError
            data = data[written:]


Stream = Descriptor | io.StringIO


class LineHandler(logging.Handler):
    """
    The only handler: every record of every library passes the redactor.

    Args:
        redactor: Masks secrets.
        style: The format.
        stream: Where lines are written; standard error if absent.
    """

    def __init__(
        self, redactor: Redactor, style: Format, stream: Stream | None
    ) -> None:
        super().__init__()
        self.lost = 0
        """Lines that could not be written."""
        self._line = LineRenderer(redactor, style, CANARY)
        # In a process without standard error, descriptor 2 may be a socket.
        missing = sys.stderr is None
        self._stream = stream or (None if missing else Descriptor(2))
        self._tap: list[str] | None = None
        self.addFilter(_allowed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raise."""
        try:
            line = self._line(record)
        except Exception as failure:  # noqa: BLE001 - bad arguments of any kind
            line = self._line.withheld(record, type(failure).__qualname__)
        if self._tap is not None and record.name == CANARY:
            self._tap.append(line)
        elif self._stream is not None:
            try:
                self._stream.write(f"{line}\n")
            except (OSError, ValueError):  # ValueError: a file object that is closed
                self.lost += 1

    @contextmanager
    def tapped(self) -> Iterator[list[str]]:
        """Collect the lines of the canary instead of writing them."""
        lines: list[str] = []
        self._tap = lines
        try:
            yield lines
        finally:
            self._tap = None


def _allowed(record: logging.LogRecord) -> bool:
    """Drop DEBUG records of pinned libraries, even if their level was lowered."""
    return record.levelno >= logging.INFO or record.name.partition(".")[0] not in PINNED
