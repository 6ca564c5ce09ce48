"""The fleet: what the simulated world does, and what the real rules make of it."""

import random
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, strategies as st

from benchmarks.simulation.scenarios import (
    DAY,
    ONE_DAY,
    STORIES,
    Figures,
    Happens,
    Scenario,
    monthly_cost,
    simulate,
)
from benchmarks.simulation.world import Bucket, Clock, World

PODS = 200
EMERGENCY = Scenario("emergency", Happens.EMERGENCY, pods=PODS, rate=2.0)


def of_story(name: str) -> Scenario:
    """Find a story, with few pods and a quota that is small in proportion."""
    story = next(story for story in STORIES if story.name == name)
    return replace(story, pods=PODS, quota=story.quota * PODS / story.pods)


def test_time_is_in_order_and_stands_still_between() -> None:
    """What is due at once happens in the order in which it was asked for."""
    clock = Clock()
    seen: list[tuple[float, str]] = []

    def see(name: str) -> None:
        seen.append((clock.now, name))

    for seconds, name in ((3.0, "late"), (1.0, "b"), (1.0, "c"), (-5.0, "a")):
        clock.later(seconds, partial(see, name))

    clock.run(2.0)
    assert seen == [(0.0, "a"), (1.0, "b"), (1.0, "c")]
    assert clock.now == 2.0

    clock.run(3.0)
    assert seen[-1] == (3.0, "late")


@given(
    st.floats(1, 1000),
    st.lists(st.floats(0, 2), min_size=1, max_size=300),
)
def test_a_quota_is_never_exceeded(rate: float, pauses: list[float]) -> None:
    """What is granted in any run of time is its length by the rate, and a little."""
    bucket, at, granted = Bucket(rate), 0.0, 0
    for pause in pauses:
        at += pause
        granted += bucket.take(at)

    assert granted <= at * rate + bucket.most + 1e-6


def test_secrets_manager_refuses_what_is_beyond_its_quota() -> None:
    """And counts it."""
    world = World(Clock(), random.Random(1), quota=10)

    granted = [world.admits("DescribeSecret") for _ in range(5)]

    assert granted == [True] + [False] * 4
    assert world.throttled == 4
    assert world.asked == {("DescribeSecret", 0): 5}


def test_a_revoked_key_is_refused_and_the_newest_accepted() -> None:
    """The world is as the rules expect it."""
    world = World(Clock(), random.Random(1))
    world.store()
    old, new = world.previous, world.current
    assert old is not None
    assert world.accepts(old)

    world.revoke()

    assert not world.accepts(old)
    assert world.accepts(new)


@pytest.mark.parametrize("story", [story.name for story in STORIES])
def test_no_story_costs_a_call(story: str) -> None:
    """Promise 2, for a fleet, with the quota at its size."""
    figures = simulate(of_story(story))

    assert figures.failed == 0
    assert figures.pods == PODS
    assert figures.all_moved is not None
    assert figures.half_moved is not None
    assert 0 <= figures.half_moved <= figures.all_moved


def test_the_same_seed_gives_the_same_figures() -> None:
    """A table can be made again."""
    one, again = simulate(EMERGENCY), simulate(EMERGENCY)
    other = simulate(replace(EMERGENCY, seed=2))

    assert one == again
    assert one != other


def test_an_emergency_is_met_and_absorbed() -> None:
    """There were 401s: the story is not empty."""
    figures = simulate(EMERGENCY)

    assert figures.absorbed >= PODS
    assert figures.slowest < 10
    assert sum(calls for _, calls in figures.timeline) > PODS


def test_a_planned_rotation_draws_no_401_and_takes_one_round_of_looks() -> None:
    """Within refresh_seconds and its jitter, all are on the new key."""
    figures = simulate(of_story("planned rotation"))

    assert figures.absorbed == 0
    assert figures.throttled == 0
    assert figures.all_moved is not None
    assert figures.all_moved < 300 * 1.1 + 5


def test_a_failure_would_show() -> None:
    """With a key revoked and no other, the services see the API's own 401s."""
    figures = simulate(replace(EMERGENCY, happens=Happens.REVOKED, pods=3, lasts=760.0))

    assert figures.failed > 100
    assert figures.absorbed == 0
    assert figures.all_moved is None


def test_a_quota_that_is_far_too_small_costs_calls() -> None:
    """The quota binds; the figures do not flatter."""
    figures = simulate(replace(EMERGENCY, quota=PODS * 0.2))

    assert figures.throttled > 0
    assert figures.failed > 0


@pytest.mark.parametrize("story", ONE_DAY[:3], ids=lambda story: story.name)
def test_a_day_of_a_sidecar_is_within_its_budget(story: Scenario) -> None:
    """At most 300 calls to Secrets Manager, a rotation of either kind included."""
    figures = simulate(replace(story, pods=5))

    assert story.lasts == DAY
    assert 280 <= figures.per_pod_day <= figures.most_pod_day <= 300


def test_the_price_of_a_month() -> None:
    """USD 0.05 per 10,000 calls."""
    assert monthly_cost(10_000, 300) == pytest.approx(450)


def test_figures_are_json() -> None:
    """A row has what the tables ask for."""
    row = Figures("name", 1).row()

    assert row["scenario"] == "name"
    assert row["timeline"] == []
