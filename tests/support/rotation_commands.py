"""Runs `sidecar rotate` and `sidecar keys` in this process, against the emulators."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.commands import keys, rotate
from sidecar.emulator.aws import ENVIRONMENT
from tests.support.processes import Settings, to_toml


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def runner(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Make `run(settings, "rotate", "--dry-run")`."""
    # Hardening is for life: it would forbid the other tests to look at this process.
    monkeypatch.setattr(rotate, "harden", lambda: None)
    monkeypatch.setattr(keys, "harden", lambda: None)
    for name in [name for name in os.environ if name.startswith(("AWS_", "SIDECAR_"))]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run(settings: Settings, *command: str) -> Ended:
        file = tmp_path / "sidecar.toml"
        file.write_text(to_toml(settings))
        code = main(["--config", str(file), *command])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run
