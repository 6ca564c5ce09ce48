"""
The interface of a source of secrets: Secrets Manager or a file.

A source returns values unchanged; its user validates them. It raises only `SourceFailed`,
with a text of ours: the text of an SDK or of the system may contain a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sidecar.core.secrecy.secret import Unpicklable


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a secret, without any value."""

    current: str
    previous: str | None = None
    pending: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    changed: float | None = None
    """Unix seconds of the last change to the secret or its stages."""


@dataclass(frozen=True, slots=True)
class Fetched(Unpicklable):
    """One version's value."""

    raw: str | bytes = field(repr=False)
    """Bytes when the source holds a binary value; never in `repr`."""
    version_id: str
    created: float | None = None
    """Unix seconds of the version's creation, if known."""


class Source(Protocol):
    """A place where a secret is stored."""

    kind: str
    """`secrets_manager` or `file`; the metric label `source`."""
    poll_seconds: float | None
    """Seconds between two calls of `moved`; None: it is never called."""

    async def describe(self) -> Versions:
        """Return the versions. Raises `SourceFailed`."""

    async def fetch(self, stage: str) -> Fetched:
        """Return the value at a stage: `AWSCURRENT`, ... Raises `SourceFailed`."""

    async def moved(self) -> bool:
        """Return cheaply whether the secret may have changed. Never raises."""

    async def close(self) -> None:
        """Release threads and connections."""
