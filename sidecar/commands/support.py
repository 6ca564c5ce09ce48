"""What commands share: the settings that a command line means."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings import Settings, load
from sidecar.settings.environment import CONFIG_VARIABLE, PREFIX


def settings_of(
    args: argparse.Namespace, environ: Mapping[str, str] | None = None
) -> Settings:
    """
    Load the settings that `--config`, SIDECAR_CONFIG and SIDECAR_* mean.

    Raises:
        SettingsInvalid: with every problem; `sidecar.cli` prints them.
    """
    environ = os.environ if environ is None else environ
    path = args.config or environ.get(CONFIG_VARIABLE)
    if not path and not any(name.startswith(PREFIX) for name in environ):
        reason = "no settings: give a file here, or by SIDECAR_CONFIG, or set SIDECAR_*"
        raise SettingsInvalid([Problem("--config", reason, "config/sidecar.toml")])
    return load(Path(path) if path else None, environ)
