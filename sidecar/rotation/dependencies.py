"""What a rotation is made of: a secret, an API, time, and somebody to tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sidecar.core.rotation.facts import ApiKey, Proof
from sidecar.core.secrecy.secret import Secret
from sidecar.rotation.options import Clock, RotationOptions
from sidecar.rotation.secret_document import CreatedKey
from sidecar.rotation.store import DescribedSecret, Read

Say = Callable[[str], None]
"""Takes one line for people."""
Tick = Callable[[float], None]
"""Takes the seconds that are left of a wait, about once a second."""


class VersionStore(Protocol):
    """What a rotation needs of a secret: see `sidecar.rotation.store.SecretStore`."""

    def describe(self) -> DescribedSecret:
        """Look at the labels."""

    def version_ids(self) -> frozenset[str]:
        """List every version, labelled or not."""

    def read(self, version_id: str) -> Read | None:
        """Read a version's value."""

    def put(self, token: str, value: Secret) -> None:
        """Store a value as AWSPENDING."""

    def promote(self, version_id: str, from_version_id: str) -> None:
        """Move AWSCURRENT."""

    def unmark(self, version_id: str) -> None:
        """Take AWSPENDING off a version."""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""

    def make(self, tags: Mapping[str, str]) -> None:
        """Make the secret, without a value."""


class KeyManagement(Protocol):
    """What a rotation needs of the API: see `sidecar.rotation.key_api.KeyApi`."""

    def create(self, name: str) -> CreatedKey:
        """Make a key."""

    def list_keys(self) -> tuple[ApiKey, ...]:
        """List the account's keys."""

    def revoke(self, key_id: str) -> bool:
        """Revoke a key; False = there is none."""

    def prove(self, secret: Secret) -> Proof:
        """Show a key to the API."""


def no_tick(left: float) -> None:
    """Say nothing of a wait."""
    del left


@dataclass(frozen=True, slots=True)
class RotationDependencies:
    """Everything that a run works with."""

    options: RotationOptions
    store: VersionStore
    keys: KeyManagement
    clock: Clock
    say: Say
    tick: Tick = no_tick
