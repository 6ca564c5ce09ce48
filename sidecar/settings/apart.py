"""
Settings that are loaded by a process beside this one, which then ends.

Measured: pydantic and the models are 12 MB of a running sidecar's 43, and are used once,
at its start. The other process has them while this one imports the server, so that the
start takes no longer where there are two cores.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings.lean import from_json

if TYPE_CHECKING:
    from sidecar.settings.models import Settings

INVALID: Final = 2
SECONDS: Final = 60.0
REGIONS: Final = frozenset({"AWS_REGION", "AWS_DEFAULT_REGION"})


class SettingsLost(Exception):
    """The process that loads settings ended without them; it has said why."""


class Loading:
    """
    Settings that are being loaded, from the environment of this process.

    Args:
        path: The TOML file; None when the environment says everything.
    """

    def __init__(self, path: Path | None) -> None:
        command = [sys.executable, "-m", "sidecar.settings"]
        if path is not None:
            command.append(os.fspath(path))
        self._process = subprocess.Popen(  # noqa: S603  (ourselves)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(os.environ),
        )

    def result(self) -> "Settings":
        """
        Wait for the settings.

        Raises:
            SettingsInvalid: with every problem.
            SettingsLost: the other process broke.
        """
        with self._process as process:
            try:
                said, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                said = ""
        if process.returncode == INVALID and said:
            raise SettingsInvalid([Problem(*fields) for fields in json.loads(said)])
        if process.returncode != 0 or not said:
            raise SettingsLost
        # Equal in every attribute, see `lean`.
        return cast("Settings", from_json(said))


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the other process needs: the credentials of AWS are not among it."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("AWS_") or name in REGIONS
    }
