"""Wait until a running sidecar has had a key for every upstream."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from sidecar.commands import control
from sidecar.commands.support import seconds
from sidecar.errors import Exit

PAUSE_SECONDS: Final = 0.1
OK: Final = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Add how long to wait, and for whom."""
    control.configure(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait (default: 60; inf: for ever); then the exit code is 5",
    )


def run(
    args: argparse.Namespace,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Exit:
    """Poll `/startupz`."""
    target = control.target_of(args)
    end = monotonic() + args.timeout
    while True:
        left = max(end - monotonic(), PAUSE_SECONDS)
        answer = control.call(
            "GET", target, "/startupz", min(left, control.CALL_SECONDS)
        )
        if answer.status == OK:
            print("ready")
            return Exit.OK
        if monotonic() >= end:
            reason = control.explain(target, answer)
            print(f"not ready after {args.timeout:g} s: {reason}", file=sys.stderr)
            return Exit.TIMED_OUT
        sleep(min(PAUSE_SECONDS, max(end - monotonic(), 0)))
