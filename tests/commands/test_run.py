"""`sidecar run` hands the settings to the application."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import sidecar
from sidecar.cli import main
from sidecar.errors import Exit
from sidecar.settings.model import Settings
from tests.support.settings_files import GOOD


@pytest.fixture(name="started")
def _started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which the application was run."""
    started: list[Settings] = []

    def run(settings: Settings) -> Exit:
        started.append(settings)
        return Exit.CREDENTIAL

    app = ModuleType("sidecar.app")
    vars(app).update(run=run)
    monkeypatch.setitem(sys.modules, "sidecar.app", app)
    monkeypatch.setattr(sidecar, "app", app, raising=False)
    # This process is the tests' own; what it does is seen in tests/test_hardening.py.
    monkeypatch.setattr("sidecar.commands.run.harden", lambda: None)
    return started


def test_the_application_gets_the_settings(
    tmp_path: Path, started: list[Settings]
) -> None:
    """And its exit code is the program's."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    assert main(["run", "--config", str(file)]) == Exit.CREDENTIAL

    (settings,) = started
    assert list(settings.upstreams) == ["flownally"]


def test_nothing_starts_on_bad_settings(
    tmp_path: Path, started: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line each."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD.replace("https:", "http:") + "x = 1\n")

    assert main(["run", "--config", str(file)]) == Exit.USAGE

    assert started == []
    assert capsys.readouterr().err.count("\n") == 2
