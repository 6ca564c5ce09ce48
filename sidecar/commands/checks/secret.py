"""Checks of a secret: access, shape, tags, age and file mode."""

import asyncio
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.commands.checks.finding import Finding, failed, passed, warned
from sidecar.core.keylife.messages import VersionStage
from sidecar.core.secrecy.secret import (
    Secret,
    SecretRules,
    fingerprint_of,
    parse_secret,
)
from sidecar.credential.sources.base import Source, Versions
from sidecar.errors import Exit, SecretRejected, SourceFailed
from sidecar.rotation.assemble import tags_of
from sidecar.settings.model import Settings
from sidecar.settings.tables import JobSettings, SecretSettings

READ_SECONDS: Final = 20.0
"""Longer than the limits of every source."""
DAY_SECONDS: Final = 86400
OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class SecretReading:
    """The result of reading a secret."""

    name: str
    """Label of the findings."""
    findings: list[Finding]
    value: Secret | None = field(default=None, repr=False)
    """None = there is none, or it breaks a rule."""
    versions: Versions | None = None
    created: float | None = None


async def read_secret(
    name: str, where: str, source: Source, rules: SecretRules
) -> SecretReading:
    """
    Read a secret and check its shape.

    Args:
        name: label of the findings.
        where: name, ARN or path of the secret.
        source: reads the secret; closed at the end.
        rules: rules for the value.
    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            versions = await source.describe()
            fetched = await source.fetch(VersionStage.CURRENT)
    except SourceFailed as exc:
        return SecretReading(
            name, [failed(name, exc.reason, exc.remedy, Exit.CREDENTIAL)]
        )
    except TimeoutError:
        remedy = "check the network between this machine and the secret"
        return SecretReading(name, [failed(name, "no answer", remedy, Exit.CREDENTIAL)])
    finally:
        await source.close()

    version = fingerprint_of(fetched.version_id)
    reached = passed(name, f"{where}, version {version}")
    label = f"{name} shape"
    try:
        value = parse_secret(fetched.raw, rules)
    except SecretRejected as exc:
        broken = failed(label, exc.rule, exc.remedy, Exit.CREDENTIAL)
        return SecretReading(name, [reached, broken])
    shaped = passed(label, "valid as a header value")
    return SecretReading(name, [reached, shaped], value, versions, fetched.created)


def check_record(
    reading: SecretReading, settings: Settings, secret: SecretSettings, now: float
) -> Iterator[Finding]:
    """Check tags, age, an unfinished rotation, and the mode of a file."""
    name = reading.name
    if secret.file is not None:
        yield from _mode(name, secret.file)
    if secret.secret_id is None or reading.versions is None:
        return
    yield from _tags(name, settings.job, secret.secret_id, reading.versions.tags)
    if reading.versions.pending not in {None, reading.versions.current}:
        yield warned(
            f"{name} rotation",
            "a rotation is unfinished: a version is labelled AWSPENDING",
            "run `sidecar rotate`: it continues the rotation",
        )
    yield from _age(name, settings.job, reading.created, now)


def _tags(
    name: str, job: JobSettings, secret_id: str, tags: Mapping[str, str]
) -> Iterator[Finding]:
    wanted = tags_of(job)
    wrong = {key: value for key, value in wanted.items() if tags.get(key) != value}
    if not wrong:
        yield passed(f"{name} tags", ", ".join(sorted(wanted)))
        return
    pairs = " ".join(f"Key={key},Value={value}" for key, value in wrong.items())
    yield warned(
        f"{name} tags",
        f"missing or different on the secret: {', '.join(wrong)}",
        f"aws secretsmanager tag-resource --secret-id {secret_id} --tags {pairs}",
    )


def _age(
    name: str, job: JobSettings, created: float | None, now: float
) -> Iterator[Finding]:
    if created is None:
        return
    days = max(0, int((now - created) // DAY_SECONDS))
    every = job.rotate_every_days
    if every is not None and days >= every:
        yield warned(
            f"{name} age",
            f"{days} days: due after {every}",
            "run `sidecar rotate`, or schedule it",
        )
    else:
        yield passed(f"{name} age", f"{days} days")


def _mode(name: str, file: Path) -> Iterator[Finding]:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # reading the secret has reported it
    if mode & OTHERS:
        yield warned(
            f"{name} file",
            f"mode {stat.S_IMODE(mode):04o}: others can read or change it",
            f"chmod 0400 {file} (in a pod: defaultMode: 0400)",
        )
    else:
        yield passed(f"{name} file", f"mode {stat.S_IMODE(mode):04o}")
