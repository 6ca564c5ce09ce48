"""The Lambda handler as AWS calls it: four events, settings from the environment."""

import importlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sidecar.core.rotation.facts import RotationStopped
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import ENVIRONMENT, AwsClient
from sidecar.errors import SettingsInvalid
from sidecar.rotation import lambda_handler, lambda_steps
from tests.support.processes import SECRET_ID, Settings
from tests.support.rotation_rig import Stage

TOKEN = "aaaaaaaa-0000-4000-8000-000000000000"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


class Context:
    """What AWS hands in beside the event."""

    def __init__(self, seconds: float = 900.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """Tell how long this invocation may last."""
        return int(self._seconds * 1000)


def flat(settings: Settings, prefix: str = "SIDECAR_") -> Iterator[tuple[str, str]]:
    """Write settings as variables."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), str(value)


@pytest.fixture(name="stage")
def _stage(api: EmulatedApi, moto: AwsClient, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A key in use, and the function's environment."""
    stage = Stage(api, moto)
    # Hardening is for life: it would forbid the other tests to look at this process.
    monkeypatch.setattr(lambda_steps, "harden", lambda: None)
    for name, value in [*ENVIRONMENT.items(), *flat(stage.settings())]:
        monkeypatch.setenv(name, value)
    return stage


def event(stage: Stage, step: str) -> dict[str, object]:
    """Make the event that AWS sends."""
    found = stage.moto.secrets.describe_secret(SecretId=SECRET_ID)
    return {"Step": step, "SecretId": found["ARN"], "ClientRequestToken": TOKEN}


def begin(stage: Stage) -> None:
    """Do what RotateSecret does; the emulator cannot make a version without value."""
    stage.moto.secrets.put_secret_value(
        SecretId=SECRET_ID,
        ClientRequestToken=TOKEN,
        SecretString="{}",
        VersionStages=["AWSPENDING"],
    )


def test_four_events_rotate_the_key(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twice each, as AWS may do; the log shows progress and no key."""
    begin(stage)
    for step in STEPS:
        for _ in range(2):
            lambda_handler(event(stage, step), Context())

    stage.check_rotated()
    assert stage.labels()["AWSCURRENT"] == TOKEN
    shown = "".join(capfd.readouterr())
    assert "rotation_progress" in shown
    assert "fln_live" not in shown


def test_what_fails_is_raised_for_aws_to_see(stage: Stage) -> None:
    """AWS shows the message, and calls again."""
    begin(stage)
    stage.api.state.ring.add_account("sa_admin", "x", [])

    with pytest.raises(RotationStopped, match="403"):
        lambda_handler(event(stage, "createSecret"), Context())


def test_a_function_with_too_short_a_timeout_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made."""
    monkeypatch.setenv("SIDECAR_ROTATION__GRACE_SECONDS", "600")
    begin(stage)

    with pytest.raises(RotationStopped, match="timeout is too short"):
        lambda_handler(event(stage, "createSecret"), Context(300))

    assert stage.live() == [stage.first.id]


def test_a_function_without_settings_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every problem at once, as everywhere."""
    request = event(stage, "testSecret")
    for name, _ in flat(stage.settings()):
        monkeypatch.delenv(name)

    with pytest.raises(SettingsInvalid, match="job"):
        lambda_handler(request, None)


def test_the_package_is_cheap_to_import() -> None:
    """Nothing is loaded before the first event, and nothing of it by `sidecar run`."""
    program = (
        "import sys, sidecar.rotation as r; r.lambda_handler; "
        "print({'boto3', 'pydantic', 'aiohttp'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert shown.stdout.strip() == "set()"
    assert importlib.import_module("sidecar.rotation").lambda_handler is lambda_handler
