"""What is reported: each change once, a failure that goes on once a minute."""

from dataclasses import replace
from itertools import permutations

import pytest
import structlog
from structlog.typing import EventDict

from sidecar.core.keylife.messages import (
    Cutover,
    ProbeDue,
    State,
)
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.credential import reporter as reporter_module
from sidecar.credential.reporter import CredentialReporter
from sidecar.errors import RefreshResult, SourceFailed
from tests.support.simulation import EPOCH, FakeMetrics

KEY = Credential(Secret("key-v1"), b"", 1, "v1", "v1", EPOCH - 100)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.at = 0.0


@pytest.fixture(name="clock")
def _clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture(name="lines")
def _lines(monkeypatch: pytest.MonkeyPatch) -> list[EventDict]:
    """What is logged."""
    lines: list[EventDict] = []

    class Log:
        def bind(self, **_: object) -> "Log":
            return self

        def __getattr__(self, level: str) -> object:
            return lambda event, **fields: lines.append(
                {"event": event, "level": level, **fields}
            )

    monkeypatch.setattr(reporter_module, "_log", Log())
    return lines


@pytest.fixture(name="metrics")
def _metrics() -> FakeMetrics:
    """Numbers."""
    return FakeMetrics()


@pytest.fixture(name="reporter")
def _reporter(
    lines: list[EventDict], clock: Clock, metrics: FakeMetrics
) -> CredentialReporter:
    """A reporter whose lines and numbers are seen."""
    del lines
    return CredentialReporter(
        "flownally", "file", 1, metrics, lambda: EPOCH + clock.at, lambda: clock.at
    )


def test_a_failure_that_goes_on_is_reported_once_a_minute(
    reporter: CredentialReporter, lines: list[EventDict], clock: Clock
) -> None:
    """An hour of failures, one each second."""
    failure = SourceFailed(RefreshResult.DENIED, "AWS denies it", "allow it")
    for second in range(3600):
        clock.at = second
        reporter.refresh_failed(failure, serving=True)

    assert len(lines) == 60
    assert lines[0]["reason"] == "AWS denies it; allow it"
    assert lines[0]["effect"] == "still serving the last good key"


def test_another_failure_is_reported_at_once(
    reporter: CredentialReporter, lines: list[EventDict]
) -> None:
    """And so is the same one after it was over."""
    denied = SourceFailed(RefreshResult.DENIED, "AWS denies it")
    away = SourceFailed(RefreshResult.UNREACHABLE, "AWS cannot be reached")
    reporter.refresh_failed(denied, serving=False)
    reporter.refresh_failed(away, serving=False)
    reporter.refresh_finished(RefreshResult.UNCHANGED)
    reporter.refresh_failed(away, serving=False)

    assert [line["reason"] for line in lines] == [str(denied), str(away), str(away)]
    assert lines[0]["effect"] == "calls get 503"


@pytest.mark.parametrize(("old", "new"), list(permutations(State, 2)))
def test_each_change_of_state_is_reported_once(
    reporter: CredentialReporter,
    lines: list[EventDict],
    metrics: FakeMetrics,
    old: State,
    new: State,
) -> None:
    """With what it means; the first key is reported as such."""
    reporter.state_changed(old, new)

    told = 0 if (old, new) == (State.MISSING, State.FRESH) else 1
    assert len(lines) == told
    assert metrics.states == [new]
    assert (reporter._meaning is None) is (new is State.FRESH)


def test_a_refused_key_is_reported_apart_from_a_rejected_candidate(
    reporter: CredentialReporter, lines: list[EventDict], metrics: FakeMetrics
) -> None:
    """`refused` loses calls, `rejected` does not."""
    reporter.state_changed(State.FRESH, State.REJECTED)
    reporter.state_changed(State.REJECTED, State.REFUSED)
    reporter.state_changed(State.REFUSED, State.FRESH)

    assert [line["event"] for line in lines] == [
        "credential_rejected",
        "credential_refused",
        "credential_fresh",
    ]
    assert metrics.states == ["rejected", "refused", "fresh"]


def test_a_key_that_is_being_proved_is_not_said_to_be_in_use(
    reporter: CredentialReporter, lines: list[EventDict], metrics: FakeMetrics
) -> None:
    """A false all-clear would stand for as long as the probe takes."""
    reporter.state_changed(State.REJECTED, State.FRESH, proving=True)

    assert lines[0]["event"] == "credential_proving"
    assert "newest key is in use" not in lines[0]["meaning"]
    assert metrics.states == ["fresh"]


@pytest.mark.parametrize("cutover", Cutover)
def test_each_cutover_is_counted_and_reported(
    reporter: CredentialReporter,
    lines: list[EventDict],
    metrics: FakeMetrics,
    cutover: Cutover,
) -> None:
    """Only a promotion has a time from the key's making to its use."""
    reporter.cutover(cutover, KEY)

    seconds = 100.0 if cutover is Cutover.PROMOTED else None
    assert metrics.cutovers == [(cutover, seconds)]
    assert lines[0]["fingerprint"] == "v1"
    assert "key-v1" not in str(lines)


def test_a_key_from_the_future_was_made_just_now(
    reporter: CredentialReporter, metrics: FakeMetrics
) -> None:
    """Clocks differ."""
    reporter.cutover(Cutover.PROMOTED, replace(KEY, created=EPOCH + 5))

    assert metrics.cutovers == [("promoted", 0.0)]


def test_a_key_of_last_month_that_comes_back_took_no_month(
    reporter: CredentialReporter, metrics: FakeMetrics
) -> None:
    """AWSCURRENT may be moved back to an older version."""
    new = replace(KEY, created=EPOCH - 10, version_id="v2", generation=2)
    for key in (KEY, new, KEY):
        reporter.current_set(key)
        reporter.cutover(Cutover.PROMOTED, key)

    assert metrics.cutovers == [
        ("promoted", 100.0),
        ("promoted", 10.0),
        ("promoted", None),
    ]


def test_a_key_in_use_is_named_once(
    reporter: CredentialReporter, lines: list[EventDict], metrics: FakeMetrics
) -> None:
    """With its age, and when it should be replaced."""
    reporter.current_set(KEY)
    reporter.current_set(KEY)

    assert metrics.named == [("file", "v1")]
    assert metrics.times["rotate_before"] == EPOCH - 100 + 86400
    assert metrics.times["since"] == EPOCH
    assert [line["event"] for line in lines] == ["credential_ready"]


def test_a_key_without_a_date_has_no_age(
    reporter: CredentialReporter, metrics: FakeMetrics
) -> None:
    """A file does not tell."""
    reporter.current_set(replace(KEY, created=None))
    reporter.cutover(Cutover.PROMOTED, replace(KEY, created=None))

    assert metrics.times["created"] is metrics.times["rotate_before"] is None
    assert metrics.cutovers == [("promoted", None)]
    assert reporter._rotate_before(None) is None


def test_what_broke_is_reported_by_its_type_only(
    reporter: CredentialReporter, lines: list[EventDict]
) -> None:
    """Its text may hold a header."""
    reporter.call_failed("probe", ValueError("Authorization: Bearer key-v1"))

    assert lines[0]["error"] == "builtins.ValueError"
    assert "key-v1" not in str(lines)


def test_a_clock_that_jumped_is_reported(
    reporter: CredentialReporter, lines: list[EventDict]
) -> None:
    """By how much."""
    reporter.clock_jumped(-3600.2)

    assert lines[0]["seconds"] == -3600


def test_lines_go_through_the_standard_library() -> None:
    """So that they pass the redactor."""
    log = reporter_module._log.bind()

    assert isinstance(log, structlog.stdlib.BoundLogger)


def test_an_unexpected_event_is_counted_and_logged_by_its_type(
    reporter: CredentialReporter, lines: list[EventDict], metrics: FakeMetrics
) -> None:
    """The text of the error may hold a key. One line a minute is enough."""
    for _ in range(3):
        reporter.unexpected_event(State.FRESH, ProbeDue(1.0), ValueError("key-v1"))

    assert metrics.unexpected == 3
    assert lines == [
        {
            "event": "credential_unexpected_event",
            "level": "error",
            "state": "fresh",
            "type": "ProbeDue",
            "error": "builtins.ValueError",
        }
    ]
