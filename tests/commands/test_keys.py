"""`sidecar keys`: create, list, revoke."""

import argparse
from pathlib import Path

import pytest

from sidecar.commands import keys
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit
from sidecar.rotation.store import Denied, NotThere
from tests.support.processes import SECRET_ID
from tests.support.rotation_commands import Run, runner
from tests.support.rotation_fakes import World
from tests.support.rotation_rig import Stage

NEW_SECRET = "prod/flownally/export"


@pytest.fixture(name="stage")
def _stage(api: EmulatedApi, moto: AwsClient) -> Stage:
    """A key in use, and a manager's key."""
    return Stage(api, moto)


@pytest.fixture(name="run")
def _run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command to its end."""
    return runner(tmp_path, monkeypatch, capsys)


def create(stage: Stage, run: Run, *more: str) -> int:
    """Make a first key for another job; returns the exit code."""
    stage.api.state.ring.add_account("sa_export", "production-export", [])
    ended = run(
        stage.settings(),
        *("keys", "create", "--secret-id", NEW_SECRET),
        *("--service-account", "sa_export", *more),
    )
    assert "fln_live" not in ended.out + ended.err
    return ended.code


def test_a_first_key_goes_straight_into_a_new_secret(stage: Stage, run: Run) -> None:
    """The secret is made with its tags; only a fingerprint is shown."""
    assert create(stage, run, "--name", "production-crm-export") == Exit.OK

    found = stage.moto.secrets.describe_secret(SecretId=NEW_SECRET)
    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    assert tags["service"] == "production-crm-export"
    stages = [set(names) for names in found["VersionIdsToStages"].values()]
    assert stages == [{"AWSCURRENT"}]
    (key,) = stage.api.state.ring.of_account("sa_export")
    assert key.name.startswith("production-crm-export-")


def test_a_first_key_goes_into_a_secret_without_a_value(stage: Stage, run: Run) -> None:
    """Made before by Terraform, say."""
    stage.moto.secrets.create_secret(Name=NEW_SECRET)

    assert create(stage, run) == Exit.OK


def test_a_secret_that_somebody_else_makes_at_the_same_time_will_do() -> None:
    """There is one: that was the wish."""
    world = World()
    missing = [NotThere(Exit.CREDENTIAL, "there is no such secret", "make it")]

    def hook(name: str, when: str) -> None:
        if (name, when) == ("DescribeSecret", "before") and missing:
            raise missing.pop()

    world.hook = hook

    keys.create(world.parts())

    assert "another run has just created it" in world.said
    assert world.works()


DENIED = Denied(Exit.CREDENTIAL, "DescribeSecret: AWS denies it", "allow it")


def deny_once(world: World) -> None:
    """Deny the first look at the secret."""
    denials = [DENIED]

    def hook(name: str, when: str) -> None:
        if (name, when) == ("DescribeSecret", "before") and denials:
            raise denials.pop()

    world.hook = hook


def test_a_missing_secret_that_may_not_be_looked_at_is_made() -> None:
    """AWS denies it by a policy that names ARNs, and does not say that it is missing."""
    world = World(exists=False)
    deny_once(world)

    keys.create(world.parts())

    assert "CreateSecret" in world.calls
    assert world.works()


def test_a_secret_that_exists_and_may_not_be_looked_at_is_denied() -> None:
    """It cannot be made: so the denial is what it looks like."""
    world = World()
    deny_once(world)

    with pytest.raises(Denied) as caught:
        keys.create(world.parts())

    assert caught.value is DENIED
    assert world.keys == {}


def test_who_may_neither_look_nor_make_is_told_of_both_policies() -> None:
    """Nobody knows which of the two is missing."""
    world = World(exists=False)

    def hook(name: str, when: str) -> None:
        if name in {"DescribeSecret", "CreateSecret"} and when == "before":
            raise Denied(Exit.CREDENTIAL, f"{name}: AWS denies it", "allow it")

    world.hook = hook

    with pytest.raises(Denied, match="DescribeSecret") as caught:
        keys.create(world.parts())

    assert caught.value.remedy.startswith("allow it; ")
    assert "first-key.json" in caught.value.remedy


def test_a_secret_with_a_key_is_left_alone(stage: Stage, run: Run) -> None:
    """Rotation replaces a key; creating does not."""
    ended = run(stage.settings(), "keys", "create")

    assert ended.code == Exit.CREDENTIAL
    assert "sidecar rotate" in ended.err
    assert stage.live() == [stage.first.id]


@pytest.mark.parametrize("name", ["backend", "production-api", "staging-crm", "X"])
def test_a_name_that_says_nothing_is_refused(stage: Stage, run: Run, name: str) -> None:
    """The rules for names of jobs hold for keys."""
    assert create(stage, run, "--name", name) == Exit.USAGE
    assert stage.api.state.ring.of_account("sa_export") == []


def test_keys_are_listed_with_their_use(stage: Stage, run: Run) -> None:
    """Never with their plaintext."""
    other = stage.api.issue()

    ended = run(stage.settings(), "keys", "list")

    assert ended.code == Exit.OK, ended.err
    lines = ended.out.splitlines()
    assert lines[0].split() == ["KEY", "NAME", "CREATED", "STATE", "USE"]
    used = next(line for line in lines if line.startswith(stage.first.id))
    assert used.endswith("AWSCURRENT")
    unused = next(line for line in lines if line.startswith(other.id))
    assert unused.endswith("live")
    assert "fln_live" not in ended.out


def test_a_key_left_by_a_rotation_is_shown_as_one(stage: Stage, run: Run) -> None:
    """With what will happen to it."""
    run(stage.settings(), "rotate")
    name = stage.api.state.ring.get(stage.value()["key_id"]).name
    stage.api.state.ring.issue("sa_crm_sync", name=f"{name[:-12]}{'0' * 12}")

    ended = run(stage.settings(), "keys", "list")

    assert "left by a rotation" in ended.out


def test_a_key_that_nobody_uses_is_revoked(stage: Stage, run: Run) -> None:
    """By its id."""
    other = stage.api.issue()

    ended = run(stage.settings(), "keys", "revoke", other.id)

    assert ended.code == Exit.OK, ended.err
    assert stage.live() == [stage.first.id]


def test_the_key_in_use_is_kept(stage: Stage, run: Run) -> None:
    """Exit code 3, with both ways on."""
    ended = run(stage.settings(), "keys", "revoke", stage.first.id)

    assert ended.code == Exit.CREDENTIAL
    assert "in use (AWSCURRENT)" in ended.err
    assert stage.live() == [stage.first.id]


def test_a_leaked_key_is_replaced_at_once(stage: Stage, run: Run) -> None:
    """Whatever grace the settings say."""
    settings = stage.settings({"rotation": {"grace_seconds": 3600}})

    ended = run(settings, "keys", "revoke", "--emergency", "--replace")

    assert ended.code == Exit.OK, ended.err
    stage.check_rotated()
    assert "fetch the new one and replay" in ended.out


def test_an_emergency_without_a_replacement_says_what_happens(
    stage: Stage, run: Run
) -> None:
    """And does it."""
    ended = run(stage.settings(), "keys", "revoke", "--emergency")

    assert ended.code == Exit.OK, ended.err
    assert "every call gets the API's 401" in ended.out
    assert stage.live() == []


def test_keys_of_a_secret_to_be_deleted_are_listed_and_revoked(
    stage: Stage, run: Run
) -> None:
    """A job is taken out of service; what is odd goes to stderr, the table not."""
    stage.moto.secrets.delete_secret(SecretId=SECRET_ID)

    listed = run(stage.settings(), "keys", "list")
    ended = run(stage.settings(), "keys", "revoke", stage.first.id)

    assert (listed.code, ended.code) == (Exit.OK, Exit.OK)
    assert listed.out.splitlines()[1].startswith(stage.first.id)
    assert "scheduled for deletion" in listed.err
    assert "scheduled for deletion" not in listed.out
    assert stage.live() == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param([], "KEY_ID", id="no-key"),
        pytest.param(["k1", "--replace"], "--replace", id="replace-alone"),
    ],
)
def test_half_an_order_is_refused(
    stage: Stage, run: Run, arguments: list[str], named: str
) -> None:
    """Exit code 2, before anything is called."""
    ended = run(stage.settings(), "keys", "revoke", *arguments)

    assert ended.code == Exit.USAGE
    assert named in ended.err


def test_an_action_is_required(stage: Stage, run: Run) -> None:
    """`sidecar keys` alone is no order."""
    assert run(stage.settings(), "keys").code == Exit.USAGE
    assert stage.moto.secrets.describe_secret(SecretId=SECRET_ID)["Name"] == SECRET_ID


@pytest.mark.parametrize("action", ["list", "revoke", "create"])
def test_the_settings_are_named_before_or_behind_the_action(action: str) -> None:
    """As for every other command; the one behind holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    keys.configure(parser)
    before = parser.parse_args(["--config", "a", action])
    behind = parser.parse_args(["--config", "a", action, "--config", "b"])

    assert (before.config, behind.config) == ("a", "b")
