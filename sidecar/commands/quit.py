"""Make a running sidecar drain and exit, as SIGTERM does."""

import argparse
import sys

from sidecar.commands import control
from sidecar.errors import Exit

configure = control.configure


def run(args: argparse.Namespace) -> Exit:
    """Ask it; it drains after it has answered."""
    target = control.target_of(args)
    answer = control.call("POST", target, "/-/quit", control.CALL_SECONDS)
    if not answer.good:
        print(f"sidecar: {control.explain(target, answer)}", file=sys.stderr)
        return Exit.UNEXPECTED
    print("draining")
    return Exit.OK
