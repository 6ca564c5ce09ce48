"""What commands share: the settings that a command line means."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.errors import Problem, SettingsInvalid

if TYPE_CHECKING:
    from sidecar.settings import Settings

PREFIX: Final = "SIDECAR_"
CONFIG_VARIABLE: Final = "SIDECAR_CONFIG"


def settings_of(
    args: argparse.Namespace, environ: Mapping[str, str] | None = None
) -> "Settings":
    """
    Load the settings that `--config`, SIDECAR_CONFIG and SIDECAR_* mean.

    Raises:
        SettingsInvalid: with every problem; `sidecar.cli` prints them.
    """
    # Late: `run` gets its settings without the 12 MB that loading them takes.
    from sidecar.settings import load  # noqa: PLC0415 - pydantic: not for --help

    environ = os.environ if environ is None else environ
    return load(path_of(args, environ), environ)


def path_of(args: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """
    Tell which file the settings are in; None when variables say everything.

    Raises:
        SettingsInvalid: there is neither a file nor a variable.
    """
    path = args.config or environ.get(CONFIG_VARIABLE)
    if path:
        return Path(path)
    if not any(name.startswith(PREFIX) for name in environ):
        reason = "no settings: give a file here, or by SIDECAR_CONFIG, or set SIDECAR_*"
        raise SettingsInvalid([Problem("--config", reason, "config/sidecar.toml")])
    return None


def config_behind(action: argparse.ArgumentParser) -> None:
    """Take `--config` behind an action, too, where people write it."""
    # Unset, the one before the action holds.
    action.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
