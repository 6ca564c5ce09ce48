"""Settings without their models: equal in everything, and free of pydantic."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings import Settings, apart, load, reference
from sidecar.settings.__main__ import main
from sidecar.settings.apart import INVALID, Loading, SettingsLost
from sidecar.settings.lean import LeanTable, from_json, to_json
from tests.support.settings_files import GOOD

ROOT = Path(__file__).parents[2]
SECRET = "fln_live_0123456789abcdef"


def assert_same(model: Any, lean: Any) -> None:
    """Walk through both."""
    if isinstance(model, BaseModel):
        assert isinstance(lean, LeanTable)
        for name in type(model).model_fields:
            assert_same(getattr(model, name), getattr(lean, name))
    elif isinstance(model, dict):
        assert list(model) == list(lean)
        for name, value in model.items():
            assert_same(value, lean[name])
    elif isinstance(model, tuple):
        assert isinstance(lean, tuple)
        assert len(model) == len(lean)
        for one, other in zip(model, lean, strict=True):
            assert_same(one, other)
    else:
        assert lean == model
        assert type(lean) is type(model)


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


def test_every_attribute_is_the_same(settings: Settings) -> None:
    """By value and by type: to the rest of the program there is no difference."""
    lean = from_json(to_json(settings))

    assert_same(settings, lean)


def test_a_flat_table_dumps_as_its_model(settings: Settings) -> None:
    """Parts are made from `**table.model_dump()`."""
    lean: Any = from_json(to_json(settings))

    limits = settings.upstreams["flownally"].limits
    assert lean.upstreams["flownally"].limits.model_dump() == limits.model_dump()
    assert lean.guard.model_dump() == settings.guard.model_dump()


def test_lean_settings_are_frozen(settings: Settings) -> None:
    """As their models are."""
    lean = from_json(to_json(settings))

    with pytest.raises(AttributeError, match="frozen"):
        lean.log = 5
    with pytest.raises(AttributeError, match="no setting 'logs'"):
        _ = lean.logs


def test_lean_settings_compare_by_value(settings: Settings) -> None:
    """With each other only."""
    one, other = from_json(to_json(settings)), from_json(to_json(settings))

    assert one == other
    assert one != 5
    assert repr(one) == repr(other)


def test_the_other_process_gives_the_settings(tmp_path: Path) -> None:
    """From the file and the environment of this one."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    assert_same(load(file, {}), Loading(file).result())


def test_the_environment_is_inherited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is stronger than the file there, too."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)
    monkeypatch.setenv("SIDECAR_LOG__LEVEL", "error")

    assert Loading(file).result().log.level == "error"


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
    monkeypatch.setattr(apart, "SECONDS", 0.05)

    with pytest.raises(SettingsLost):
        Loading(None).result()


def test_an_unexpected_exception_shows_its_type_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text may hold a key in the wrong place."""

    def broken(path: Path | None, environ: object) -> Settings:
        raise RuntimeError(SECRET, path, environ)

    monkeypatch.setattr("sidecar.settings.__main__.load", broken)

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
        "import sys, sidecar.cli, sidecar.settings, sidecar.settings.apart;"
        "import sidecar.commands.support, sidecar.settings.values;"
        "import sidecar.commands.run;"
        "sys.exit(str([m for m in sys.modules if 'pydantic' in m] or ''))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stderr.strip() == ""


def test_the_package_has_no_other_names() -> None:
    """What is imported late is named."""
    import sidecar.settings as package  # noqa: PLC0415 - the import is the test

    with pytest.raises(AttributeError, match="no attribute 'Setings'"):
        _ = package.Setings
