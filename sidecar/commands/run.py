"""Run the sidecar until SIGTERM or `sidecar quit`."""

import argparse
import os

from sidecar.commands.support import path_of
from sidecar.errors import Exit
from sidecar.hardening import harden
from sidecar.settings.child import Loading


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no options: everything is a setting."""
    del parser


def run(args: argparse.Namespace) -> Exit:
    """
    Run the sidecar in the foreground.

    Raises:
        SettingsInvalid: with every problem of the settings.
    """
    # First: a process that has opened this one's memory before may continue to read it.
    harden()
    loading = Loading(path_of(args, os.environ))
    # Late: the import takes place while the other process loads the settings.
    from sidecar import app  # noqa: PLC0415 - not for --help

    return app.run(loading.result())
