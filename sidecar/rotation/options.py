"""The options of a rotation, made from the settings by `assemble`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.core.rotation.key_naming import KeyNaming
from sidecar.core.secrecy.secret import SecretRules
from sidecar.settings.tables import SecretSettings


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, handed in: a test's hour takes no hour."""

    now: Callable[[], float]
    """Unix seconds, for what others have dated."""
    monotonic: Callable[[], float]
    """Seconds that no one can set, for what we measure."""
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """How keys are managed at the API; operations are `METHOD /path` under `base_url`."""

    base_url: str
    ca_file: Path | None = None
    account: str
    """The service account: `{id}` in the operations."""
    create_operation: str = "POST /service-accounts/{id}/api-keys"
    list_operation: str = "GET /service-accounts/{id}/api-keys"
    revoke_operation: str = "DELETE /service-accounts/{id}/api-keys/{key_id}"
    name_field: str = "name"
    """Empty = keys have no names; then keys of runs that died cannot be found again."""
    id_field: str = "id"
    key_field: str = "key"
    list_field: str = "data"
    """Empty = the answer is the list itself."""
    probe: str = ""
    """`METHOD /path`; empty = the list operation, to which a 403 is a proof as well."""
    call_seconds: float = 20.0
    """For one call, from connecting to the last byte."""
    settle_seconds: float = 30.0
    """A new key may draw 401 for so long before it counts as refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOptions:
    """Everything that a rotation needs to know."""

    job: str
    secret_id: str
    rules: SecretRules
    """Of the job's key; `json_key` is needed: the key's id is stored beside it."""
    api: ApiOptions
    manager: SecretSettings
    """Where the key is that may manage keys."""
    grace_seconds: float = 600.0
    tags: Mapping[str, str] = field(default_factory=dict)
    """What the secret's tags are to say: service, owner, environment..."""

    def naming(self, secret_arn: str) -> KeyNaming:
        """Return how the keys of this job are named."""
        return KeyNaming(self.job, secret_arn)
