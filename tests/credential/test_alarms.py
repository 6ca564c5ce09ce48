"""Alarms: one of each name, moved a little by chance."""

import asyncio

from sidecar.core.life_events import Timer
from sidecar.credential.alarms import Alarms
from tests.credential.virtual import live

Rung = list[tuple[Timer, float]]


def alarms(rung: Rung, chance: float = 0.5) -> Alarms:
    """Make alarms that note when they rang."""

    def time() -> float:
        return asyncio.get_running_loop().time()

    return Alarms(lambda timer: rung.append((timer, time())), time, lambda: chance)


def test_an_alarm_rings_once_at_its_time() -> None:
    """And is not set any more."""
    rung: Rung = []

    async def story() -> None:
        clock = alarms(rung)
        clock.arm(Timer.LOOK, 300, 0.1)
        before = clock.left(Timer.LOOK)
        await asyncio.sleep(1000)

        assert before == 300
        assert clock.left(Timer.LOOK) is None

    live(story())

    assert rung == [(Timer.LOOK, 300)]


def test_chance_moves_an_alarm() -> None:
    """By its fraction, either way."""
    rung: Rung = []

    async def story() -> None:
        alarms(rung, 0.0).arm(Timer.LOOK, 300, 0.1)
        alarms(rung, 0.999999).arm(Timer.PROBE, 300, 0.1)
        await asyncio.sleep(1000)

    live(story())

    assert [round(at) for _, at in rung] == [270, 330]


def test_an_alarm_takes_the_place_of_an_earlier_one() -> None:
    """Of the same name."""
    rung: Rung = []

    async def story() -> None:
        clock = alarms(rung)
        clock.arm(Timer.LOOK, 10, 0)
        clock.arm(Timer.PROBE, 20, 0)
        clock.arm(Timer.LOOK, 30, 0)
        await asyncio.sleep(100)

    live(story())

    assert rung == [(Timer.PROBE, 20), (Timer.LOOK, 30)]


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
        clock.arm(Timer.LOOK, 10, 0)
        clock.disarm(Timer.LOOK)
        clock.disarm(Timer.LOOK)
        clock.arm(Timer.PROBE, 10, 0)
        clock.close()
        await asyncio.sleep(100)

    live(story())

    assert rung == []
