"""
The document behind `/status`: what people ask first when something is wrong.

Rule 1: nothing in it is secret. Keys are named by fingerprints, errors by our own texts.
Rule 2: times are Unix seconds, as in the metrics; what is not known is null, never 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sidecar.admin.health import HealthFacts, readyz

Document = dict[str, object]

DAY_SECONDS: Final = 86_400


class KeyStatus(Protocol):
    """What a keeper tells of one key (`credential.reporter.CredentialStatus`)."""

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
    def candidate_rejected(self) -> bool:
        """Whether the API refused that key."""

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
    refused: Mapping[str, int] = field(default_factory=dict)
    """Calls that the sidecar answered itself, by code."""
    inflight: int = 0
    by_key: Mapping[str, int] = field(default_factory=dict)
    """Fingerprint of a key -> calls that it answered, the oldest key first."""


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One upstream, its key and its calls."""

    name: str
    base_url: str
    listen: str
    key: KeyStatus
    calls: CallFacts
    history: Mapping[str, object] = field(default_factory=dict)
    """`History.as_document`: the last hour by minutes, and its events."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The process itself."""

    version: str
    python: str
    started: float
    """Unix seconds."""
    posture: Mapping[str, bool | int] = field(default_factory=dict)
    """How well it guards its memory, see `sidecar.hardening`."""


def status_document(
    job: JobFacts,
    process: ProcessFacts,
    upstreams: Sequence[UpstreamFacts],
    facts: HealthFacts,
    now: float,
    *,
    webhooks: Mapping[str, Mapping[str, int]] | None = None,
) -> Document:
    """
    Build the document.

    Args:
        job: What the settings say.
        process: What runs.
        upstreams: In the order of the settings.
        facts: What the probes go by.
        now: Unix seconds.
        webhooks: Endpoint -> result -> deliveries since the process began.
    """
    health = readyz(facts)
    return {
        "now": _moment(now),
        "started": _moment(process.started),
        "sidecar": {"version": process.version, "python": process.python},
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
        "webhooks": {name: _counted(found) for name, found in (webhooks or {}).items()},
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
        "refreshed": _moment(key.refreshed),
        "next_refresh": _moment(key.next_refresh),
        "last_error": key.last_error,
        "remedy": key.remedy,
        "candidate": key.candidate,
        "candidate_rejected": key.candidate_rejected,
        "previous": key.previous,
        "answers": dict(calls.answers),
        "recovered": dict(calls.recovered),
        "refused": _counted(calls.refused),
        "inflight": calls.inflight,
        "by_key": dict(calls.by_key),
        **facts.history,
    }


def _moment(seconds: float | None) -> float | None:
    """A time to the millisecond; null for one that JSON cannot hold."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return round(seconds, 3)


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by name, without those that are 0."""
    return {str(name): number for name, number in counts.items() if number}


def _days(created: float | None, now: float) -> float | None:
    """The age of a key; a source's clock may be ahead of ours."""
    return None if created is None else round(max(now - created, 0) / DAY_SECONDS, 1)
