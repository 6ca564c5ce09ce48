"""A rotation whose peers answer badly: a clear message, an exit code, nothing lost."""

import contextlib
import itertools
import json
from dataclasses import replace

import pytest

from sidecar.core.rotation.facts import (
    Create,
    Done,
    Proof,
    RotationRequest,
    RotationStopped,
)
from sidecar.core.secrecy.secret import Secret, SecretRules
from sidecar.errors import Exit
from sidecar.rotation.key_answers import CreateUnsure
from sidecar.rotation.store import Read
from tests.support.rotation_fakes import (
    ACCOUNT,
    FIRST,
    GRACE_SECONDS,
    OPTIONS,
    Killed,
    World,
)
from tests.support.rotation_faults import check_tidy, fail_once, kill_at, peace

UNSURE = CreateUnsure(Exit.TIMED_OUT, "the API did not answer in time", "run again")
DENIED = RotationStopped(Exit.CREDENTIAL, "PutSecretValue is denied", "allow it")


def stopped(world: World, order: RotationRequest | None = None) -> RotationStopped:
    """Run, and tell why it stopped."""
    with pytest.raises(RotationStopped) as caught:
        world.workflow().run(order or RotationRequest())
    return caught.value


def check_untouched(world: World) -> None:
    """The old key serves on, alone, as if nothing had been tried."""
    assert world.labels["AWSCURRENT"] == FIRST
    assert "AWSPENDING" not in world.labels
    assert world.live() == ["k0"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_call_without_answer_leaves_no_key(when: str) -> None:
    """The API may have made one: it is found by its name and revoked in this run."""
    world = World.ready()
    fail_once(world, "create", UNSURE, when)

    error = stopped(world)

    assert error is UNSURE
    check_untouched(world)
    assert len(world.keys) == (2 if when == "after" else 1)


def test_after_a_create_call_without_answer_the_next_run_succeeds() -> None:
    """The place of the lost key is closed, so the next run takes another one."""
    world = World.ready()
    fail_once(world, "create", UNSURE, "after")
    stopped(world)

    world.workflow().run(RotationRequest())

    check_tidy(world)


def test_a_refused_create_call_stops_at_once() -> None:
    """No key was made: there is nothing to clear away."""
    world = World.ready()
    fail_once(world, "create", RotationStopped(Exit.CREDENTIAL, "403", "name another"))

    assert stopped(world).reason == "403"
    check_untouched(world)


def test_a_key_of_another_environment_is_revoked_not_stored() -> None:
    """`key_prefix` holds on rotation as at load."""
    world = World.ready()
    rules = replace(OPTIONS.rules, key_prefix="fln_test_")

    with pytest.raises(
        RotationStopped, match="does not begin with fln_test_"
    ) as caught:
        world.workflow(options=replace(OPTIONS, rules=rules)).run(RotationRequest())

    assert caught.value.exit is Exit.API
    assert "PutSecretValue" not in world.calls
    check_untouched(world)


def test_a_key_that_cannot_be_stored_is_revoked() -> None:
    """Denied, or as many versions as there may be."""
    world = World.ready()
    fail_once(world, "PutSecretValue", DENIED)

    assert stopped(world) is DENIED
    check_untouched(world)


def test_a_store_that_succeeded_without_an_answer_is_seen() -> None:
    """A timeout is no failure when the version is there."""
    world = World.ready()
    fail_once(world, "PutSecretValue", DENIED, "after")

    world.workflow().run(RotationRequest())

    check_tidy(world)


def test_a_key_that_can_be_neither_stored_nor_seen_is_named() -> None:
    """Secrets Manager went away: the next run clears up."""
    world = World.ready()

    def gone(name: str, when: str) -> None:
        del when
        if "k1" in world.keys and name[0].isupper():
            raise RotationStopped(Exit.CREDENTIAL, "could not be reached", "wait")

    world.hook = gone
    error = stopped(world)
    assert "the next run revokes key k1" in error.remedy
    peace(world)

    world.workflow().run(RotationRequest())

    check_tidy(world)
    assert not world.keys["k1"][2]


def test_a_lost_key_that_cannot_be_revoked_now_is_revoked_by_the_next_run() -> None:
    """The API fails exactly then."""
    world = World.ready()
    silent = RotationStopped(Exit.API, "revoking key k1: the API answered 500", "wait")

    def hook(name: str, when: str) -> None:
        if (name, when) == ("PutSecretValue", "before"):
            raise DENIED
        if name == "revoke":
            raise silent

    world.hook = hook
    error = stopped(world)
    assert error.reason == DENIED.reason
    assert "the next run revokes key k1" in error.remedy
    peace(world)

    world.workflow().run(RotationRequest())

    check_tidy(world)


def test_a_refused_key_is_revoked_and_the_old_one_serves_on() -> None:
    """401 to the new key: never promoted."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.REFUSED

    error = stopped(world)

    assert error.exit is Exit.API
    assert "refused the new key" in error.reason
    check_untouched(world)


def test_a_run_after_a_refused_key_makes_another() -> None:
    """The refused one has used up its version."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.REFUSED
    stopped(world)

    world.workflow().run(RotationRequest())

    check_tidy(world)


def test_a_key_that_cannot_be_proven_waits_for_the_next_run() -> None:
    """The API is down during the probe: nothing is undone, nothing goes on."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.SILENT
    assert stopped(world).exit is Exit.API
    assert world.works()
    assert world.live() == ["k0", "k1"]
    world.proofs.clear()

    world.workflow().run(RotationRequest())

    check_tidy(world)
    assert len(world.keys) == 2


def test_a_list_that_lags_is_waited_for() -> None:
    """The new key works before the list shows it, and the old one is dead before."""
    world = World.ready()
    world.lag_seconds = OPTIONS.api.settle_seconds - 1

    world.workflow().run(RotationRequest())

    check_tidy(world)
    assert len(world.keys) == 2
    assert world.calls.count("revoke") == 1


def test_a_revoked_key_that_stays_live_is_no_success() -> None:
    """The API takes the call and does nothing: the call is wrong, say."""
    world = World.ready()

    def hook(name: str, when: str) -> None:
        if (name, when) == ("revoke", "after"):
            world.keys["k0"] = ("production-crm-sync", "fln_live_zero", True)

    world.hook = hook

    error = stopped(world)

    assert error.exit is Exit.API
    assert "still lists the key as live" in error.reason
    assert world.calls.count("revoke") == 1
    peace(world)
    world.workflow().run(RotationRequest(begin=False))
    check_tidy(world)


def test_a_new_key_that_is_never_listed_is_no_success_and_is_kept() -> None:
    """A list that ends too early; no run makes a second key, the next one goes on."""
    world = World.ready()
    world.lag_seconds = float("inf")
    for _ in range(2):
        error = stopped(world)
        assert error.exit is Exit.API
        assert "does not list the new key" in error.reason
        assert world.live() == ["k0", "k1"]
        assert world.plaintext("AWSPENDING") == "fln_live_1"
    world.lag_seconds = 0.0

    world.workflow().run(RotationRequest())

    check_tidy(world)
    assert len(world.keys) == 2


def test_a_first_key_that_is_never_listed_is_said() -> None:
    """It is in use already: nothing came before it."""
    world = World()
    world.lag_seconds = float("inf")

    assert (
        "does not list the new key"
        in stopped(world, RotationRequest(first=True)).reason
    )
    assert world.works()


@pytest.mark.parametrize("lists_dead", [True, False], ids=["lists-dead", "live-only"])
def test_a_new_key_that_dies_before_it_is_promoted_is_no_success(
    lists_dead: bool,
) -> None:
    """Somebody revokes it: the old one serves on, and the run says so."""
    world = World.ready()
    world.lists_dead = lists_dead

    def revoke(name: str, when: str) -> None:
        if (name, when) == ("PutSecretValue", "after"):
            world.keys["k1"] = (world.keys["k1"][0], "fln_live_1", False)

    world.hook = revoke

    error = stopped(world)

    assert error.exit is Exit.API
    assert "stays in use" in error.reason
    check_untouched(world)
    peace(world)
    world.workflow().run(RotationRequest())
    check_tidy(world)


def test_a_new_key_that_dies_in_the_grace_saves_the_old_one() -> None:
    """The sidecars have rolled back to it; the next run replaces both."""
    world = World.ready()

    def revoke(name: str, when: str) -> None:
        del when
        if name == "prove" and world.time.slept >= GRACE_SECONDS:
            world.keys["k1"] = ("", "fln_live_1", False)

    world.hook = revoke
    error = stopped(world)
    assert "does not accept the key in AWSCURRENT" in error.reason
    assert world.live() == ["k0"]
    peace(world)

    world.workflow().run(RotationRequest())

    check_tidy(world)


@pytest.mark.parametrize(
    ("value", "rules", "message"),
    [
        pytest.param("fln_live_zero", SecretRules(), "bare key", id="bare"),
        pytest.param("fln_live_zero", OPTIONS.rules, "no JSON object", id="not-json"),
    ],
)
def test_a_value_without_a_place_for_the_key_id_stops_before_anything_is_made(
    value: str, rules: SecretRules, message: str
) -> None:
    """A rotation that could not be resumed is not begun."""
    world = World.ready()
    world.versions[FIRST] = Read(Secret(value), FIRST, 1.0)

    with pytest.raises(RotationStopped, match=message):
        world.workflow(options=replace(OPTIONS, rules=rules)).run(RotationRequest())

    assert "create" not in world.calls


def test_a_secret_scheduled_for_deletion_is_left_alone() -> None:
    """The message comes from the look itself."""
    world = World.ready()
    world.deleted = True

    assert "deleted" in stopped(world).reason
    assert world.calls == ["DescribeSecret"]


def test_tags_that_cannot_be_set_do_not_fail_a_rotation() -> None:
    """The key is rotated; what is missing is said."""
    world = World.ready()
    fail_once(world, "TagResource", DENIED)

    world.workflow().run(RotationRequest())

    check_tidy(world)
    assert "tags" in world.said[-1]


def test_a_dry_run_changes_nothing() -> None:
    """It looks, and tells every step."""
    world = World.ready()

    steps = list(world.workflow().preview(RotationRequest()))

    assert isinstance(steps[0], Create)
    assert isinstance(steps[-1], Done)
    assert set(world.calls) <= {
        "DescribeSecret",
        "GetSecretValue",
        "ListSecretVersionIds",
        "list",
    }


def test_an_old_key_without_a_recorded_id_is_left_to_people() -> None:
    """The first rotation of a secret that was made by hand."""
    world = World.ready(key_id=False)

    outcome = world.workflow().run(RotationRequest())

    assert outcome.old_key_unknown
    assert [key.key_id for key in outcome.unnamed] == ["k0"]
    assert world.live() == ["k0", "k1"]


def test_the_first_key_is_stored_and_proven() -> None:
    """Secrets Manager makes the first version AWSCURRENT by itself."""
    world = World()

    world.workflow().run(RotationRequest(first=True))

    check_tidy(world)


def test_a_first_key_is_not_made_twice_after_a_crash() -> None:
    """Killed after each call; the key of the dead run is revoked."""
    for number in range(1, 20):
        world = World()
        kill_at(world, number, "after")
        with contextlib.suppress(Killed):
            world.workflow().run(RotationRequest(first=True))
        peace(world)
        if "AWSCURRENT" not in world.labels:
            world.workflow().run(RotationRequest(first=True))
        world.workflow().run(RotationRequest(begin=False))

        check_tidy(world)


def test_a_leaked_key_is_replaced_at_once() -> None:
    """No grace: the sidecars come through a 401."""
    world = World.ready()

    world.workflow(options=replace(OPTIONS, grace_seconds=0.0)).run(
        RotationRequest(again=True)
    )

    check_tidy(world)
    assert world.time.slept == 0


def test_a_key_stored_by_hand_meanwhile_is_meant() -> None:
    """The version that waited is dropped with its key, and a rotation begins anew."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.SILENT
    stopped(world)
    world.time.sleep(60.0)
    world.keys["k_hand"] = ("by-hand", "fln_live_hand", True)
    value = {
        "api_key": "fln_live_hand",
        "key_id": "k_hand",
        "service_account_id": ACCOUNT,
    }
    by_hand = Read(Secret(json.dumps(value)), "hand", world.time.now())
    world.versions["hand"] = by_hand
    world.labels |= {"AWSCURRENT": "hand", "AWSPREVIOUS": FIRST}

    world.workflow().run(RotationRequest(begin=False))

    assert world.labels["AWSCURRENT"] == "hand"
    assert world.live() == ["k_hand"]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({"key_id", "service_account_id"}, id="as-it-was"),
        pytest.param(set(), id="the-key-alone"),
    ],
)
@pytest.mark.parametrize("begin", [True, False])
def test_a_pending_value_copied_into_current_by_hand_is_never_revoked(
    kept: set[str], begin: bool
) -> None:
    """Somebody has promoted it with put-secret-value: its key is the one in use."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.SILENT
    stopped(world)
    world.time.sleep(60.0)
    world.proofs.clear()
    waits = world.versions[world.labels["AWSPENDING"]]
    assert waits is not None
    value = json.loads(waits.raw.reveal())
    copy = {k: v for k, v in value.items() if k in {"api_key", *kept}}
    by_hand = Read(Secret(json.dumps(copy)), "hand", world.time.now())
    world.versions["hand"] = by_hand
    world.labels |= {"AWSCURRENT": "hand", "AWSPREVIOUS": FIRST}

    world.workflow().run(RotationRequest(begin=begin))

    assert world.works()
    assert "AWSPENDING" not in world.labels
    assert world.served_dead == []
    # Without an id a finishing run revokes nothing; a whole one makes it all right.
    assert len(world.live()) == (1 if kept or begin else 2)


@pytest.mark.parametrize(
    ("ago", "slept"),
    [
        pytest.param(0.0, GRACE_SECONDS, id="just-now"),
        pytest.param(400.0, GRACE_SECONDS - 400.0, id="a-while-ago"),
        pytest.param(4000.0, 0.0, id="long-ago"),
        pytest.param(-3600.0, GRACE_SECONDS, id="clock-set-back"),
    ],
)
def test_a_grace_that_was_cut_short_is_waited_to_its_end(
    ago: float, slept: float
) -> None:
    """Counted from the secret's last change; a wrong clock makes it no longer."""
    world = World.ready()
    kill_at(world, 2, "after", frozenset({"UpdateSecretVersionStage"}))
    with pytest.raises(Killed):
        world.workflow().run(RotationRequest())
    peace(world)
    world.time.seconds += ago

    world.workflow().run(RotationRequest())

    check_tidy(world)
    assert world.time.slept == slept


def test_a_stored_value_that_cannot_be_used_is_never_promoted() -> None:
    """Somebody has filled our version with something else."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.SILENT
    stopped(world)
    token = world.labels["AWSPENDING"]
    value = {"api_key": "Bearer x", "key_id": "k1", "service_account_id": ACCOUNT}
    world.versions[token] = Read(Secret(json.dumps(value)), token, world.time.now())

    assert "refused the new key" in stopped(world).reason
    check_untouched(world)
    assert any("cannot be used: the key already begins" in line for line in world.said)


def test_a_version_that_has_lost_its_value_proves_nothing() -> None:
    """Removed between two looks."""
    world = World.ready()
    world.proofs["fln_live_1"] = Proof.SILENT
    stopped(world)
    token = world.labels["AWSPENDING"]
    reads = []

    def hook(name: str, when: str) -> None:
        if (name, when) == ("GetSecretValue", "before"):
            reads.append(name)
            if len(reads) == 3:
                world.versions[token] = None

    world.hook = hook

    assert "did not make" in stopped(world).reason
    assert world.labels["AWSCURRENT"] == FIRST


def test_a_step_that_changes_nothing_does_not_last_for_ever() -> None:
    """Secrets Manager says yes, and does not do it."""
    world = World.ready()
    world.labels["AWSPENDING"] = FIRST

    def hook(name: str, when: str) -> None:
        if (name, when) == ("UpdateSecretVersionStage", "after"):
            world.labels["AWSPENDING"] = FIRST

    world.hook = hook

    error = stopped(world)
    assert error.exit is Exit.UNEXPECTED
    assert "does not end" in error.reason


def test_a_secret_that_never_holds_still_is_told() -> None:
    """Labels that differ at every look do not belong with the list of keys."""
    world = World.ready()
    looks = itertools.count()

    def hook(name: str, when: str) -> None:
        if (name, when) == ("DescribeSecret", "before"):
            world.labels["other"] = str(next(looks))

    world.hook = hook

    assert "changes faster" in stopped(world).reason


def test_attempts_are_bounded() -> None:
    """A service account whose keys never work is for people to look at."""
    world = World.ready()
    for number in range(1, 21):
        world.proofs[f"fln_live_{number}"] = Proof.REFUSED
        stopped(world)

    assert "20 rotations in a row have failed" in stopped(world).reason
    check_untouched(world)
