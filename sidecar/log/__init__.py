"""
Logging: structlog through the standard library, so that one handler sees every record.

    log = get_logger(__name__)
    log.warning("key_rejected", upstream="flownally", fingerprint="0a1b2c3d")

An event is a constant in snake_case; its data are fields. The records of libraries pass
the same redactor.
"""

import logging
from typing import Final, Literal

import structlog

from sidecar.core.secrecy.redaction import Redactor
from sidecar.log.canary import canary_survives
from sidecar.log.handler import CANARY, PINNED, LineHandler, Stream
from sidecar.log.hooks import install_hooks, loop_exception_handler
from sidecar.log.lines import Format, as_message

__all__ = [
    "Format",
    "Level",
    "Logger",
    "canary_survives",
    "configure",
    "get_logger",
    "loop_exception_handler",
]

Level = Literal["debug", "info", "warning", "error"]
Logger = structlog.stdlib.BoundLogger

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# At import, not in `configure`: the default of structlog prints unredacted to stdout.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        as_message,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)


def get_logger(name: str) -> Logger:
    """Return a logger that binds fields; `name` is that of the module."""
    return structlog.stdlib.get_logger(name)


def configure(
    level: Level, style: Format, redactor: Redactor, stream: Stream | None = None
) -> None:
    """
    Send every record of this process through the redactor, to one stream.

    Args:
        level: Records below it are dropped; those of `PINNED` libraries below INFO, too.
        style: `json`, or `console` for people.
        redactor: Masks secrets in lines and counts them.
        stream: Where lines are written; standard error if absent.
    """
    root = logging.getLogger()
    for old in list(root.handlers):
        # Our own of an earlier call, or one of `basicConfig`, which would print secrets.
        if type(old) in (LineHandler, logging.StreamHandler):
            root.removeHandler(old)
    root.addHandler(LineHandler(redactor, style, stream))
    root.setLevel(_LEVELS[level])
    for name in PINNED:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.INFO))
    logging.getLogger(CANARY).setLevel(logging.CRITICAL)
    # No line shows these, and finding the caller costs 10 us (Python's logging how-to,
    # "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the documented switch
    # Otherwise a record that cannot be formatted is printed with its arguments.
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    install_hooks()
