"""What the access log contains, and what it never contains."""

from typing import Any, Literal

import pytest

from sidecar.core.access.operations import Operation
from sidecar.errors import Code, Refused
from sidecar.metrics.hot import UpstreamStats
from sidecar.proxy.access import AccessLog

KEY = "fln_live_N0tForAnyLogLine42"
READ = Operation("/contacts/{id}", ("contacts:read",))
Level = Literal["off", "errors", "all"]


class RecordingLog:
    """Records the lines: level, event, fields."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        """Return the function that logs at this level."""
        return lambda event, **fields: self.lines.append((level, event, fields))


def access_log(log: RecordingLog, level: Level) -> AccessLog:
    """Return an access log of this level."""
    return AccessLog(log, level, UpstreamStats(("*",)))


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
def test_the_status_decides_the_event(status: int, level: str, event: str) -> None:
    """The line has the operation of the settings, never a path."""
    log = RecordingLog()
    access_log(log, "errors").answered(READ, b"GET", status, 0.0123456789)

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
    """The explanation says which permission is missing."""
    log = RecordingLog()
    access_log(log, "errors").answered(READ, b"GET", 403, 0)

    explanation = log.lines[0][2]["explanation"]
    assert "/contacts/{id}" in explanation
    assert "contacts:read" in explanation


def log_all(access: AccessLog) -> None:
    """Log everything that is logged for a call."""
    refused = Refused(Code.BAD_TARGET, "The target is bad")
    for status in (200, 401, 403, 500):
        access.answered(READ, b"GET", status, 0)
    access.client_disconnected(READ, b"GET", 0)
    access.rejected(refused, "*", b"GET")
    access.cut(Code.UPSTREAM_PROTOCOL, "*", b"GET", 200)


@pytest.mark.parametrize(("level", "lines"), [("off", 0), ("errors", 7), ("all", 7)])
def test_off_is_silent(level: Level, lines: int) -> None:
    """`off` logs no call; the exchange decides whether a success is logged."""
    log = RecordingLog()
    log_all(access_log(log, level))

    assert len(log.lines) == lines


def test_keys_in_wrong_places_and_bugs_are_logged_even_when_off() -> None:
    """They are not about a call, but about a leak or a bug in the sidecar."""
    log = RecordingLog()
    access = access_log(log, "off")
    access.redacted(2, "*")
    access.tripwire("*", b"GET")
    access.internal_error(ValueError(KEY))

    assert [event for _, event, _ in log.lines] == [
        "key_reflected",
        "tripwire",
        "internal_error",
    ]
    assert log.lines[0][2]["hits"] == 2


def test_a_bug_is_logged_with_its_place_and_never_with_its_message() -> None:
    """The message of an exception may contain a header, and so the key."""
    log = RecordingLog()
    with pytest.raises(ValueError, match=KEY) as caught:
        int(KEY)
    access_log(log, "errors").internal_error(caught.value)

    ((level, _, fields),) = log.lines
    assert level == "error"
    assert fields["type"] == "ValueError"
    assert fields["where"][-1].startswith("test_access.py:")
    assert KEY not in str(fields)


def test_the_method_of_a_request_is_cut_and_cleaned() -> None:
    """It is the only text of a client in the log."""
    log = RecordingLog()
    refused = Refused(Code.METHOD_REFUSED, "no")
    access_log(log, "errors").rejected(refused, "*", b"\xff" + b"M" * 100)

    assert log.lines[0][2]["method"] == "�" + "M" * 15


def test_a_disconnect_by_the_sidecar_is_not_logged() -> None:
    """At the end of the drain the sidecar disconnects the clients itself."""
    log = RecordingLog()
    access = access_log(log, "all")
    access.disconnecting = True
    access.client_disconnected(READ, b"GET", 1.0)

    assert log.lines == []
