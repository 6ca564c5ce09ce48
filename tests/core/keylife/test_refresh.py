"""One look at a time, and which one will do."""

from sidecar.core.keylife.messages import (
    Describe,
)
from sidecar.core.keylife.refresh import RefreshSchedule


def test_a_look_begins_once() -> None:
    """The second beginning finds it under way."""
    schedule = RefreshSchedule()

    assert schedule.begin() == (Describe(),)
    assert schedule.begin() == ()
    assert schedule.number == 1


def test_who_needs_news_gets_a_look_that_begins_from_now_on() -> None:
    """At once when nobody schedule, else the one after."""
    schedule = RefreshSchedule()
    idle = schedule.request()
    busy = schedule.request()

    assert idle == (1, (Describe(),))
    assert busy == (2, ())
    assert schedule.again


def test_a_look_serves_whoever_needs_it_or_an_earlier_one() -> None:
    """Also when it is due as soon as this one is over."""
    schedule = RefreshSchedule()
    schedule.request()
    now = (schedule.includes(1), schedule.includes(2))
    schedule.request()
    then = schedule.includes(2)
    schedule.end(failed=False)

    assert now == (True, False)
    assert then
    assert not schedule.includes(1)


def test_failures_are_counted_until_one_succeeds() -> None:
    """In a row."""
    schedule = RefreshSchedule()
    counts = []
    for failed in (True, True, False, True):
        schedule.begin()
        schedule.end(failed=failed)
        counts.append(schedule.failures)

    assert counts == [1, 2, 0, 1]
