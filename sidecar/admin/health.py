"""
What the probes of Kubernetes are told.

Rule 1: liveness is only that somebody answers. A restart helps against a stuck loop,
and against nothing else that we know.
Rule 2: startup is a matter of the past: once every upstream has had a key, it stays so.
In a pod it holds the app back until its first call can succeed.
Rule 3: readiness is about us, never about the API: an outage there must not restart or
unlist the pods that wait for its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """What matters of one upstream."""

    name: str
    state: str
    """Of its credential."""
    had_key: bool
    """It has had a key since the process began."""
    usable: bool
    """It has a key now that calls may carry."""


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """What matters of the process."""

    upstreams: Sequence[UpstreamHealth] = ()
    draining: bool = False
    leaks: Sequence[str] = ()
    """Paths of the log that the canary survived."""


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to a probe: fine, unless there are reasons."""

    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the answer is 200."""
        return not self.reasons

    def as_document(self) -> dict[str, object]:
        """The same for JSON."""
        if self.ok:
            return {"status": "ok"}
        return {"status": "unavailable", "reasons": list(self.reasons)}


def livez() -> Health:
    """The loop answers: it has just done so."""
    return Health()


def startupz(facts: HealthFacts) -> Health:
    """Whether every upstream has had a key."""
    return Health(
        tuple(
            f"upstream {one.name} has had no key yet"
            for one in facts.upstreams
            if not one.had_key
        )
    )


def readyz(facts: HealthFacts) -> Health:
    """Whether calls may be sent here."""
    reasons = []
    if facts.draining:
        reasons.append("draining: the process is about to end")
    if facts.leaks:
        paths = ", ".join(facts.leaks)
        reasons.append(f"the log shows secrets (self test: {paths})")
    reasons += (
        f"upstream {one.name} has no usable key: {one.state}"
        for one in facts.upstreams
        if not one.usable
    )
    return Health(tuple(reasons))
