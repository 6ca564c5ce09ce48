"""A log of its own for every test, and the process's logging put back afterwards."""

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
        """Make the redactor that knows `KEY`."""
        self.redactor = Redactor(self.hits.append)
        self.redactor.learn(Secret(KEY))

    def configure(self, level: log.Level = "debug", style: log.Format = "json") -> None:
        """Take over the process's logging."""
        log.configure(level, style, self.redactor, self.stream)

    @property
    def text(self) -> str:
        """Everything written so far."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line, as a reader of JSON sees it."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        """The only line."""
        (line,) = self.lines
        return line


@pytest.fixture(name="logs")
def _logs() -> Iterator[Log]:
    """JSON at debug level, into memory."""
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
