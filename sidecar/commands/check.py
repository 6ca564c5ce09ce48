"""
Check everything that a run needs; print a table, with a remedy for each problem.

Exit codes: 0 nothing fails, 2 settings, 3 credential or permission, 4 the API.
"""

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from sidecar.commands.checks.api import Api, check_api
from sidecar.commands.checks.finding import (
    Finding,
    exit_of,
    failed,
    passed,
    skipped,
    table,
)
from sidecar.commands.checks.host import check_listeners, check_process
from sidecar.commands.checks.job import check_job, check_narrow
from sidecar.commands.checks.secret import SecretReading, check_record, read_secret
from sidecar.commands.checks.webhook import check_service, check_signing
from sidecar.commands.support import settings_of
from sidecar.core.secrecy.secret import SecretRules
from sidecar.errors import Exit, SettingsInvalid
from sidecar.hardening import harden
from sidecar.settings.model import Settings
from sidecar.settings.tables import RotationSettings, SecretSettings
from sidecar.wiring import source_of

OFFLINE: Final = "not checked: --offline"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--offline",
        action="store_true",
        help="check this machine only: no AWS, no API",
    )


def run(args: argparse.Namespace) -> Exit:
    """Check, print the table, return the exit code of the worst failure."""
    # The table contains everything that the checks log.
    logging.getLogger("sidecar").addHandler(logging.NullHandler())
    findings = list(_all(args, os.environ, time.time()))
    for line in table(findings):
        print(line)
    return exit_of(findings)


def _all(
    args: argparse.Namespace, environ: Mapping[str, str], now: float
) -> Iterator[Finding]:
    try:
        settings = settings_of(args, environ)
    except SettingsInvalid as exc:
        for problem in exc.problems:
            remedy = f"for example: {problem.example}" if problem.example else ""
            yield failed(problem.path, problem.reason, remedy, Exit.USAGE)
        return
    yield passed("settings", "all are known and in range")
    yield from check_job(settings)
    for name in settings.upstreams:
        yield from check_narrow(settings, name)
    yield from check_listeners(settings)
    yield from check_process(harden(), os.geteuid(), environ)
    for name in settings.upstreams:
        yield from _upstream(settings, name, now, offline=args.offline)
    for name in settings.webhooks:
        yield from _webhook(settings, name, offline=args.offline)
    if settings.rotation is not None:
        yield from _rotation(settings, settings.rotation, offline=args.offline)


def _upstream(
    settings: Settings, name: str, now: float, *, offline: bool
) -> Iterator[Finding]:
    """Check an upstream's key, and the key against its API."""
    upstream = settings.upstreams[name]
    rules = upstream.credential.rules
    reading = _read_secret(
        f"{name}: secret", settings, upstream.credential, rules, offline
    )
    yield from reading.findings
    yield from check_record(reading, settings, upstream.credential, now)
    if offline:
        yield skipped(f"{name}: API", OFFLINE)
    else:
        yield from check_api(Api(name, upstream, rules, reading.value), now)


def _webhook(settings: Settings, name: str, *, offline: bool) -> Iterator[Finding]:
    """Check the signing secret and the service of an endpoint."""
    webhook = settings.webhooks[name]
    rules = SecretRules(json_key=webhook.json_key, scheme="")
    reading = _read_secret(f"{name}: secret", settings, webhook, rules, offline)
    yield from reading.findings
    if reading.value is not None:
        yield from check_signing(reading.name, reading.value)
    yield from check_service(name, webhook.forward_to)


def _rotation(
    settings: Settings, rotation: RotationSettings, *, offline: bool
) -> Iterator[Finding]:
    """Check the key with which keys are managed."""
    name = rotation.upstream or next(iter(settings.upstreams))
    # The key of another service account may have another prefix.
    rules = replace(
        settings.upstreams[name].credential.rules,
        json_key=rotation.credential.json_key,
        key_prefix="",
    )
    label = "rotation: secret"
    yield from _read_secret(
        label, settings, rotation.credential, rules, offline
    ).findings


def _read_secret(
    name: str,
    settings: Settings,
    secret: SecretSettings,
    rules: SecretRules,
    offline: bool,
) -> SecretReading:
    """Read a secret; one in AWS only if the network may be used."""
    if offline and secret.file is None:
        return SecretReading(name, [skipped(name, OFFLINE)])
    source = source_of(secret, settings.aws, lambda *_: None)
    where = secret.secret_id or str(secret.file)
    return asyncio.run(read_secret(name, where, source, rules))
