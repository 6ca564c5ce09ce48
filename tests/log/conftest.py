"""A separate log for every test; the logging of the process is restored afterwards."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sidecar import log
from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Secret

KEY = 'fln_live_4f9"A0bC1+dE2/fG3~h\\I4'


@dataclass
class Log:
    """A configured log that writes into memory."""

    hits: list[int] = field(default_factory=list)
    stream: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        """Make a redactor that knows `KEY`."""
        self.redactor = Redactor(self.hits.append)
        self.redactor.learn(Secret(KEY))

    def configure(self, level: log.Level = "debug", style: log.Format = "json") -> None:
        """Configure the logging of the process."""
        log.configure(level, style, self.redactor, self.stream)

    @property
    def text(self) -> str:
        """All text written so far."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line, decoded from JSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        """The only line."""
        (line,) = self.lines
        return line


@pytest.fixture(name="logs")
def _logs() -> Iterator[Log]:
    """A JSON log at debug level, in memory."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    with warnings.catch_warnings():
        logs = Log()
        logs.configure()
        yield logs
        logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
