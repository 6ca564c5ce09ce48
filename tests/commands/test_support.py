"""Which settings a command line means."""

import argparse
from pathlib import Path

import pytest

from sidecar.commands.support import path_of, settings_of
from sidecar.errors import SettingsInvalid
from tests.support.settings_files import GOOD


def given(config: str | None) -> argparse.Namespace:
    """Give a parsed command line."""
    return argparse.Namespace(config=config)


def test_the_argument_is_stronger_than_the_variable(tmp_path: Path) -> None:
    """Who types a name means it."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    settings = settings_of(given(str(file)), {"SIDECAR_CONFIG": "/none.toml"})

    assert settings.job.name == "development-crm-sync"


def test_the_variable_names_the_file(tmp_path: Path) -> None:
    """As a container has it."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    settings = settings_of(given(None), {"SIDECAR_CONFIG": str(file)})

    assert settings.job.name == "development-crm-sync"


def test_variables_are_on_top(tmp_path: Path) -> None:
    """The environment is the process's own."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)

    settings = settings_of(given(str(file)), {"SIDECAR_LOG__LEVEL": "error"})

    assert settings.log.level == "error"


def test_no_settings_at_all_is_one_clear_problem() -> None:
    """Not a list of everything that is required."""
    with pytest.raises(SettingsInvalid) as caught:
        settings_of(given(None), {"PATH": "/bin"})

    (problem,) = caught.value.problems
    assert problem.path == "--config"


def test_the_environment_is_the_processs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Unless a test hands over another."""
    file = tmp_path / "sidecar.toml"
    file.write_text(GOOD)
    monkeypatch.setenv("SIDECAR_CONFIG", str(file))

    assert settings_of(given(None)).job.name == "development-crm-sync"


def test_variables_alone_need_no_file() -> None:
    """One is enough to mean it."""
    assert path_of(given(None), {"SIDECAR_JOB__NAME": "x"}) is None
