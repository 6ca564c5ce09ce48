"""One refresh at a time, and which one counts."""

from sidecar.core.keylife.messages import (
    Describe,
)
from sidecar.core.keylife.refresh import RefreshSchedule


def test_a_refresh_begins_once() -> None:
    """The second beginning finds it under way."""
    schedule = RefreshSchedule()

    assert schedule.begin() == (Describe(),)
    assert schedule.begin() == ()
    assert schedule.number == 1


def test_a_requested_refresh_begins_after_the_request() -> None:
    """At once when no refresh is under way, otherwise the next one."""
    schedule = RefreshSchedule()
    idle = schedule.request()
    busy = schedule.request()

    assert idle == (1, (Describe(),))
    assert busy == (2, ())
    assert schedule.again


def test_a_refresh_includes_every_earlier_number() -> None:
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
