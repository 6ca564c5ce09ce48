"""Make a running sidecar drain and exit, as SIGTERM does."""

import argparse

from sidecar.commands import control
from sidecar.errors import Exit

configure = control.configure


def run(args: argparse.Namespace) -> Exit:
    """Ask it."""
    return control.post(args, "/-/quit", "quitting")
