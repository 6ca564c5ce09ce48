"""Run the sidecar until SIGTERM or `sidecar quit`."""

import argparse

from sidecar import app
from sidecar.commands.support import settings_of
from sidecar.errors import Exit


def configure(parser: argparse.ArgumentParser) -> None:
    """Add nothing: everything is a setting."""
    del parser


def run(args: argparse.Namespace) -> Exit:
    """Run in the foreground."""
    return app.run(settings_of(args))
