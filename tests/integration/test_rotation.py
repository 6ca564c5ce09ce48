"""`sidecar rotate` as a process, against real HTTP: done, killed anywhere, done."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit
from tests.support.processes import (
    SECRET_ID,
    Settings,
    SidecarProcess,
    wait_until,
)
from tests.support.rotation_rig import CHANGES, Gate, Stage

Start = Callable[..., SidecarProcess]
CONFIG: Final = {"SIDECAR_CONFIG": "sidecar.toml"}


@pytest.fixture(name="stage")
def _stage(api: EmulatedApi, moto: AwsClient) -> Stage:
    """A key in use, and a manager's key."""
    return Stage(api, moto)


@pytest.fixture(name="gate")
def _gate(stage: Stage) -> Iterator[Gate]:
    """The gate before both peers."""
    with Gate(stage) as gate:
        yield gate


@pytest.fixture(name="sidecar")
def _sidecar(sidecar_process: Start) -> Callable[..., SidecarProcess]:
    """Run a command to its end: `sidecar(settings, "rotate")`."""

    def run(settings: Settings, *command: str) -> SidecarProcess:
        process = sidecar_process(settings, command=command, env=CONFIG)
        process.wait()
        return process

    return run


def test_a_rotation_end_to_end(stage: Stage, sidecar: Start) -> None:
    """Create, store, prove, promote, revoke, in one run."""
    process = sidecar(stage.settings(), "rotate")

    assert process.wait() == Exit.OK, process.output()
    stage.check_rotated()
    assert stage.labels()["AWSCURRENT"][:8] in process.output()
    process.assert_never_shown(
        stage.first.key, stage.value()["api_key"], stage.manager.key
    )


def test_the_secret_gets_the_tags_of_the_job(stage: Stage, sidecar: Start) -> None:
    """`sidecar check` compares them."""
    sidecar(stage.settings({"job": {"rotate_every_days": 90}}), "rotate")

    found = stage.moto.secrets.describe_secret(SecretId=SECRET_ID)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {
        "service": "production-crm-sync",
        "environment": "production",
        "owner": "crm-platform",
        "rotate-every-days": "90",
    }


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    stage: Stage, sidecar: Start
) -> None:
    """From the first step to the last."""
    before = stage.labels()

    process = sidecar(stage.settings(), "rotate", "--dry-run")

    assert process.wait() == Exit.OK, process.output()
    assert "1. create a key" in process.output()
    assert "done" in process.output()
    assert stage.labels() == before
    assert stage.live() == [stage.first.id]


def test_a_rotation_that_is_not_due_does_nothing(stage: Stage, sidecar: Start) -> None:
    """A CronJob may run every day."""
    settings = stage.settings({"job": {"rotate_every_days": 90}})

    process = sidecar(settings, "rotate", "--if-due")

    assert process.wait() == Exit.OK, process.output()
    assert "nothing to do" in process.output()
    assert stage.live() == [stage.first.id]


@pytest.mark.parametrize("number", range(1, len(CHANGES) + 1))
def test_a_process_killed_after_any_step_is_finished_by_the_next(
    stage: Stage, gate: Gate, sidecar: Start, sidecar_process: Start, number: int
) -> None:
    """`kill -9` when a change is done and the process does not know it yet."""
    gate.stop_at = number
    process = sidecar_process(gate.settings(), command=["rotate"], env=CONFIG)
    wait_until(gate.held.is_set, "the change", 20.0)
    process.process.kill()
    process.wait()
    assert tuple(gate.changes) == CHANGES[:number]
    assert stage.value()["key_id"] in stage.live()

    process = sidecar(gate.settings(), "rotate")

    assert process.wait() == Exit.OK, process.output()
    stage.check_rotated()


def test_of_two_processes_one_wins_and_the_other_says_so(
    stage: Stage, gate: Gate, sidecar_process: Start
) -> None:
    """Both have made a key before either has stored it."""
    gate.meet = threading.Barrier(2)
    both = [
        sidecar_process(gate.settings(), command=["rotate"], env=CONFIG)
        for _ in range(2)
    ]

    codes = sorted(process.wait() for process in both)

    output = "".join(process.output() for process in both)
    assert codes == [Exit.OK, Exit.CREDENTIAL], output
    assert "another run stored its key first" in output
    stage.check_rotated()


def test_a_process_killed_in_the_grace_leaves_the_old_key(
    stage: Stage, sidecar: Start, sidecar_process: Start
) -> None:
    """It is still needed; the next run revokes it when the grace is over."""
    patient = stage.settings({"rotation": {"grace_seconds": 300}})
    process = sidecar_process(patient, command=["rotate"], env=CONFIG)
    wait_until(lambda: "s left" in process.output(), "the grace", 20.0)
    new = stage.value()
    places = [process.config.parent, Path("/proc", str(process.pid))]
    files = [places[1] / "environ", places[1] / "cmdline", *places[0].rglob("*")]
    shown = b"".join(file.read_bytes() for file in files if file.is_file())
    process.process.kill()
    process.wait()
    assert stage.live() == [stage.first.id, new["key_id"]]
    for key in (stage.first.key, new["api_key"], stage.manager.key):
        assert key.encode() not in shown

    sidecar(stage.settings(), "rotate")

    stage.check_rotated()
