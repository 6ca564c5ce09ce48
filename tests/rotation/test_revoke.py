"""Keys revoked by hand."""

import contextlib
import itertools

import pytest

from sidecar.core.rotation.facts import Proof, RotationRequest, RotationStopped
from sidecar.errors import Exit
from sidecar.rotation.revoke import RACES, RevokeRequest, revoke
from sidecar.rotation.store import Conflict
from tests.support.rotation_fakes import FIRST, Killed, World
from tests.support.rotation_faults import CHANGES, check_tidy, interrupt, kill_at, peace


def order(world: World, wish: RevokeRequest) -> None:
    """Revoke, as the command does."""
    revoke(world.parts(), wish, world.warned.append)


def test_a_key_that_nobody_uses_is_revoked() -> None:
    """Decommissioned, or left over."""
    world = World.ready()
    world.keys["k9"] = ("by-hand", "fln_live_nine", True)

    order(world, RevokeRequest("k9"))

    assert world.live() == ["k0"]
    assert world.said == ["revoked key k9"]


@pytest.mark.parametrize("label", ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"])
def test_a_key_in_use_is_not_revoked_by_mistake(label: str) -> None:
    """Sidecars may be on the previous one, too, having rolled back."""
    world = World.ready()
    world.labels[label] = FIRST

    with pytest.raises(RotationStopped, match=rf"in use \(.*{label}") as caught:
        order(world, RevokeRequest("k0"))

    assert caught.value.exit is Exit.CREDENTIAL
    assert "--emergency --replace" in caught.value.remedy
    assert world.live() == ["k0"]


def test_in_an_emergency_the_key_in_use_is_revoked_and_the_outcome_told() -> None:
    """Nothing takes its place."""
    world = World.ready()

    order(world, RevokeRequest(emergency=True))

    assert world.live() == []
    assert "every call gets the API's 401" in world.said[0]


def test_sidecars_are_said_to_roll_back_where_they_can() -> None:
    """The key before still works."""
    world = World.ready()
    world.hook = stop_before_revoking
    with pytest.raises(Killed):
        world.workflow().run(RotationRequest())
    peace(world)

    order(world, RevokeRequest(emergency=True))

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

    order(world, RevokeRequest(emergency=True, replace=True))

    check_tidy(world)
    assert world.time.slept == 0
    assert "get a 401 on it, fetch the new one and replay" in world.said[0]


def test_a_leaked_key_without_a_recorded_id_is_named_and_replaced() -> None:
    """The secret was made by hand: the key may be the one in use, so it counts as it."""
    world = World.ready(key_id=False)

    with pytest.raises(RotationStopped, match="does not contain the id"):
        order(world, RevokeRequest(emergency=True, replace=True))
    with pytest.raises(RotationStopped, match="perhaps AWSCURRENT"):
        order(world, RevokeRequest("k0"))
    order(world, RevokeRequest("k0", emergency=True, replace=True))

    check_tidy(world)


def test_a_leaked_key_is_not_revoked_for_one_that_does_not_work() -> None:
    """Then the caller decides: without --replace it is revoked all the same."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.REFUSED

    with pytest.raises(RotationStopped, match="refused the new key"):
        order(world, RevokeRequest(emergency=True, replace=True))

    assert world.live() == ["k0"]


def test_a_replacement_killed_at_any_step_is_done_by_the_next() -> None:
    """The same command again: the leaked key is gone for certain."""
    for number in range(1, 7):
        world = World.ready()
        kill_at(world, number, "after", CHANGES)
        wish = RevokeRequest("k0", emergency=True, replace=True)
        for _ in range(2):
            # The second time it may be gone already, which is told.
            with contextlib.suppress(Killed, RotationStopped):
                order(world, wish)
            peace(world)
        world.workflow().run(RotationRequest(begin=False))

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
            order(world, RevokeRequest(key_id, emergency=True))


def test_a_key_is_revoked_though_the_secret_has_no_value() -> None:
    """Nothing can be in use then."""
    world = World()
    world.keys["k9"] = ("by-hand", "fln_live_nine", True)

    order(world, RevokeRequest("k9"))

    assert world.live() == []


def test_an_emergency_for_a_key_that_is_not_current_needs_no_replacement() -> None:
    """The key before has leaked: it is revoked, the current one stays."""
    world = World.ready()
    world.hook = stop_before_revoking
    with pytest.raises(Killed):
        world.workflow().run(RotationRequest())
    peace(world)

    order(world, RevokeRequest("k0", emergency=True, replace=True))

    assert world.live() == ["k1"]
    assert "k0 is not current" in " ".join(world.said)


def test_an_emergency_that_loses_a_race_goes_on_with_the_other_runs_key() -> None:
    """A planned run comes between any two calls, and dies or waits anywhere."""
    for number, died in itertools.product(range(1, 45), range(1, 8)):
        world = World.ready()

        def planned(world: World, died: int = died) -> None:
            kill_at(world, died, "after", CHANGES)
            with contextlib.suppress(Killed):
                world.workflow().run(RotationRequest())
            peace(world)
            world.time.slept = 0

        interrupt(world, number, planned)

        end = end_of(world, RevokeRequest("k0", emergency=True, replace=True))

        # Said when the planned run has revoked it before the first look.
        assert not end or "revoked already" in end, (number, died)
        assert not world.keys["k0"][2], (number, died)
        assert world.works()
        assert world.served_dead == []
        assert world.time.slept == 0


def end_of(world: World, wish: RevokeRequest) -> str:
    """Revoke, and tell how it ended."""
    try:
        order(world, wish)
    except RotationStopped as exc:
        return exc.reason
    return ""


def test_an_emergency_does_not_race_for_ever() -> None:
    """Another run is first each time: then a person decides, and knows how."""
    world = World.ready()

    def hook(name: str, when: str) -> None:
        if (name, when) == ("PutSecretValue", "before"):
            raise Conflict

    world.hook = hook

    with pytest.raises(RotationStopped, match="another run stored") as caught:
        order(world, RevokeRequest(emergency=True, replace=True))

    assert world.calls.count("create") == RACES
    assert "key k0 still works" in caught.value.remedy


@pytest.mark.parametrize(
    ("call", "works"),
    [
        pytest.param("create", "still works", id="refused"),
        pytest.param("list", "may still work", id="api-gone"),
    ],
)
def test_an_emergency_that_stops_says_that_the_key_still_works(
    call: str, works: str
) -> None:
    """And how it is revoked without a replacement."""
    world = World.ready()
    failing = {"create"}

    def hook(name: str, when: str) -> None:
        if when == "before" and name in failing:
            failing.add(call)
            raise RotationStopped(Exit.API, "conflict (409)", "revoke others")

    world.hook = hook

    with pytest.raises(RotationStopped, match="409") as caught:
        order(world, RevokeRequest(emergency=True, replace=True))

    assert f"key k0 {works}" in caught.value.remedy
    assert "sidecar keys revoke --emergency k0" in caught.value.remedy


def test_an_emergency_that_stops_after_revoking_does_not_frighten() -> None:
    """The leaked key is dead; what failed is what came after."""
    world = World.ready()

    def hook(name: str, when: str) -> None:
        if (name, when) == ("revoke", "after"):
            raise RotationStopped(Exit.API, "the API answered 500", "run again")

    world.hook = hook

    with pytest.raises(RotationStopped, match="500") as caught:
        order(world, RevokeRequest(emergency=True, replace=True))

    assert caught.value.remedy == "run again"


@pytest.mark.parametrize("call", ["DescribeSecret", "GetSecretValue", "list"])
def test_a_named_key_is_revoked_in_an_emergency_though_nothing_can_be_seen(
    call: str,
) -> None:
    """Secrets Manager is away, or the list: the leaked key must go all the same."""
    world = World.ready()
    blind(world, call)

    with pytest.raises(RotationStopped, match="away"):
        order(world, RevokeRequest("k0"))
    order(world, RevokeRequest("k0", emergency=True))

    assert world.live() == []
    assert world.said == ["revoked key k0"]
    assert "is away; so the use of key k0 is unknown" in world.warned[0]
    with pytest.raises(RotationStopped, match="revoked already, or misspelt"):
        order(world, RevokeRequest("k8", emergency=True))


@pytest.mark.parametrize(
    ("wish", "key_id"),
    [
        pytest.param(RevokeRequest(emergency=True), "KEY_ID", id="not-named"),
        pytest.param(
            RevokeRequest("k0", emergency=True, replace=True), "k0", id="replace"
        ),
    ],
)
def test_what_needs_a_look_says_what_does_not(wish: RevokeRequest, key_id: str) -> None:
    """Nobody knows the key in use, or whether a new one takes its place."""
    world = World.ready()
    blind(world, "DescribeSecret")

    with pytest.raises(RotationStopped, match="away") as caught:
        order(world, wish)

    assert f"sidecar keys revoke --emergency {key_id}" in caught.value.remedy
    assert world.live() == ["k0"]


def blind(world: World, call: str) -> None:
    """Let a call fail from now on."""

    def hook(name: str, when: str) -> None:
        if (name, when) == (call, "before"):
            raise RotationStopped(Exit.CREDENTIAL, f"{call} is away", "wait")

    world.hook = hook


@pytest.mark.parametrize("emergency", [True, False])
def test_a_key_of_a_secret_that_is_to_be_deleted_is_revoked(emergency: bool) -> None:
    """A job is taken out of service, its secret first."""
    world = World.ready()
    world.deleted = True

    order(world, RevokeRequest("k0", emergency=emergency))

    assert world.live() == []
    assert "to be deleted" in world.warned[0]
