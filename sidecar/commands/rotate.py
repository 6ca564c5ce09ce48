"""
Rotate the key: create, store as AWSPENDING, prove, promote to AWSCURRENT, wait until
the sidecars use it, prove again, revoke the old one. The next run finishes a run that
was interrupted.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from sidecar.commands.support import settings_of
from sidecar.core.rotation.facts import (
    RotationFacts,
    RotationRequest,
    RotationStopped,
)
from sidecar.errors import Exit, Problem, SettingsInvalid
from sidecar.hardening import harden
from sidecar.rotation.assemble import connect
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.workflow import RotationOutcome, Workflow

DAY_SECONDS: Final = 86400.0
# Between two lines about a wait, without a terminal.
LINE_SECONDS: Final = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--dry-run", action="store_true", help="show the plan, change nothing"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--if-due",
        action="store_true",
        help="begin only if the key is older than job.rotate_every_days, or dead",
    )
    how.add_argument(
        "--finish", action="store_true", help="finish an earlier rotation, begin none"
    )


def run(args: argparse.Namespace) -> Exit:
    """Rotate."""
    harden()
    settings = settings_of(args)
    days = settings.job.rotate_every_days
    if args.if_due and days is None:
        reason = "is required for --if-due"
        raise SettingsInvalid([Problem("job.rotate_every_days", reason, "90")])
    waiting = Waiting()

    def act() -> None:
        parts = connect(settings, waiting.say, waiting.tick)
        begin = not args.finish
        if args.if_due:
            begin = is_due(Workflow(parts).observe(), time.time(), days or 0)
        rotate(parts, RotationRequest(begin=begin), dry_run=args.dry_run)

    return guarded(act)


def rotate(
    parts: RotationDependencies, order: RotationRequest, *, dry_run: bool
) -> None:
    """
    Rotate, or show the plan.

    Raises:
        RotationStopped: with the remedy.
    """
    if dry_run:
        for number, step in enumerate(Workflow(parts).preview(order), start=1):
            parts.say(f"{number}. {step}")
        return
    conclude(parts, Workflow(parts).run(order))


def conclude(parts: RotationDependencies, outcome: RotationOutcome) -> None:
    """Print the outcome of a run, and the keys that a person should check."""
    if outcome.changed:
        parts.say(f"done: the key in use is {outcome.fingerprint}")
    else:
        parts.say(f"nothing to do: the key in use is {outcome.fingerprint}")
    if outcome.old_key_unknown:
        parts.say("the old key's id was not recorded, so the old key was not revoked")
    for key in outcome.unnamed:
        parts.say(
            f"key {key.key_id} is live, but this secret does not name it: if it "
            f"is unused, sidecar keys revoke {key.key_id}"
        )


def is_due(facts: RotationFacts, now: float, days: int) -> bool:
    """Return True if the key is old enough, or dead at the API."""
    current = facts.current
    if current is None:
        return True
    dead = bool(current.key_id) and not facts.live(current.key_id)
    return dead or now - current.created >= days * DAY_SECONDS


def guarded(act: Callable[[], None]) -> Exit:
    """Run `act`; print the reason and the remedy if it stops."""
    try:
        act()
    except RotationStopped as exc:
        print(f"sidecar: {exc.reason}", file=sys.stderr)
        print(f"sidecar: what to do: {exc.remedy}", file=sys.stderr)
        return exc.exit
    except KeyboardInterrupt:
        print("sidecar: interrupted; the next run continues from here", file=sys.stderr)
        return Exit.UNEXPECTED
    return Exit.OK


class Waiting:
    """Prints progress: a countdown on a terminal, else a line a minute."""

    def __init__(self) -> None:
        self._open = False
        self._said: float | None = None

    def say(self, line: str) -> None:
        """Print a line."""
        if self._open:
            print("\r\x1b[K", end="")
            self._open = False
        self._said = None
        print(line, flush=True)

    def tick(self, left: float) -> None:
        """Print the seconds that are left."""
        if sys.stdout.isatty():
            print(f"\r\x1b[K  {left:.0f} s left", end="", flush=True)
            self._open = True
        elif self._said is None or self._said - left >= LINE_SECONDS:
            self._said = left
            print(f"  {left:.0f} s left", flush=True)
