"""
The document of `/status`: the state of every key and of the process.

Rule 1: it holds no secret. Keys appear as fingerprints, errors as the sidecar's own texts.
Rule 2: times are Unix seconds, as in the metrics; an unknown value is null, never 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.admin.health import HealthFacts, readyz
from sidecar.credential.reporter import CredentialStatus

Document = dict[str, object]

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The `[job]` table of the settings."""

    name: str
    environment: str
    owner: str | None = None
    rotate_every_days: int | None = None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The counts of one upstream since the process started."""

    answers: Mapping[str, int] = field(default_factory=dict)
    """Responses of the API by class: 2xx, 401, 403, other."""
    recovered: Mapping[str, int] = field(default_factory=dict)
    """401s that the service never received, by how they were recovered."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Calls that the sidecar answered itself, by error code."""
    inflight: int = 0
    by_key: Mapping[str, int] = field(default_factory=dict)
    """Fingerprint of a key -> calls that carried it, the oldest key first."""


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One upstream, its key and its calls."""

    name: str
    base_url: str
    listen: str
    key: CredentialStatus
    calls: CallFacts
    history: Mapping[str, object] = field(default_factory=dict)
    """`History.as_document`: the last hour by minutes, and the events."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The versions, the start and the hardening of the process."""

    version: str
    python: str
    started: float
    """Unix seconds."""
    posture: Mapping[str, bool | int] = field(default_factory=dict)
    """The result of `sidecar.hardening`."""


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
    Return the document of `/status`.

    Args:
        job: The job as in the settings.
        process: The process that runs.
        upstreams: The upstreams in the order of the settings.
        facts: What the probes depend on.
        now: Unix seconds.
        webhooks: Endpoint -> result -> deliveries since the process started.
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
    """Return a time to the millisecond; None for one that JSON cannot hold."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return round(seconds, 3)


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts without those that are 0."""
    return {str(name): number for name, number in counts.items() if number}


def _days(created: float | None, now: float) -> float | None:
    """Return the age of a key; the source's clock may be ahead of this one."""
    return None if created is None else round(max(now - created, 0) / DAY_SECONDS, 1)
