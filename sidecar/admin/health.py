"""
The responses to the probes of Kubernetes.

Rule 1: liveness only means that the event loop runs. A restart helps against a stuck loop,
and against no other known fault.
Rule 2: startup is complete once every upstream has had a key, and stays complete. In a pod
it delays the application until its first call can succeed.
Rule 3: readiness is about the sidecar, never about the API. An outage of the API must not
restart pods or take them out of service.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """What the probes depend on at one upstream."""

    name: str
    state: str
    """The state of its credential."""
    had_key: bool
    """It has had a key since the process started."""
    usable: bool
    """It has a key that calls may carry now."""


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """What the probes depend on."""

    upstreams: Sequence[UpstreamHealth] = ()
    draining: bool = False
    leaks: Sequence[str] = ()
    """Paths of the log on which the canary was not redacted."""


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a probe: healthy unless there are reasons."""

    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the response is 200."""
        return not self.reasons

    def as_document(self) -> dict[str, object]:
        """Return the result for JSON."""
        if self.ok:
            return {"status": "ok"}
        return {"status": "unavailable", "reasons": list(self.reasons)}


def livez() -> Health:
    """Return a healthy result: the event loop runs this call."""
    return Health()


def startupz(facts: HealthFacts) -> Health:
    """Return whether every upstream has had a key."""
    return Health(
        tuple(
            f"upstream {one.name} has had no key yet"
            for one in facts.upstreams
            if not one.had_key
        )
    )


def readyz(facts: HealthFacts) -> Health:
    """Return whether calls may be sent to this sidecar."""
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
