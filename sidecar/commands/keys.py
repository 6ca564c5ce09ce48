"""
Create, list or revoke keys of the service account. No command shows a key: a new key
goes directly into Secrets Manager.
"""

import argparse
import sys
from dataclasses import replace
from typing import Final

from sidecar.commands.rotate import Waiting, conclude, guarded
from sidecar.commands.support import config_behind, settings_of
from sidecar.core.rotation.facts import ApiKey, RotationFacts, RotationRequest
from sidecar.errors import Exit, Problem, SettingsInvalid
from sidecar.hardening import harden
from sidecar.rotation.assemble import connect, options_of
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.revoke import RevokeRequest, read_facts, revoke, uses_of
from sidecar.rotation.store import Conflict, Denied, NotThere
from sidecar.rotation.workflow import Workflow
from sidecar.settings.model import Settings
from sidecar.settings.names import check_job_name

FIRST_KEY: Final = "config/iam/first-key.json"
HEADINGS: Final = ("KEY", "NAME", "CREATED", "STATE", "USE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="create a first key, and store it in a secret without one"
    )
    create.add_argument("--name", help="job of the key; default: job.name")
    create.add_argument(
        "--secret-id", help="secret of the key; default: the secret of the upstream"
    )
    create.add_argument(
        "--service-account", metavar="ID", help="default: rotation.service_account_id"
    )
    actions.add_parser("list", help="list the service account's keys")
    gone = actions.add_parser("revoke", help="revoke a key")
    gone.add_argument(
        "key_id",
        nargs="?",
        default="",
        metavar="KEY_ID",
        help="default: the key in use",
    )
    gone.add_argument(
        "--emergency", action="store_true", help="revoke at once, also a key in use"
    )
    gone.add_argument("--replace", action="store_true", help="promote a new key first")
    for action in actions.choices.values():
        config_behind(action)


def run(args: argparse.Namespace) -> Exit:
    """Run the chosen action."""
    harden()
    settings = settings_of(args)
    if args.action == "create":
        return _create(settings, args)
    waiting = Waiting()

    def connected() -> RotationDependencies:
        return connect(settings, waiting.say, waiting.tick)

    if args.action == "list":
        return guarded(lambda: show(connected()))
    request = RevokeRequest(args.key_id, args.emergency, args.replace)
    if request.replace and not request.emergency:
        reason = "requires --emergency; without an emergency: sidecar rotate"
        raise SettingsInvalid([Problem("--replace", reason)])
    if not request.key_id and not request.emergency:
        reason = "is required (see sidecar keys list)"
        raise SettingsInvalid([Problem("KEY_ID", reason)])
    return guarded(lambda: revoke(connected(), request, warn))


def _create(settings: Settings, args: argparse.Namespace) -> Exit:
    """Create a first key."""
    options = options_of(settings)
    name = _name(settings, args.name)
    options = replace(
        options,
        job=name,
        secret_id=args.secret_id or options.secret_id,
        api=replace(options.api, account=args.service_account or options.api.account),
        tags={**options.tags, "service": name},
    )
    waiting = Waiting()
    return guarded(
        lambda: create(connect(settings, waiting.say, waiting.tick, options))
    )


def _name(settings: Settings, name: str | None) -> str:
    """Return the name of the job; check a name from the command line."""
    if name is None:
        return settings.job.name
    try:
        check_job_name(name, settings.job.environment)
    except ValueError as exc:
        example = f"{settings.job.environment}-crm-sync"
        raise SettingsInvalid([Problem("--name", str(exc), example)]) from None
    return name


def create(parts: RotationDependencies) -> None:
    """
    Create a key for a secret without one, and the secret if it is missing.

    Raises:
        RotationStopped: the secret has a key, or a call failed.
    """
    _ensure_secret(parts)
    conclude(parts, Workflow(parts).run(RotationRequest(first=True)))


def _ensure_secret(parts: RotationDependencies) -> None:
    """Create the secret if it is missing."""
    denied: Denied | None = None
    try:
        parts.store.describe()
    except Denied as exc:
        # A policy for ARNs with "-??????" matches no name without a suffix, so AWS
        # denies access to a missing secret.
        denied = exc
    except NotThere:
        pass
    else:
        return
    parts.say(f"create the secret {parts.options.secret_id}")
    try:
        parts.store.make(parts.options.tags)
    except Denied as exc:
        first = denied or exc
        remedy = f"{first.remedy}; to create a missing secret: {FIRST_KEY}"
        raise Denied(first.exit, first.reason, remedy) from None
    except Conflict:
        if denied is not None:
            raise denied from None
        parts.say("another run has just created it")


def warn(line: str) -> None:
    """Print a warning to standard error."""
    print(f"sidecar: {line}", file=sys.stderr)


def show(parts: RotationDependencies) -> None:
    """Print a table of the keys."""
    facts = read_facts(parts, warn)
    rows = [HEADINGS, *(_row(facts, key) for key in facts.keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        parts.say("  ".join(cells).rstrip())


def _row(facts: RotationFacts, key: ApiKey) -> tuple[str, ...]:
    """Return the row of a key: ids and names only."""
    use = ", ".join(uses_of(facts, key.key_id))
    if not use and key.live and facts.naming.ours(key.name):
        use = "left by a rotation: sidecar rotate revokes it"
    state = "live" if key.live else "dead"
    return key.key_id, key.name, key.created, state, use
