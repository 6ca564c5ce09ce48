"""
What a source of keys can do, whatever it is.

A source gives values as they are; the rules for keys are the reader's. It raises
`SourceFailed` and nothing else, in words of ours: the text of an SDK or of the system
may hold what must not be told.
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
    """Unix seconds at which the version was made, where the source tells."""


class Source(Protocol):
    """Where a secret comes from."""

    kind: str
    """`secrets_manager` or `file`; the metric label `source`."""
    poll_seconds: float | None
    """How often `moved` is worth asking; None: never."""

    async def describe(self) -> Versions:
        """Name the versions. Raises `SourceFailed`."""

    async def fetch(self, stage: str) -> Fetched:
        """Return the value at a stage: `AWSCURRENT`, ... Raises `SourceFailed`."""

    async def moved(self) -> bool:
        """Tell cheaply whether a look is worth the while. Never raises."""

    async def close(self) -> None:
        """Give back threads and connections."""
