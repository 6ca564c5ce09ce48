"""Settings from a child process: the same tree, without pydantic in this process."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings import child, reference
from sidecar.settings.child import (
    INVALID,
    Loading,
    SettingsLost,
    from_json,
    main,
    to_json,
)
from sidecar.settings.loading import load
from sidecar.settings.model import Settings
from tests.support.settings_files import GOOD

ROOT = Path(__file__).parents[2]
SECRET = "fln_live_0123456789abcdef"


def types_of(value: Any) -> Any:
    """Return the type of everything in a tree: 5 == 5.0, but they are not the same."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return type(value), [types_of(getattr(value, field.name)) for field in fields]
    if isinstance(value, dict):
        return {name: types_of(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(types_of(one) for one in value)
    return type(value)


@pytest.fixture(name="settings", params=["sidecar.toml", "local.toml", "everything"])
def _settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The files in config, and one that sets what they leave out."""
    if request.param != "everything":
        return load(ROOT / "config" / request.param, {})
    file = tmp_path / "sidecar.toml"
    file.write_text(reference.toml())
    return load(
        file,
        {
            "SIDECAR_UPSTREAMS__FLOWNALLY__LISTEN": "unix:/run/a.sock",
            "SIDECAR_UPSTREAMS__FLOWNALLY__ALLOW_UIDS": "[1000]",
            "SIDECAR_UPSTREAMS__FLOWNALLY__ALLOW": "GET /a\nGET /b",
        },
    )


def test_settings_come_back_as_they_were(settings: Settings) -> None:
    """By value and by type: to the rest of the program there is no difference."""
    back = from_json(to_json(settings))

    assert back == settings
    assert types_of(back) == types_of(settings)


def test_settings_that_came_back_are_frozen(settings: Settings) -> None:
    """They are the same dataclasses."""
    back = from_json(to_json(settings))

    with pytest.raises(dataclasses.FrozenInstanceError):
        back.log = settings.log  # type: ignore[misc]  # that is the test


def test_the_other_process_gives_the_settings(tmp_path: Path) -> None:
    """From the file and the environment of this one."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    assert Loading(file).result() == load(file, {})


def test_the_environment_is_inherited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is stronger than the file there, too."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)
    monkeypatch.setenv("SIDECAR_LOG__LEVEL", "error")

    assert Loading(file).result().log.level == "error"


def test_the_child_gets_no_aws_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It needs the region only."""
    file, seen = tmp_path / "sidecar.toml", tmp_path / "environment"
    file.write_text(GOOD)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nenv > {seen}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setattr(sys, "executable", str(python))

    assert Loading(file).result().aws.region == "eu-west-3"
    assert SECRET not in seen.read_text()


def test_its_problems_are_ours(tmp_path: Path) -> None:
    """Each with path, reason and example."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD.replace("https:", "http:") + f'api_key = "{SECRET}"')

    with pytest.raises(SettingsInvalid) as caught:
        Loading(file).result()

    with pytest.raises(SettingsInvalid) as expected:
        load(file, {})
    assert caught.value.problems == expected.value.problems
    assert SECRET not in str(caught.value)


def test_settings_by_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the problems are those of the environment."""
    for name, value in {
        "JOB__NAME": "development-crm-sync",
        "JOB__ENVIRONMENT": "development",
        "UPSTREAMS__A__BASE_URL": "https://api.flownally.com",
        "UPSTREAMS__A__CREDENTIAL__FILE": "/run/key",
    }.items():
        monkeypatch.setenv(f"SIDECAR_{name}", value)

    assert Loading(None).result().upstreams["a"].credential.file == Path("/run/key")


def test_a_process_that_breaks_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has said why on standard error."""
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(SettingsLost):
        Loading(tmp_path).result()


def test_a_process_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The start fails; it does not wait for ever."""
    hanging = tmp_path / "hang"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(child, "SECONDS", 0.05)

    with pytest.raises(SettingsLost):
        Loading(None).result()


def test_an_unexpected_exception_shows_its_type_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text may hold a key in the wrong place."""

    def broken(path: Path | None, environ: object) -> Settings:
        raise RuntimeError(SECRET, path, environ)

    monkeypatch.setattr("sidecar.settings.loading.load", broken)

    assert main([], {}) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "sidecar: unexpected RuntimeError while settings were loaded\n"
    )


def test_it_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings, or problems and the exit code that says so."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    assert main([str(file)], {}) == 0
    assert from_json(capsys.readouterr().out).job.name == "development-crm-sync"
    assert main([], {}) == INVALID
    found = [Problem(*fields) for fields in json.loads(capsys.readouterr().out)]
    assert "job.name" in {problem.path for problem in found}


def test_no_pydantic_is_imported_on_the_way() -> None:
    """It would cost what this is for."""
    script = (
        "import sys, sidecar.cli, sidecar.settings.child;"
        "import sidecar.commands.support, sidecar.settings.model;"
        "import sidecar.commands.run;"
        "sys.exit(str([m for m in sys.modules if 'pydantic' in m] or ''))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stderr.strip() == ""
