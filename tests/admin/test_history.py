"""The last hour: differences between samples, bounded, each kept once."""

import json

import pytest
from hypothesis import given, strategies as st

from sidecar.admin.history import (
    CLASSES,
    MAX_EVENTS,
    MINUTES,
    History,
    HistoryEvent,
    Sample,
)

NOON = 1_800_000_000.0 - 1_800_000_000.0 % 60
CODES = ("bad_target", "tripwire", "upstream_busy")


def answers(good: int = 0, unproven: int = 0) -> Sample:
    """Return a sample that holds responses only."""
    return Sample(answers={"2xx": good, "401": unproven, "403": 0, "other": 0})


def test_what_grew_between_two_samples_belongs_to_the_minute() -> None:
    """The history keeps the differences of totals."""
    history = History()
    history.take(NOON, answers(10))
    history.take(NOON + 30, answers(15, 2))
    history.take(NOON + 61, answers(16, 2))

    minutes = history.minutes(NOON + 70)

    assert len(minutes) == MINUTES
    assert minutes[-2] == {"2xx": 15, "401": 2, "403": 0, "other": 0}
    assert minutes[-1] == {"2xx": 1, "401": 0, "403": 0, "other": 0}
    assert sum(minute["2xx"] for minute in minutes) == 16


def test_an_hour_later_it_is_forgotten() -> None:
    """The history holds the last sixty minutes."""
    history = History()
    history.take(NOON, answers(10))

    assert history.minutes(NOON + 59 * 60)[0]["2xx"] == 10
    assert all(minute["2xx"] == 0 for minute in history.minutes(NOON + 60 * 60))


def test_a_clock_set_back_adds_to_the_newest_minute() -> None:
    """No response is lost and no minute comes twice."""
    history = History()
    history.take(NOON, answers(1))
    history.take(NOON - 600, answers(3))

    assert history.minutes(NOON - 600)[-1]["2xx"] == 3


def test_a_total_that_fell_counts_as_begun_anew() -> None:
    """No minute is negative."""
    history = History()
    history.take(NOON, answers(10))
    history.take(NOON + 60, answers(4))

    assert history.minutes(NOON + 60)[-1]["2xx"] == 4


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        pytest.param(
            Sample(state="fresh", fingerprint="aaaa"),
            Sample(state="fresh", fingerprint="bbbb"),
            HistoryEvent(NOON, "key", "bbbb", "aaaa"),
            id="rotation",
        ),
        pytest.param(
            Sample(state="fresh"),
            Sample(state="stale"),
            HistoryEvent(NOON, "state", "stale", "fresh"),
            id="state",
        ),
        pytest.param(
            Sample(state="fresh"),
            Sample(state="fresh", rejected="cccc"),
            HistoryEvent(NOON, "rejected", "cccc"),
            id="new-key-rejected",
        ),
        pytest.param(
            Sample(recovered={"replay": 1}),
            Sample(recovered={"replay": 8}),
            HistoryEvent(NOON, "recovered", "replay", count=7),
            id="recovered",
        ),
        pytest.param(
            Sample(),
            Sample(refused={"bad_target": 2}),
            HistoryEvent(NOON, "refused", "bad_target", count=2),
            id="refused",
        ),
    ],
)
def test_a_difference_is_one_event(
    before: Sample, after: Sample, event: HistoryEvent
) -> None:
    """No event follows while nothing changes."""
    history = History()
    history.take(NOON - 60, before)
    history.take(NOON, after)
    history.take(NOON + 60, after)

    assert history.events()[0] == event


def test_a_flood_within_a_minute_is_one_event() -> None:
    """The count grows, not the list."""
    history = History()
    for number in range(1, 50):
        history.take(NOON + number, Sample(refused={"bad_target": number}))

    assert history.events() == (
        HistoryEvent(NOON + 49, "refused", "bad_target", count=49),
    )


def test_a_state_that_comes_back_within_a_minute_is_a_new_event() -> None:
    """A rollback and its end are two events, however fast."""
    history = History()
    for second, state in enumerate(("fresh", "rolled_back", "fresh")):
        history.take(NOON + second, Sample(state=state))

    assert [event.detail for event in history.events()] == [
        "fresh",
        "rolled_back",
        "fresh",
    ]


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=-7200, max_value=7200),
            st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 10**6)),
            st.dictionaries(st.sampled_from(CODES), st.integers(0, 100)),
        ),
        max_size=200,
    )
)
def test_any_samples_leave_it_bounded_and_never_negative(
    samples: list[tuple[float, dict[str, int], dict[str, int]]],
) -> None:
    """Sixty minutes, fifty events, no negative count."""
    history = History()
    for offset, totals, refused in samples:
        history.take(NOON + offset, Sample(answers=totals, refused=refused))

    minutes = history.minutes(NOON)
    assert len(minutes) == MINUTES
    assert len(history.events()) <= MAX_EVENTS
    assert all(count >= 0 for minute in minutes for count in minute.values())
    assert all(event.count > 0 for event in history.events())


@given(st.lists(st.integers(0, 50), min_size=1, max_size=55))
def test_no_answer_is_lost_or_counted_twice(growth: list[int]) -> None:
    """The sum over the hour is the total."""
    history = History()
    total = 0
    for minute, more in enumerate(growth):
        total += more
        history.take(NOON + minute * 60, answers(total))

    minutes = history.minutes(NOON + (len(growth) - 1) * 60)
    assert sum(minute["2xx"] for minute in minutes) == total


def test_the_document_is_ready_for_json() -> None:
    """It holds sixty numbers per class, and the events."""
    history = History()
    history.take(NOON, Sample(answers={"2xx": 3}, state="fresh"))

    document = json.loads(json.dumps(history.as_document(NOON)))

    assert document["minutes"]["2xx"] == [0] * 59 + [3]
    assert document["minutes"]["401"] == [0] * 60
    assert document["events"] == [
        {"at": NOON, "kind": "state", "detail": "fresh", "before": "", "count": 1}
    ]
