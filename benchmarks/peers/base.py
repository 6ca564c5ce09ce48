"""What every proxy that is measured can do."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from benchmarks.lab import CONNECTIONS, KEY, Target
from benchmarks.load import CONTACTS
from benchmarks.process import Running, free_port, wait_answer
from sidecar.emulator.aws import environment

UPSTREAM_CONNECTIONS: Final = 128
"""The sidecar's default."""
SPARE: Final = 1.2
"""Room beyond the connections that are asked for: for the ones that ask in between."""


@dataclass(frozen=True)
class Setup:
    """What a proxy is told, in our own words."""

    directory: Path
    """Its own."""
    target: Target
    port: int = field(default_factory=free_port)
    key: str = KEY
    connections: int = CONNECTIONS
    """It must hold so many from clients."""

    @property
    def crowded(self) -> bool:
        """
        There may be more clients than one would open connections to an API.

        The sidecar never opens more than 128 unless told to; in a crowd those that
        can are told the same, as handshakes would be all that is measured.
        """
        return self.connections > CONNECTIONS


class Peer(Protocol):
    """A proxy: frozen, and without state between its methods."""

    @property
    def name(self) -> str:
        """The word for it in options and results."""

    @property
    def told(self) -> str:
        """What a reader is told."""

    @property
    def needs(self) -> Sequence[str]:
        """Its programs."""

    def command(self, setup: Setup) -> list[str]:
        """Write its configuration and return its command line."""

    def rekey(self, setup: Setup, running: Running) -> Running | None:
        """
        Do what a user does to give it the key of `setup`.

        Returns:
            The process that took the place of `running`, if one did.
        """


@dataclass
class Started:
    """A proxy that runs; `rekey` may put another process in its place."""

    peer: Peer
    setup: Setup
    process: Running

    def rekey(self, key: str) -> None:
        """Give it another key."""
        self.setup = replace(self.setup, key=key)
        self.process = self.peer.rekey(self.setup, self.process) or self.process


def launch(peer: Peer, setup: Setup) -> Running:
    """Start a proxy, and do not wait for it."""
    setup.directory.mkdir(parents=True, exist_ok=True)
    command = peer.command(setup)
    return Running(command, setup.directory / "log", env=variables())


def variables() -> dict[str, str]:
    """Return our environment without settings of ours and without a way to AWS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR")}
    return environment(kept)


@contextlib.contextmanager
def start(peer: Peer, setup: Setup) -> Iterator[Started]:
    """Run a proxy while the context is open; it has answered a call."""
    started = Started(peer, setup, launch(peer, setup))
    try:
        wait_answer(setup.port, CONTACTS, started.process)
        yield started
    finally:
        started.process.stop()
