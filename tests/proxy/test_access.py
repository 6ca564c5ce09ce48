"""What the hot path writes to the log, and what it never writes."""

from typing import Any, Literal

import pytest

from sidecar.core.access.operations import Operation
from sidecar.errors import Code, Refused
from sidecar.proxy.access import AccessLog

KEY = "fln_live_N0tForAnyLogLine42"
READ = Operation("/contacts/{id}", ("contacts:read",))
Level = Literal["off", "errors", "all"]


class Log:
    """Keeps the lines: level, event, fields."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        """Return the function that writes at this level."""
        return lambda event, **fields: self.lines.append((level, event, fields))


@pytest.mark.parametrize(
    ("status", "level", "event"),
    [
        (200, "info", "call"),
        (404, "info", "call"),
        (401, "warning", "api_unauthorized"),
        (403, "warning", "api_forbidden"),
        (500, "warning", "api_error"),
        (503, "warning", "api_error"),
    ],
)
def test_an_answer_is_told_by_what_it_means(
    status: int, level: str, event: str
) -> None:
    """With the operation as the settings call it, never with a path."""
    log = Log()
    AccessLog(log, "errors").answer(READ, b"GET", status, 0.0123456789)

    ((seen_level, seen_event, fields),) = log.lines
    assert (seen_level, seen_event) == (level, event)
    assert fields.pop("explanation", None) or status not in {401, 403}
    assert fields == {
        "method": "GET",
        "operation": "/contacts/{id}",
        "status": status,
        "seconds": 0.012346,
    }


def test_a_403_names_the_operation_and_its_scopes() -> None:
    """So that whoever reads it knows what to ask for."""
    log = Log()
    AccessLog(log, "errors").answer(READ, b"GET", 403, 0)

    explanation = log.lines[0][2]["explanation"]
    assert "/contacts/{id}" in explanation
    assert "contacts:read" in explanation


def tell_all(access: AccessLog) -> None:
    """Let everything happen that is told per call."""
    refused = Refused(Code.BAD_TARGET, "The target is bad.")
    for status in (200, 401, 403, 500):
        access.answer(READ, b"GET", status, 0)
    access.gone(READ, b"GET", 0)
    access.rejected(refused, "*", b"GET")
    access.cut(Code.UPSTREAM_PROTOCOL, "*", b"GET", 200)


@pytest.mark.parametrize(("level", "lines"), [("off", 0), ("errors", 7), ("all", 7)])
def test_off_is_silent(level: Level, lines: int) -> None:
    """About calls: whether one that went well is told at all is decided before."""
    log = Log()
    tell_all(AccessLog(log, level))

    assert len(log.lines) == lines


def test_keys_in_wrong_places_and_bugs_are_told_even_when_off() -> None:
    """They are no news about a call, but about us or about a leak."""
    log = Log()
    access = AccessLog(log, "off")
    access.redacted(2, "*")
    access.tripwire("*", b"GET")
    access.bug(ValueError(KEY))

    assert [event for _, event, _ in log.lines] == [
        "key_reflected",
        "tripwire",
        "internal_error",
    ]
    assert log.lines[0][2]["hits"] == 2


def test_a_bug_is_told_by_its_place_and_never_by_its_text() -> None:
    """The text of an exception may hold a header, and so the key."""
    log = Log()
    with pytest.raises(ValueError, match=KEY) as caught:
        int(KEY)
    AccessLog(log, "errors").bug(caught.value)

    ((level, _, fields),) = log.lines
    assert level == "error"
    assert fields["type"] == "ValueError"
    assert fields["where"][-1].startswith("test_access.py:")
    assert KEY not in str(fields)


def test_a_method_of_the_service_is_cut_and_cleaned() -> None:
    """It is the one text of the service's that is told."""
    log = Log()
    refused = Refused(Code.METHOD_REFUSED, "no")
    AccessLog(log, "errors").rejected(refused, "*", b"\xff" + b"M" * 100)

    assert log.lines[0][2]["method"] == "�" + "M" * 15
