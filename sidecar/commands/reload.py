"""Make a running sidecar look for new keys now."""

import argparse

from sidecar.commands import control
from sidecar.errors import Exit

configure = control.configure


def run(args: argparse.Namespace) -> Exit:
    """Ask it."""
    return control.post(args, "/-/reload", "reloaded")
