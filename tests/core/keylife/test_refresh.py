"""One look at a time, and which one will do."""

from sidecar.core.keylife.commands import Describe
from sidecar.core.keylife.refresh import RefreshSchedule


def test_a_look_begins_once() -> None:
    """The second beginning finds it under way."""
    looks = RefreshSchedule()

    assert looks.begin() == (Describe(),)
    assert looks.begin() == ()
    assert looks.number == 1


def test_who_needs_news_gets_a_look_that_begins_from_now_on() -> None:
    """At once when nobody looks, else the one after."""
    looks = RefreshSchedule()
    idle = looks.want()
    busy = looks.want()

    assert idle == (1, (Describe(),))
    assert busy == (2, ())
    assert looks.again


def test_a_look_serves_whoever_needs_it_or_an_earlier_one() -> None:
    """Also when it is due as soon as this one is over."""
    looks = RefreshSchedule()
    looks.want()
    now = (looks.serves(1), looks.serves(2))
    looks.want()
    then = looks.serves(2)
    looks.end(failed=False)

    assert now == (True, False)
    assert then
    assert not looks.serves(1)


def test_failures_are_counted_until_one_succeeds() -> None:
    """In a row."""
    looks = RefreshSchedule()
    counts = []
    for failed in (True, True, False, True):
        looks.begin()
        looks.end(failed=failed)
        counts.append(looks.failures)

    assert counts == [1, 2, 0, 1]
