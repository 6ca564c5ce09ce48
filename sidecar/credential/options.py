"""What a keeper is told, and what it tells."""

from dataclasses import dataclass, field
from typing import Protocol

from sidecar.core.keylife.messages import State
from sidecar.core.secrecy.secret import Credential, SecretRules
from sidecar.errors import RefreshResult


@dataclass(frozen=True, slots=True)
class CredentialManagerOptions:
    """How the key of one upstream is kept."""

    upstream: str
    """The name of its table in the settings; the metric label."""
    rules: SecretRules = field(default_factory=SecretRules)
    refresh_seconds: float = 300.0
    max_stale_seconds: float = 0.0
    """0: the last good key is served for ever."""
    rotate_every_days: float | None = None
    """The age at which a key should have been replaced."""


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """What can be told of a key, at one moment; times are Unix seconds."""

    state: State
    source: str
    """`secrets_manager` or `file`."""
    fingerprint: str | None = None
    """Of the key in use, whether it is given out or expired."""
    generation: int = 0
    since: float | None = None
    """When the key came into use."""
    created: float | None = None
    """When the source made it, where it tells."""
    rotate_before: float | None = None
    """When it should have been replaced, where that is set."""
    refreshed: float | None = None
    """When the source last answered."""
    next_refresh: float | None = None
    last_error: str | None = None
    """Why the last look failed or what is wrong with the newest key."""
    remedy: str | None = None
    candidate: str | None = None
    """The fingerprint of a key that is not proven yet."""
    candidate_rejected: bool = False
    previous: str | None = None
    """The fingerprint of the key to fall back to."""


class CredentialMetrics(Protocol):
    """The numbers about one key; `sidecar.metrics` has them."""

    def state(self, state: str) -> None:
        """Set the state."""

    def unexpected_event(self) -> None:
        """Count an event of the key life that the rules do not expect."""

    def info(self, source: str, fingerprint: str) -> None:
        """Name the key in use."""

    def since(self, timestamp: float) -> None:
        """Set when the key came into use."""

    def created(self, timestamp: float | None) -> None:
        """Set when the source made the key."""

    def refreshed(self, timestamp: float) -> None:
        """Set when the source last answered."""

    def rotate_before(self, timestamp: float | None) -> None:
        """Set when the key becomes too old."""

    def refresh(self, result: RefreshResult) -> None:
        """Count a look."""

    def cutover(self, result: str, seconds: float | None = None) -> None:
        """Count a change of keys; seconds from its making to its use."""


class Prober(Protocol):
    """Asks the API about a key."""

    async def __call__(self, credential: Credential) -> bool | None:
        """Return True: proven; False: refused with 401; None: no answer."""
