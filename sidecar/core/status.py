"""
The document behind `/status`: what people ask first when something is wrong.

Rule 1: nothing in it is secret. Keys are named by fingerprints, errors by our own texts.
Rule 2: times are RFC 3339 in UTC; what is not known is null, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from sidecar.core.health import Facts, readyz

Document = dict[str, object]

DAY_SECONDS: Final = 86_400


class KeyStatus(Protocol):
    """What a keeper tells of one key (`credential.options.KeeperStatus`)."""

    @property
    def state(self) -> str:
        """The state of the credential."""

    @property
    def source(self) -> str:
        """The kind of its source."""

    @property
    def fingerprint(self) -> str | None:
        """Of the key in use."""

    @property
    def since(self) -> float | None:
        """When it came into use, in Unix seconds as all times here."""

    @property
    def created(self) -> float | None:
        """When the source made it."""

    @property
    def rotate_before(self) -> float | None:
        """When it should have been replaced."""

    @property
    def refreshed(self) -> float | None:
        """When the source last answered."""

    @property
    def next_refresh(self) -> float | None:
        """When it will be asked again."""

    @property
    def last_error(self) -> str | None:
        """What is wrong."""

    @property
    def remedy(self) -> str | None:
        """What to do about it."""

    @property
    def candidate(self) -> str | None:
        """The fingerprint of a key that is not proven yet."""

    @property
    def previous(self) -> str | None:
        """The fingerprint of the key to fall back to."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The `[job]` of the settings."""

    name: str
    environment: str
    owner: str | None = None
    rotate_every_days: int | None = None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The numbers of one upstream since the process began."""

    answers: Mapping[str, int] = field(default_factory=dict)
    """Answers of the API by class: 2xx, 401, 403, other."""
    recovered: Mapping[str, int] = field(default_factory=dict)
    """401s that the service never saw, by how."""
    rejections: Mapping[str, int] = field(default_factory=dict)
    """Calls that the sidecar answered itself, by code."""
    inflight: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One upstream, its key and its calls."""

    name: str
    base_url: str
    listen: str
    key: KeyStatus
    calls: CallFacts


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The process itself."""

    version: str
    python: str
    started: float
    """Unix seconds."""
    posture: Mapping[str, bool | int] = field(default_factory=dict)
    """How well it guards its memory, see `sidecar.posture`."""


def status_document(
    job: JobFacts,
    process: ProcessFacts,
    upstreams: Sequence[UpstreamFacts],
    facts: Facts,
    now: float,
) -> Document:
    """
    Build the document.

    Args:
        job: What the settings say.
        process: What runs.
        upstreams: In the order of the settings.
        facts: What the probes go by.
        now: Unix seconds.
    """
    health = readyz(facts)
    return {
        "now": _moment(now),
        "version": process.version,
        "python": process.python,
        "started": _moment(process.started),
        "process": dict(process.posture),
        "job": {
            "name": job.name,
            "environment": job.environment,
            "owner": job.owner,
            "rotate_every_days": job.rotate_every_days,
        },
        "ready": health.ok,
        "reasons": list(health.reasons),
        "draining": facts.draining,
        "upstreams": {one.name: _upstream(one, now) for one in upstreams},
    }


def _upstream(facts: UpstreamFacts, now: float) -> Document:
    """One upstream."""
    key, calls = facts.key, facts.calls
    return {
        "base_url": facts.base_url,
        "listen": facts.listen,
        "source": key.source,
        "state": str(key.state),
        "fingerprint": key.fingerprint,
        "since": _moment(key.since),
        "created": _moment(key.created),
        "age_days": _days(key.created, now),
        "rotate_before": _moment(key.rotate_before),
        "overdue": key.rotate_before is not None and now > key.rotate_before,
        "last_refresh": _moment(key.refreshed),
        "next_refresh": _moment(key.next_refresh),
        "last_error": key.last_error,
        "remedy": key.remedy,
        "candidate": key.candidate,
        "previous": key.previous,
        "answers": dict(calls.answers),
        "recovered": dict(calls.recovered),
        "rejections": {str(code): n for code, n in calls.rejections.items() if n},
        "inflight": calls.inflight,
    }


def _moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to the second; null for a time that no calendar has."""
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _days(created: float | None, now: float) -> float | None:
    """The age of a key; a source's clock may be ahead of ours."""
    return None if created is None else round(max(now - created, 0) / DAY_SECONDS, 1)
