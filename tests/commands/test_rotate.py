"""`sidecar rotate`: what it says, and how it exits."""

import argparse
import sys
from pathlib import Path

import boto3
import pytest

from sidecar.commands import check, rotate
from sidecar.core.rotation.facts import ApiKey
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit
from sidecar.hardening import HardeningStatus
from sidecar.rotation.workflow import RotationOutcome
from tests.support.processes import SECRET_ID, UPSTREAM
from tests.support.rotation_commands import Run, runner
from tests.support.rotation_facts import make
from tests.support.rotation_fakes import World
from tests.support.rotation_rig import MANAGER_ID, Stage

DAY = 86400.0


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


def test_a_rotation_is_told_step_by_step(stage: Stage, run: Run) -> None:
    """From creating to revoking, and the fingerprint of the key in use."""
    ended = run(stage.settings(), "rotate")

    assert ended.code == Exit.OK, ended.err
    stage.check_rotated()
    words = ["create a key", "store it", "prove", "AWSCURRENT", "revoke", "done"]
    lines = iter(ended.out.splitlines())
    assert all(any(word in line for line in lines) for word in words)
    assert ended.out.rstrip().endswith(stage.labels()["AWSCURRENT"][:8])
    assert "fln_live" not in ended.out + ended.err


def test_the_current_key_is_proven_before_the_old_one_is_revoked(
    stage: Stage, run: Run
) -> None:
    """Also without any grace."""
    ended = run(stage.settings(), "rotate")

    told = ended.out.splitlines()
    revoked = next(n for n, line in enumerate(told) if line.startswith("revoke"))
    assert any(line.startswith("prove") for line in told[:revoked])


def test_check_accepts_the_tags_that_a_rotation_sets(
    stage: Stage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` finds the same tags as `rotate` writes."""
    hardened = HardeningStatus(
        dumpable=False, core_bytes=0, memory_locked=True, no_new_privileges=True
    )
    monkeypatch.setattr(check, "harden", lambda: hardened)
    settings = stage.settings({"job": {"rotate_every_days": 90}})
    assert run(settings, "rotate").code == Exit.OK

    ended = run(settings, "check")

    (line,) = (line for line in ended.out.splitlines() if "secret tags" in line)
    assert line.startswith("ok"), ended.out
    assert "rotate-every-days" in line


@pytest.mark.parametrize("days", [1, 3650])
def test_a_rotation_begins_only_when_due(stage: Stage, run: Run, days: int) -> None:
    """By the age of the version in use."""
    settings = stage.settings({"job": {"rotate_every_days": days}})

    ended = run(settings, "rotate", "--if-due")

    assert ended.code == Exit.OK, ended.err
    assert "nothing to do" in ended.out
    assert stage.live() == [stage.first.id]


def test_a_dead_key_is_always_due(stage: Stage, run: Run) -> None:
    """Revoked at the API, so that nothing works until it is replaced."""
    stage.api.revoke(stage.first.id)
    settings = stage.settings({"job": {"rotate_every_days": 90}})

    ended = run(settings, "rotate", "--if-due")

    assert ended.code == Exit.OK, ended.err
    stage.check_rotated()


def test_finish_begins_nothing(stage: Stage, run: Run) -> None:
    """For somebody who only clears up."""
    ended = run(stage.settings(), "rotate", "--finish")

    assert ended.code == Exit.OK, ended.err
    assert stage.live() == [stage.first.id]


def test_if_due_needs_a_schedule(stage: Stage, run: Run) -> None:
    """Exit code 2, with the setting."""
    ended = run(stage.settings(), "rotate", "--if-due")

    assert ended.code == Exit.USAGE
    assert "job.rotate_every_days" in ended.err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(
            {"rotation": None}, "rotation.service_account_id", id="no-rotation"
        ),
        pytest.param(
            {"upstreams": {UPSTREAM: {"credential": {"json_key": None}}}},
            "credential.json_key",
            id="bare-key",
        ),
        pytest.param(
            {
                "upstreams": {
                    UPSTREAM: {"credential": {"secret_id": None, "file": "/dev/null"}}
                }
            },
            "credential.file",
            id="file",
        ),
    ],
)
def test_settings_that_only_a_rotation_needs_are_named(
    stage: Stage, run: Run, change: dict[str, object], named: str
) -> None:
    """Exit code 2, before anything is called."""
    ended = run(stage.settings(change), "rotate")

    assert ended.code == Exit.USAGE
    assert named in ended.err


@pytest.mark.parametrize(
    ("break_it", "code", "said"),
    [
        pytest.param("denied", Exit.CREDENTIAL, "manage keys (403)", id="403"),
        pytest.param("refused", Exit.CREDENTIAL, "(401)", id="401"),
        pytest.param("missing", Exit.CREDENTIAL, "no such secret", id="no-secret"),
        pytest.param("deleted", Exit.CREDENTIAL, "deletion", id="deleted"),
        pytest.param("foreign", Exit.CREDENTIAL, "AWSPENDING", id="foreign-pending"),
        pytest.param("down", Exit.API, "could not be reached", id="api-down"),
    ],
)
def test_what_goes_wrong_is_told_with_a_remedy(
    stage: Stage, run: Run, break_it: str, code: Exit, said: str
) -> None:
    """A clear message, a defined exit code, and the old key in its place."""
    secrets = stage.moto.secrets
    match break_it:
        case "denied":
            stage.api.state.ring.add_account("sa_admin", "x", [])
        case "refused":
            stage.api.revoke(stage.manager.id)
        case "missing":
            secrets.delete_secret(SecretId=SECRET_ID, ForceDeleteWithoutRecovery=True)
        case "deleted":
            secrets.delete_secret(SecretId=SECRET_ID)
        case "foreign":
            stage.moto.stage(SECRET_ID, '{"api_key": "fln_live_theirs"}')
        case _:
            stage.api.stop()

    ended = run(stage.settings(), "rotate")

    assert ended.code == code, ended.err
    assert said in ended.err
    assert "what to do:" in ended.err
    assert "fln_live" not in ended.out + ended.err
    assert stage.live() == [stage.first.id]


def test_an_aws_set_up_that_cannot_be_used_is_told(
    stage: Stage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is called."""
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    ended = run(stage.settings(), "rotate")

    assert ended.code == Exit.CREDENTIAL
    assert "setting up AWS: the AWS profile cannot be read" in ended.err


def test_the_jobs_own_key_may_manage_keys_where_the_api_lets_it(
    stage: Stage, run: Run
) -> None:
    """It is read anew once it has been replaced."""
    ring = stage.api.state.ring
    scopes = {*ring.accounts["sa_crm_sync"].scopes, "service-accounts:manage"}
    ring.add_account("sa_crm_sync", "production-crm-sync", scopes)
    own = {"secret_id": SECRET_ID, "json_key": "api_key"}

    ended = run(stage.settings({"rotation": {"credential": own}}), "rotate")

    assert ended.code == Exit.OK, ended.err
    stage.check_rotated()


def test_the_jobs_own_key_that_may_not_is_told(stage: Stage, run: Run) -> None:
    """The usual case, and a good one."""
    own = {"secret_id": SECRET_ID, "json_key": "api_key"}

    ended = run(stage.settings({"rotation": {"credential": own}}), "rotate")

    assert ended.code == Exit.CREDENTIAL
    assert "does not let the key of [rotation.credential] manage keys" in ended.err
    assert MANAGER_ID not in ended.err


def test_an_interrupted_rotation_says_that_it_goes_on(
    stage: Stage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the grace."""

    def interrupt(self: rotate.Waiting, left: float) -> None:
        del self, left
        raise KeyboardInterrupt

    monkeypatch.setattr(rotate.Waiting, "tick", interrupt)
    patient = stage.settings({"rotation": {"grace_seconds": 300}})

    ended = run(patient, "rotate")

    assert ended.code == Exit.UNEXPECTED
    assert "the next run continues from here" in ended.err
    assert len(stage.live()) == 2


def test_keys_that_people_must_judge_are_named() -> None:
    """An old key without a recorded id, and keys that no version names."""
    world = World()
    outcome = RotationOutcome(
        "0a1b2c3d", changed=True, unnamed=(ApiKey("k9"),), old_key_unknown=True
    )

    rotate.conclude(world.parts(), outcome)

    assert world.said[0] == "done: the key in use is 0a1b2c3d"
    assert "not recorded" in world.said[1]
    assert "sidecar keys revoke k9" in world.said[2]


@pytest.mark.parametrize(
    ("age_days", "due"),
    [pytest.param(89.9, False, id="young"), pytest.param(90.0, True, id="old")],
)
def test_a_rotation_is_due_by_the_age_of_the_version(
    age_days: float, due: bool
) -> None:
    """Not by when somebody last looked."""
    facts = make()
    assert facts.current is not None

    now = facts.current.created + age_days * DAY

    assert rotate.is_due(facts, now, 90) is due


def test_a_secret_without_a_value_or_with_a_dead_key_is_due() -> None:
    """Then the plan says what is wrong, or makes a new key."""
    assert rotate.is_due(make("no-current"), 0.0, 90)
    assert rotate.is_due(make("current-dead"), 0.0, 90)


def test_a_wait_is_a_line_a_minute_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the log of a CronJob."""
    waiting = rotate.Waiting()
    for left in (600.0, 599.0, 541.0, 540.0, 100.0):
        waiting.tick(left)
    waiting.say("next")

    assert capsys.readouterr().out == "  600 s left\n  540 s left\n  100 s left\nnext\n"


def test_a_wait_is_a_countdown_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that is overwritten, and gone afterwards."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    waiting = rotate.Waiting()
    waiting.tick(2.0)
    waiting.tick(1.0)
    waiting.say("next")

    clear = "\r\x1b[K"
    out = capsys.readouterr().out
    assert out == f"{clear}  2 s left{clear}  1 s left{clear}next\n"


def test_only_one_of_two_ways_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    """`--if-due` and `--finish` contradict each other."""
    parser = argparse.ArgumentParser()
    rotate.configure(parser)

    with pytest.raises(SystemExit):
        parser.parse_args(["--if-due", "--finish"])

    assert "not allowed with argument --if-due" in capsys.readouterr().err
