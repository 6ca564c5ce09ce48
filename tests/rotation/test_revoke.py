"""Keys revoked by hand."""

import contextlib

import pytest

from sidecar.core.rotation_facts import Order, Proof, RotationStopped
from sidecar.errors import Exit
from sidecar.rotation.revoke import Wish, revoke
from tests.rotation.fakes import FIRST, Killed, World
from tests.rotation.trouble import CHANGES, check_tidy, kill_at, peace


def test_a_key_that_nobody_uses_is_revoked() -> None:
    """Decommissioned, or left over."""
    world = World.ready()
    world.keys["k9"] = ("by-hand", "fln_live_nine", True)

    revoke(world.parts(), Wish("k9"))

    assert world.live() == ["k0"]
    assert world.said == ["revoked key k9"]


@pytest.mark.parametrize("label", ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"])
def test_a_key_in_use_is_not_revoked_by_mistake(label: str) -> None:
    """Sidecars may be on the previous one, too, having rolled back."""
    world = World.ready()
    world.labels[label] = FIRST

    with pytest.raises(RotationStopped, match=rf"in use \(.*{label}") as caught:
        revoke(world.parts(), Wish("k0"))

    assert caught.value.exit is Exit.CREDENTIAL
    assert "--emergency --replace" in caught.value.remedy
    assert world.live() == ["k0"]


def test_in_an_emergency_the_key_in_use_is_revoked_and_the_outcome_told() -> None:
    """Nothing takes its place."""
    world = World.ready()

    revoke(world.parts(), Wish(emergency=True))

    assert world.live() == []
    assert "every call gets the API's 401" in world.said[0]


def test_sidecars_are_said_to_roll_back_where_they_can() -> None:
    """The key before still works."""
    world = World.ready()
    world.hook = stop_before_revoking
    with pytest.raises(Killed):
        world.workflow().run(Order())
    peace(world)

    revoke(world.parts(), Wish(emergency=True))

    assert "roll back to AWSPREVIOUS (key k0)" in " ".join(world.said)
    assert world.live() == ["k0"]


def stop_before_revoking(name: str, when: str) -> None:
    """Kill a rotation in its grace."""
    del when
    if name == "revoke":
        raise Killed


def test_a_leaked_key_is_replaced_and_revoked_at_once() -> None:
    """Create, prove, promote, revoke, and no grace."""
    world = World.ready()

    revoke(world.parts(), Wish(emergency=True, replace=True))

    check_tidy(world)
    assert world.time.slept == 0
    assert "get a 401 on it, fetch the new one and replay" in world.said[0]


def test_a_leaked_key_without_a_recorded_id_is_named_and_replaced() -> None:
    """The secret was made by hand: the key may be the one in use, so it counts as it."""
    world = World.ready(key_id=False)

    with pytest.raises(RotationStopped, match="does not tell the id"):
        revoke(world.parts(), Wish(emergency=True, replace=True))
    with pytest.raises(RotationStopped, match="perhaps AWSCURRENT"):
        revoke(world.parts(), Wish("k0"))
    revoke(world.parts(), Wish("k0", emergency=True, replace=True))

    check_tidy(world)


def test_a_leaked_key_is_not_revoked_for_one_that_does_not_work() -> None:
    """Then the caller decides: without --replace it is revoked all the same."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.REFUSED

    with pytest.raises(RotationStopped, match="refused the new key"):
        revoke(world.parts(), Wish(emergency=True, replace=True))

    assert world.live() == ["k0"]


def test_a_replacement_killed_at_any_step_is_done_by_the_next() -> None:
    """The same command again: the leaked key is gone for certain."""
    for number in range(1, 7):
        world = World.ready()
        kill_at(world, number, "after", CHANGES)
        wish = Wish("k0", emergency=True, replace=True)
        for _ in range(2):
            # The second time it may be gone already, which is told.
            with contextlib.suppress(Killed, RotationStopped):
                revoke(world.parts(), wish)
            peace(world)
        world.workflow().run(Order(begin=False))

        check_tidy(world)
        assert not world.keys["k0"][2]


@pytest.mark.parametrize("lists_dead", [True, False])
def test_a_key_that_is_gone_or_misspelt_is_told(lists_dead: bool) -> None:
    """In an emergency a typing error must not look like success."""
    world = World.ready()
    world.lists_dead = lists_dead
    world.keys["k9"] = ("by-hand", "fln_live_nine", False)

    for key_id in ("k9", "k8"):
        with pytest.raises(RotationStopped, match="revoked already, or misspelt"):
            revoke(world.parts(), Wish(key_id, emergency=True))


def test_a_key_is_revoked_though_the_secret_has_no_value() -> None:
    """Nothing can be in use then."""
    world = World()
    world.keys["k9"] = ("by-hand", "fln_live_nine", True)

    revoke(world.parts(), Wish("k9"))

    assert world.live() == []


def test_an_emergency_for_a_key_that_is_not_current_needs_no_replacement() -> None:
    """The key before has leaked: it is revoked, the current one stays."""
    world = World.ready()
    world.hook = stop_before_revoking
    with pytest.raises(Killed):
        world.workflow().run(Order())
    peace(world)

    revoke(world.parts(), Wish("k0", emergency=True, replace=True))

    assert world.live() == ["k1"]
    assert "k0 is not current" in " ".join(world.said)
