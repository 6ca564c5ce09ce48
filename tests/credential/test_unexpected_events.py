"""An event that the rules do not expect costs no call that a working key could serve."""

import asyncio
from collections.abc import Sequence
from types import MappingProxyType

import pytest

from sidecar.core.keylife import machine
from sidecar.core.keylife.commands import Command
from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import (
    Described,
    Event,
    Probed,
    RefreshDue,
    State,
    Unauthorized,
)
from tests.support.simulation import EPOCH, World
from tests.support.virtual_clock import live

KINDS = (RefreshDue, Described, Probed, Unauthorized)


def test_a_cell_that_is_missing_from_the_table_costs_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sidecar logs and counts the event, and serves on."""
    cells = {
        pair: after
        for pair, after in machine.TRANSITIONS.items()
        if pair != (State.FRESH, RefreshDue)
    }
    monkeypatch.setattr(machine, "TRANSITIONS", MappingProxyType(cells))
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running() as task:
            await world.keeper.wait(5)
            await asyncio.sleep(1000)

            assert not task.done()
            assert world.metrics.unexpected >= 2
            assert await world.burst(8) == {200: 8}
            world.issue("v2", EPOCH + 1)
            await asyncio.sleep(1000)
            assert world.current == "key-v2"

    live(story())


@pytest.mark.parametrize("probing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_ours_in_the_machine_costs_no_call(
    monkeypatch: pytest.MonkeyPatch, kind: type[Event], probing: bool
) -> None:
    """One exception for each kind of event; rotations go on after it."""
    world = World(probing=probing)
    world.issue("v1")
    handle, failed = Lifecycle.handle, set[type[Event]]()

    def broken(life: Lifecycle, event: Event) -> Sequence[Command]:
        first = isinstance(event, kind) and kind not in failed
        if first and life.state is not State.MISSING:
            failed.add(kind)
            message = "a case that was forgotten"
            raise KeyError(message)
        return handle(life, event)

    monkeypatch.setattr(Lifecycle, "handle", broken)

    async def story() -> None:
        async with world.running() as task:
            await world.keeper.wait(5)
            for number in range(2, 6):
                world.issue(f"v{number}", EPOCH + number)
                if number % 2:
                    world.revoke(f"v{number - 1}")
                await world.burst(4)
                await asyncio.sleep(700)
                assert await world.burst(8) == {200: 8}
            assert world.current == "key-v5"
            assert not task.done()
            assert failed == {kind} or (kind is Probed and not probing)
            assert world.metrics.unexpected == len(failed)

    live(story())
