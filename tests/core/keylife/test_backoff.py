"""When to try again: bounds that hold whatever the numbers."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.keylife.backoff import CircuitBreaker, TokenBucket, backoff, spread

SECONDS = st.floats(0.001, 1e6)
CHANCE = st.floats(0, 1, exclude_max=True)


@given(SECONDS, st.floats(0, 1), CHANCE)
def test_chance_moves_a_timer_by_its_part_only(
    seconds: float, fraction: float, chance: float
) -> None:
    """Either way, never further."""
    moved = spread(seconds, fraction, chance)

    assert moved == pytest.approx(seconds, rel=fraction + 1e-9)


@pytest.mark.parametrize(
    ("chance", "seconds"), [(0.0, 270.0), (0.5, 300.0), (0.75, 315.0)]
)
def test_a_tenth_of_five_minutes_is_half_a_minute(
    chance: float, seconds: float
) -> None:
    """Chance of a half moves nothing."""
    assert spread(300, 0.1, chance) == pytest.approx(seconds)


@given(st.integers(0, 10**9), st.floats(0.1, 10), st.floats(10, 1000))
def test_backoff_grows_up_to_its_limit(attempt: int, first: float, last: float) -> None:
    """However often it was tried."""
    seconds = backoff(attempt, first, last)

    assert first <= seconds <= last
    assert seconds <= backoff(attempt + 1, first, last)


def test_backoff_doubles() -> None:
    """From the first."""
    assert [backoff(n, 0.5, 30) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_circuit_breaker_is_open_until_its_time() -> None:
    """And not at that moment any more."""
    breaker = CircuitBreaker()
    closed = breaker.is_open(0)
    breaker.open(0)

    assert not closed
    assert breaker.is_open(4.9)
    assert not breaker.is_open(5)


def test_a_circuit_breaker_that_was_quiet_begins_anew() -> None:
    """Trouble that was over for as long as it lasted is new trouble."""
    breaker = CircuitBreaker()
    breaker.open(0)
    breaker.open(5)
    second = breaker.interval
    breaker.open(15 + 10.1)

    assert second == 10
    assert breaker.interval == 5


def test_a_circuit_breaker_forgets_when_there_is_another_key() -> None:
    """Its trouble is not this key's."""
    breaker = CircuitBreaker()
    breaker.open(0)
    breaker.open(5)
    breaker.reset()
    still_open = breaker.is_open(6)
    breaker.open(6)

    assert not still_open
    assert breaker.interval == 5


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=60))
def test_a_circuit_breaker_never_opens_for_less_than_its_first_or_more_than_its_last(
    waits: list[float],
) -> None:
    """5 s to 5 min, whenever 401s come."""
    breaker, at = CircuitBreaker(), 0.0
    for wait in waits:
        at += wait
        breaker.open(at)

        assert 5 <= breaker.interval <= 300


@given(st.lists(st.floats(0, 60), max_size=200))
def test_an_allowance_bounds_what_is_taken(waits: list[float]) -> None:
    """Its size at once, and one for each time to gain."""
    allowance, at, taken = TokenBucket(8, 30.0), 0.0, 0
    for wait in waits:
        at += wait
        taken += allowance.take(at)

    assert taken <= 8 + at / 30 + 1e-6


def test_an_allowance_that_is_restored_can_be_taken_again() -> None:
    """Another key: what the last one cost is forgotten."""
    allowance = TokenBucket(1, 30.0)
    took = [allowance.take(0), allowance.take(0)]
    allowance.restore()

    assert took == [True, False]
    assert allowance.take(0)


def test_restoring_a_full_allowance_gains_nothing() -> None:
    """The bucket has its size."""
    allowance = TokenBucket(1, 30.0)
    allowance.restore()

    assert [allowance.take(0), allowance.take(0)] == [True, False]
