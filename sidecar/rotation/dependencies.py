"""The dependencies of a rotation: options, secret, key API, clock, and progress output."""

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.rotation.key_api import KeyApi
from sidecar.rotation.options import Clock, RotationOptions
from sidecar.rotation.store import SecretStore

Say = Callable[[str], None]
"""Takes one line for people."""
Tick = Callable[[float], None]
"""Takes the seconds that are left of a wait, about once a second."""


def no_tick(left: float) -> None:
    """Show no progress of a wait."""
    del left


@dataclass(frozen=True, slots=True)
class RotationDependencies:
    """The dependencies of a run."""

    options: RotationOptions
    store: SecretStore
    keys: KeyApi
    clock: Clock
    say: Say
    tick: Tick = no_tick
