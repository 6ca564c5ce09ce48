"""The options and the status of one credential."""

from dataclasses import dataclass, field

from sidecar.core.keylife.messages import State
from sidecar.core.secrecy.secret import SecretRules


@dataclass(frozen=True, slots=True)
class CredentialManagerOptions:
    """How the key of one upstream is managed."""

    upstream: str
    """The name of its table in the settings; the metric label."""
    rules: SecretRules = field(default_factory=SecretRules)
    refresh_seconds: float = 300.0
    max_stale_seconds: float = 0.0
    """0: the last good key is used without limit."""
    rotate_every_days: float | None = None
    """The age at which a key should be replaced."""


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """The status of a credential at one moment; times are Unix seconds."""

    state: State
    source: str
    """`secrets_manager` or `file`."""
    fingerprint: str | None = None
    """Of the key in use, also when it has expired."""
    generation: int = 0
    since: float | None = None
    """When the key came into use."""
    created: float | None = None
    """When the source created it, if known."""
    rotate_before: float | None = None
    """When it should be replaced, if `rotate_every_days` is set."""
    refreshed: float | None = None
    """When the source last answered."""
    next_refresh: float | None = None
    last_error: str | None = None
    """Why the last refresh failed, or what is wrong with the keys."""
    remedy: str | None = None
    candidate: str | None = None
    """The fingerprint of the candidate."""
    candidate_rejected: bool = False
    previous: str | None = None
    """The fingerprint of the fallback."""
