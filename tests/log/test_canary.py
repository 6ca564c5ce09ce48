"""The canary reports every path on which a line shows a key."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar import log
from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Secret
from sidecar.log import canary, canary_survives
from tests.log.conftest import Log

CANARY = "Zk3_x-9vQ0pLmN7w8eR"


class Deaf(Redactor):
    """A redactor that learns nothing."""

    def learn(self, secret: Secret) -> None:
        """Ignore the secret."""


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("level", ["debug", "error"])
@pytest.mark.parametrize(
    "key", [CANARY, 'quo"te\\and%41/slash+end', "0123456789abcdef", "&amp;&lt;<>'='"]
)
def test_no_canary_survives(
    logs: Log, style: log.Format, level: log.Level, key: str
) -> None:
    """This holds in every format and level, and its lines are not written."""
    logs.configure(level, style)

    assert canary_survives(logs.redactor, Secret(key)) == ()
    assert logs.text == ""
    assert logs.hits == []


def test_a_redactor_that_does_not_mask_is_detected(logs: Log) -> None:
    """The canary names every path without another mask."""
    redactor = Deaf()
    log.configure("info", "json", redactor, logs.stream)

    survived = canary_survives(redactor, Secret(CANARY))

    assert {"event", "field", "nested field", "bytes", "query", "warning"} <= set(
        survived
    )
    assert "headers" not in survived  # `Bearer ...` is masked without knowing the key
    assert "exception" not in survived  # arguments are never shown


def test_without_our_handler_nothing_is_proven() -> None:
    """A log that was never configured fails the test."""
    with _no_handlers():
        assert canary_survives(Redactor(), Secret(CANARY)) == ("no handler",)


def test_a_path_without_a_line_is_not_proven(
    logs: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another handler might print a missing line."""
    monkeypatch.setattr(canary, "_PATHS", {"swallowed": lambda _key: None})

    assert canary_survives(logs.redactor, Secret(CANARY)) == ("swallowed",)


def test_other_lines_are_written_while_the_canary_flies(logs: Log) -> None:
    """The tap collects only the lines of the canary."""
    (handler,) = (
        one
        for one in logging.getLogger().handlers
        if isinstance(one, log.handler.LineHandler)
    )

    with handler.tapped() as lines:
        log.get_logger("sidecar.tests").info("event")

    assert lines == []
    assert logs.line["event"] == "event"


@contextmanager
def _no_handlers() -> Iterator[None]:
    """Remove all handlers of the root logger, and restore them."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
