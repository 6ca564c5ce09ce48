"""Timers: one of each name, moved a little by chance."""

import asyncio

from sidecar.core.keylife.messages import (
    Timer,
)
from sidecar.credential.timers import Timers
from tests.support.virtual_clock import live

Fired = list[tuple[Timer, float]]


def timers(fired: Fired, chance: float = 0.5) -> Timers:
    """Make timers that note when they fired."""

    def time() -> float:
        return asyncio.get_running_loop().time()

    return Timers(lambda timer: fired.append((timer, time())), time, lambda: chance)


def test_a_timer_fires_once_at_its_time() -> None:
    """And is not set any more."""
    fired: Fired = []

    async def story() -> None:
        running = timers(fired)
        running.start(Timer.REFRESH, 300, 0.1)
        before = running.left(Timer.REFRESH)
        await asyncio.sleep(1000)

        assert before == 300
        assert running.left(Timer.REFRESH) is None

    live(story())

    assert fired == [(Timer.REFRESH, 300)]


def test_chance_moves_a_timer() -> None:
    """By its fraction, either way."""
    fired: Fired = []

    async def story() -> None:
        timers(fired, 0.0).start(Timer.REFRESH, 300, 0.1)
        timers(fired, 0.999999).start(Timer.PROBE, 300, 0.1)
        await asyncio.sleep(1000)

    live(story())

    assert [round(at) for _, at in fired] == [270, 330]


def test_a_timer_takes_the_place_of_an_earlier_one() -> None:
    """Of the same name."""
    fired: Fired = []

    async def story() -> None:
        running = timers(fired)
        running.start(Timer.REFRESH, 10, 0)
        running.start(Timer.PROBE, 20, 0)
        running.start(Timer.REFRESH, 30, 0)
        await asyncio.sleep(100)

    live(story())

    assert fired == [(Timer.PROBE, 20), (Timer.REFRESH, 30)]


def test_a_timer_for_now_fires_in_a_later_turn() -> None:
    """Else a machine that asks for it again would hold up the loop."""
    fired: Fired = []

    async def story() -> None:
        running = timers(fired)
        running.start(Timer.LIMIT, 0, 0)
        at_once = list(fired)
        await asyncio.sleep(1)

        assert at_once == []

    live(story())

    assert len(fired) == 1


def test_dropped_timers_do_not_ring() -> None:
    """One, or all of them."""
    fired: Fired = []

    async def story() -> None:
        running = timers(fired)
        running.start(Timer.REFRESH, 10, 0)
        running.cancel(Timer.REFRESH)
        running.cancel(Timer.REFRESH)
        running.start(Timer.PROBE, 10, 0)
        running.close()
        await asyncio.sleep(100)

    live(story())

    assert fired == []
