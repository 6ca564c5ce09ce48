"""Timers: one of each name, moved a little by chance."""

import asyncio

from sidecar.core.keylife.messages import Timer
from sidecar.credential.timers import Timers
from tests.support.virtual_clock import live

Rung = list[tuple[Timer, float]]


def alarms(rung: Rung, chance: float = 0.5) -> Timers:
    """Make alarms that note when they rang."""

    def time() -> float:
        return asyncio.get_running_loop().time()

    return Timers(lambda timer: rung.append((timer, time())), time, lambda: chance)


def test_an_alarm_rings_once_at_its_time() -> None:
    """And is not set any more."""
    rung: Rung = []

    async def story() -> None:
        clock = alarms(rung)
        clock.arm(Timer.REFRESH, 300, 0.1)
        before = clock.left(Timer.REFRESH)
        await asyncio.sleep(1000)

        assert before == 300
        assert clock.left(Timer.REFRESH) is None

    live(story())

    assert rung == [(Timer.REFRESH, 300)]


def test_chance_moves_an_alarm() -> None:
    """By its fraction, either way."""
    rung: Rung = []

    async def story() -> None:
        alarms(rung, 0.0).arm(Timer.REFRESH, 300, 0.1)
        alarms(rung, 0.999999).arm(Timer.PROBE, 300, 0.1)
        await asyncio.sleep(1000)

    live(story())

    assert [round(at) for _, at in rung] == [270, 330]


def test_an_alarm_takes_the_place_of_an_earlier_one() -> None:
    """Of the same name."""
    rung: Rung = []

    async def story() -> None:
        clock = alarms(rung)
        clock.arm(Timer.REFRESH, 10, 0)
        clock.arm(Timer.PROBE, 20, 0)
        clock.arm(Timer.REFRESH, 30, 0)
        await asyncio.sleep(100)

    live(story())

    assert rung == [(Timer.PROBE, 20), (Timer.REFRESH, 30)]


def test_an_alarm_for_now_rings_in_a_later_turn() -> None:
    """Else a machine that asks for it again would hold up the loop."""
    rung: Rung = []

    async def story() -> None:
        clock = alarms(rung)
        clock.arm(Timer.LIMIT, 0, 0)
        at_once = list(rung)
        await asyncio.sleep(1)

        assert at_once == []

    live(story())

    assert len(rung) == 1


def test_dropped_alarms_do_not_ring() -> None:
    """One, or all of them."""
    rung: Rung = []

    async def story() -> None:
        clock = alarms(rung)
        clock.arm(Timer.REFRESH, 10, 0)
        clock.disarm(Timer.REFRESH)
        clock.disarm(Timer.REFRESH)
        clock.arm(Timer.PROBE, 10, 0)
        clock.close()
        await asyncio.sleep(100)

    live(story())

    assert rung == []
