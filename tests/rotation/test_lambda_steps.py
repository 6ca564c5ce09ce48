"""
The four steps that AWS Secrets Manager asks for, against a secret in memory.

The emulator cannot make the empty version that AWS makes, so the contract is held to
here; `tests/integration/test_rotation_lambda.py` drives the handler itself.
"""

import contextlib
import itertools

import pytest

from sidecar.core.rotation.facts import Proof, RotationRequest, RotationStopped
from sidecar.errors import Exit
from sidecar.rotation.lambda_steps import STEPS, LambdaEvent, handle, read_event
from tests.support.rotation_fakes import ARN, FIRST, GRACE_SECONDS, Killed, World
from tests.support.rotation_faults import check_tidy, kill_at, peace

TOKEN = "aaaaaaaa-0000-4000-8000-000000000000"
NEXT = "bbbbbbbb-0000-4000-8000-000000000000"


def begin(world: World, token: str = TOKEN) -> None:
    """Do what RotateSecret does: make a version without a value, and label it."""
    world.versions[token] = None
    world.labels["AWSPENDING"] = token


def step(world: World, name: str, token: str = TOKEN, *, seconds: float = 900) -> None:
    """Let AWS call the function."""
    handle(LambdaEvent(name, ARN, token), world.parts(), lambda: seconds)


def rotate(world: World, token: str = TOKEN) -> None:
    """Let AWS make a whole rotation."""
    begin(world, token)
    for name in STEPS:
        step(world, name, token)


def test_four_steps_rotate_the_key() -> None:
    """The new key is in the version that AWS chose; the old one is revoked."""
    world = World.ready()

    rotate(world)

    check_tidy(world)
    assert world.labels["AWSCURRENT"] == TOKEN
    assert world.labels["AWSPREVIOUS"] == FIRST
    assert world.time.slept == GRACE_SECONDS


def test_each_step_does_its_part() -> None:
    """Nothing is promoted before it is tested, nothing revoked before the end."""
    world = World.ready()
    begin(world)

    step(world, "createSecret")
    assert world.plaintext("AWSPENDING") == "fln_live_1"
    step(world, "setSecret")
    step(world, "testSecret")
    assert world.labels["AWSCURRENT"] == FIRST
    assert world.live() == ["k0", "k1"]
    step(world, "finishSecret")

    check_tidy(world)


def test_every_step_may_run_again() -> None:
    """AWS calls again when it did not see how a step ended."""
    world = World.ready()
    begin(world)

    for name in STEPS:
        for _ in range(3):
            step(world, name)

    check_tidy(world)
    assert len(world.keys) == 2


def test_steps_of_a_finished_rotation_do_nothing() -> None:
    """The version is current: late repetitions change nothing."""
    world = World.ready()
    rotate(world)
    before = (dict(world.labels), dict(world.keys))

    for name in STEPS:
        step(world, name)

    assert (world.labels, world.keys) == before


def test_a_function_killed_at_any_call_is_called_again() -> None:
    """Each step, killed after each of its calls; AWS repeats the step."""
    for name, number in itertools.product(STEPS, range(1, 40)):
        world = World.ready()
        begin(world)
        for each in STEPS:
            if each == name:
                kill_at(world, number, "after")
                with contextlib.suppress(Killed):
                    step(world, each)
                peace(world)
            step(world, each)

        check_tidy(world)


def test_a_key_whose_function_died_before_storing_it_is_revoked_at_the_end() -> None:
    """AWS's version cannot be exchanged, so its orphan waits until it is filled."""
    world = World.ready()
    begin(world)
    kill_at(world, 1, "after", frozenset({"create"}))
    with pytest.raises(Killed):
        step(world, "createSecret")
    peace(world)

    for name in STEPS:
        step(world, name)

    check_tidy(world)
    assert len(world.keys) == 3


def test_the_next_rotation_finishes_the_one_before() -> None:
    """The last one was cut short in its grace, and AWS did not call again."""
    world = World.ready()
    begin(world)
    for name in STEPS[:3]:
        step(world, name)
    kill_at(world, 1, "after", frozenset({"UpdateSecretVersionStage"}))
    with pytest.raises(Killed):
        step(world, "finishSecret")
    peace(world)
    world.time.seconds += 90 * 86400

    rotate(world, NEXT)

    check_tidy(world)
    assert world.labels["AWSCURRENT"] == NEXT


def test_a_refused_key_fails_the_test_step_and_stays() -> None:
    """AWS repeats the step; nothing is promoted."""
    world = World.ready()
    begin(world)
    step(world, "createSecret")
    world.proofs["fln_live_1"] = Proof.REFUSED

    with pytest.raises(RotationStopped, match="not proven") as caught:
        step(world, "testSecret")

    assert caught.value.exit is Exit.API
    assert world.labels["AWSCURRENT"] == FIRST


def test_sidecar_rotate_clears_away_what_the_function_could_not_finish() -> None:
    """The message of the test step says so."""
    world = World.ready()
    begin(world)
    step(world, "createSecret")
    world.proofs["fln_live_1"] = Proof.REFUSED
    with pytest.raises(RotationStopped, match="refused the new key"):
        world.workflow().run(RotationRequest())

    world.workflow().run(RotationRequest())

    check_tidy(world)


def test_a_key_that_is_not_live_fails_the_set_step() -> None:
    """Somebody has revoked it in between."""
    world = World.ready()
    begin(world)
    step(world, "createSecret")
    world.keys["k1"] = ("", "fln_live_1", False)

    with pytest.raises(RotationStopped, match="not a live key"):
        step(world, "setSecret")


@pytest.mark.parametrize("lists_dead", [True, False], ids=["lists-dead", "live-only"])
def test_aws_books_no_success_for_a_key_that_died_before_the_last_step(
    lists_dead: bool,
) -> None:
    """The label is taken off, so the next rotation can begin; this one has failed."""
    world = World.ready()
    world.lists_dead = lists_dead
    begin(world)
    for name in STEPS[:3]:
        step(world, name)
    world.keys["k1"] = (world.keys["k1"][0], "fln_live_1", False)

    with pytest.raises(RotationStopped, match="stays in use") as caught:
        step(world, "finishSecret")

    assert caught.value.exit is Exit.API
    assert world.labels == {"AWSCURRENT": FIRST}
    rotate(world, NEXT)
    check_tidy(world)


def test_a_newer_key_in_the_grace_of_the_last_step_is_a_success() -> None:
    """An emergency: the version of this rotation was in use, and is AWSPREVIOUS now."""
    world = World.ready()
    begin(world)
    for name in STEPS[:3]:
        step(world, name)

    def hook(name: str, when: str) -> None:
        if (name, when) == ("prove", "before") and world.time.slept:
            peace(world)
            world.workflow().run(RotationRequest(again=True))

    world.hook = hook

    step(world, "finishSecret")

    check_tidy(world)
    assert world.labels["AWSPREVIOUS"] == TOKEN


def test_a_key_that_is_not_listed_yet_is_tried_again() -> None:
    """AWS calls again; nothing is cleared away meanwhile."""
    world = World.ready()
    world.lag_seconds = float("inf")
    begin(world)
    step(world, "createSecret")
    with pytest.raises(RotationStopped, match="does not list") as caught:
        step(world, "setSecret")
    assert "AWS repeats the step" in caught.value.remedy
    step(world, "testSecret")
    with pytest.raises(RotationStopped, match="does not list"):
        step(world, "finishSecret")
    world.lag_seconds = 0.0

    step(world, "finishSecret")

    check_tidy(world)


def test_a_timeout_that_is_too_short_is_told_before_anything_is_made() -> None:
    """The last step waits the grace: its invocation must last that long."""
    world = World.ready()
    begin(world)

    with pytest.raises(RotationStopped, match="timeout is too short") as caught:
        step(world, "createSecret", seconds=300)

    assert caught.value.exit is Exit.USAGE
    assert "create" not in world.calls


def test_a_version_without_awspending_is_refused() -> None:
    """AWS's own check: the rotation was cancelled, or another one has begun."""
    world = World.ready()
    begin(world)
    begin(world, NEXT)

    with pytest.raises(RotationStopped, match="AWSPENDING"):
        step(world, "createSecret", TOKEN)

    assert "create" not in world.calls


def test_another_secret_is_refused() -> None:
    """The settings say which key is rotated; the event must agree."""
    world = World.ready()
    begin(world)

    with pytest.raises(RotationStopped, match="another secret"):
        handle(
            LambdaEvent("createSecret", ARN + "x", TOKEN), world.parts(), lambda: 900
        )


def test_a_secret_whose_rotation_is_off_is_refused() -> None:
    """AWS's own check."""
    world = World.ready()
    begin(world)
    world.rotates = False

    with pytest.raises(RotationStopped, match="switched off"):
        step(world, "createSecret")


def test_an_event_is_read() -> None:
    """As AWS sends it."""
    event = {"Step": "testSecret", "SecretId": ARN, "ClientRequestToken": TOKEN}

    assert read_event({**event, "RotationToken": "x"}) == LambdaEvent(
        "testSecret", ARN, TOKEN
    )


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({}, id="empty"),
        pytest.param({"Step": "testSecret", "SecretId": ARN}, id="no-token"),
        pytest.param(
            {"Step": "x", "SecretId": ARN, "ClientRequestToken": TOKEN}, id="step"
        ),
        pytest.param(
            {"Step": "testSecret", "SecretId": 1, "ClientRequestToken": TOKEN},
            id="type",
        ),
    ],
)
def test_another_event_is_refused(event: dict[str, object]) -> None:
    """Somebody tries the function in the console."""
    with pytest.raises(RotationStopped, match="rotation steps"):
        read_event(event)
