"""Shared by the commands: loading of the settings, and types of options."""

import argparse
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings.values import MAX_PORT

if TYPE_CHECKING:
    from sidecar.settings.model import Settings

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
    from sidecar.settings.loading import load  # noqa: PLC0415 - pydantic: not for --help

    environ = os.environ if environ is None else environ
    return load(path_of(args, environ), environ)


def path_of(args: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """
    Return the settings file; None = the environment has all settings.

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


def seconds(text: str) -> float:
    """
    Parse a number of seconds; `inf` = no limit.

    Raises:
        argparse.ArgumentTypeError: it is not a number, or below 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Not "value < 0": every comparison with NaN is false.
    if not value >= 0:
        reason = "must be a number of seconds from 0 (inf: no limit)"
        raise argparse.ArgumentTypeError(reason)
    return value


def port(text: str) -> int:
    """
    Parse a port; 0 picks a free one.

    Raises:
        argparse.ArgumentTypeError: it is not a TCP port.
    """
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > MAX_PORT:
        reason = f"must be a port from 0 to {MAX_PORT}"
        raise argparse.ArgumentTypeError(reason)
    return int(text)


def config_behind(action: argparse.ArgumentParser) -> None:
    """Accept `--config` also after an action."""
    # If it is absent, the option before the action applies.
    action.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
