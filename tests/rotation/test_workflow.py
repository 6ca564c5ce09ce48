"""
A rotation against a secret and an API in memory: killed everywhere, raced everywhere.

What must hold at the end, whatever happened on the way: AWSCURRENT works, its key is
the only live one, nothing is pending; and at no moment neither AWSCURRENT nor
AWSPREVIOUS worked.
"""

import contextlib
import itertools
import json

import pytest

from sidecar.core.rotation.facts import RotationRequest, RotationStopped
from sidecar.core.rotation.refusals import LOST
from sidecar.errors import Exit
from tests.support.rotation_fakes import (
    ACCOUNT,
    FIRST,
    GRACE_SECONDS,
    OPTIONS,
    Killed,
    World,
)
from tests.support.rotation_faults import CHANGES, check_tidy, interrupt, kill_at, peace


def calls_of_a_rotation() -> int:
    """Count the calls of one that goes well."""
    world = World.ready()
    world.workflow().run(RotationRequest())
    return len(world.calls)


def test_a_rotation_replaces_the_key_and_keeps_the_shape() -> None:
    """What else was in the value stays; what describes the key is new."""
    world = World.ready()

    outcome = world.workflow().run(RotationRequest())

    check_tidy(world)
    current = world.versions[world.labels["AWSCURRENT"]]
    assert current is not None
    assert json.loads(current.raw.reveal()) == {
        "api_key": "fln_live_1",
        "region": "eu",
        "key_id": "k1",
        "service_account_id": ACCOUNT,
        "created_at": "2026-01-01T00:00:00Z",
    }
    assert world.labels["AWSPREVIOUS"] == FIRST
    assert outcome.fingerprint == world.labels["AWSCURRENT"][:8]
    assert world.tags == OPTIONS.tags


def test_the_old_key_works_until_the_grace_is_over() -> None:
    """Sidecars look every few minutes; until then they need it."""
    world = World.ready()
    seen: list[tuple[str, float]] = []

    def hook(name: str, when: str) -> None:
        del when
        seen.append((name, world.time.slept))

    world.hook = hook

    world.workflow().run(RotationRequest())

    assert dict(seen)["revoke"] >= GRACE_SECONDS


def test_no_plaintext_is_said() -> None:
    """Neither the old key nor the new one."""
    world = World.ready()

    world.workflow().run(RotationRequest())

    assert world.said
    assert "fln_live" not in " ".join(world.said)


def test_rotations_follow_one_another() -> None:
    """Each finds the last one finished and makes one key."""
    world = World.ready()
    for _ in range(5):
        world.workflow().run(RotationRequest())

        check_tidy(world)

    assert len(world.keys) == 6


@pytest.mark.parametrize("lists_dead", [True, False], ids=["lists-dead", "live-only"])
def test_a_rotation_killed_at_any_call_is_finished_by_the_next(
    lists_dead: bool,
) -> None:
    """Before a call and after it: the process never learns how it ended."""
    for number in range(1, calls_of_a_rotation() + 1):
        for when in ("before", "after"):
            world = World.ready()
            world.lists_dead = lists_dead
            kill_at(world, number, when)
            with pytest.raises(Killed):
                world.workflow().run(RotationRequest())
            peace(world)

            world.workflow().run(RotationRequest())

            check_tidy(world)


def test_a_rotation_killed_twice_is_finished_by_the_third() -> None:
    """Also while it clears away what the first one left; a look changes nothing."""
    for first, second in itertools.product(range(1, 7), range(1, 10)):
        world = World.ready()
        for number in (first, second):
            kill_at(world, number, "after", CHANGES)
            with contextlib.suppress(Killed):
                world.workflow().run(RotationRequest())
            peace(world)

        world.workflow().run(RotationRequest(begin=False))

        check_tidy(world)


@pytest.mark.parametrize(
    "order", [RotationRequest(), RotationRequest(again=True)], ids=["rotate", "leaked"]
)
def test_two_runs_at_once_leave_one_key(order: RotationRequest) -> None:
    """A second run comes between any two calls of the first."""
    for number in range(1, calls_of_a_rotation() + 1):
        world = World.ready()
        ends: list[str] = []

        def other(world: World, ends: list[str] = ends) -> None:
            ends.append(end_of(world, order))

        interrupt(world, number, other)

        ends.append(end_of(world, RotationRequest()))
        peace(world)
        world.workflow().run(RotationRequest(begin=False))

        assert "fine" in ends, number
        assert set(ends) <= {"fine", LOST.reason}, number
        check_tidy(world)


def end_of(world: World, order: RotationRequest) -> str:
    """Run, and tell how it ended."""
    try:
        world.workflow().run(order)
    except RotationStopped as exc:
        return exc.reason
    return "fine"


def test_the_run_that_cannot_store_revokes_its_key_and_says_so() -> None:
    """Two runs have made a key each; Secrets Manager takes one."""
    world = World.ready()

    def other(name: str, when: str) -> None:
        if (name, when) == ("create", "before"):
            peace(world)
            world.workflow().run(RotationRequest())

    world.hook = other

    with pytest.raises(RotationStopped, match="another run stored its key") as stopped:
        world.workflow().run(RotationRequest())

    assert stopped.value.exit is Exit.CREDENTIAL
    check_tidy(world)
