"""Checks of the settings: owner, schedule, allowed operations, key prefix, probe."""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.commands.checks.finding import Finding, passed, warned
from sidecar.settings.model import Settings
from sidecar.settings.tables import UpstreamSettings

PRODUCTION: Final = "production"
LIVE: Final = re.compile(r"(^|[_.-])(live|prod|production)([_.-]|$)", re.IGNORECASE)


def check_job(settings: Settings) -> Iterator[Finding]:
    """Check the owner and the rotation schedule."""
    job = settings.job
    yield passed("job", f"{job.name} ({job.environment})")
    if job.owner is None:
        yield warned("job owner", "no owner of the key is set", "set job.owner")
    if job.rotate_every_days is None:
        yield warned(
            "job rotation",
            "no rotation schedule is set",
            "set job.rotate_every_days, for example 90",
        )


def check_narrow(settings: Settings, name: str) -> Iterator[Finding]:
    """Check the allowed operations, the key prefix and the probe."""
    upstream = settings.upstreams[name]
    if upstream.allow is None:
        yield warned(
            f"{name}: operations",
            "every operation is allowed except `deny`",
            f"list what the job calls in upstreams.{name}.allow",
        )
    else:
        count = len(upstream.allow)
        yield passed(f"{name}: operations", f"{count} allowed, all others refused")
    yield from _key(settings.job.environment, name, upstream)


def _key(environment: str, name: str, upstream: UpstreamSettings) -> Iterator[Finding]:
    prefix = upstream.credential.key_prefix
    path = f"upstreams.{name}.credential"
    if prefix is None:
        yield warned(
            f"{name}: key prefix",
            "a key of another environment would be accepted",
            f"set {path}.key_prefix",
        )
    elif environment != PRODUCTION and LIVE.search(prefix):
        yield warned(
            f"{name}: key prefix",
            f"a {environment} job expects production keys",
            f"use a key of {environment}, and set {path}.key_prefix to its prefix",
        )
    else:
        yield passed(f"{name}: key prefix", prefix)
    if upstream.credential.probe is None:
        yield warned(
            f"{name}: proof",
            "a new key is used without a proof",
            f"set {path}.probe to a cheap call, for example GET /contacts?limit=1",
        )
