"""Ours: `sidecar run` with every default on, unless told otherwise."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.peers.base import SPARE, Setup
from benchmarks.process import HOST, Running
from sidecar.emulator.sidecar_process import to_toml

UPSTREAM: Final = "flownally"
ENVIRONMENT: Final = {
    "MALLOC_TRIM_THRESHOLD_": "4194304",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}
"""Variables of the image that change what is measured."""
PROGRAM: Final = (
    "import sys; sys.modules['rich'] = None; "
    "from sidecar.cli import main; sys.exit(main())"
)
"""
The sidecar without rich, as in the image: structlog imports rich if it is installed, as
import-linter requires it, and that takes 3.6 MiB.
"""


@dataclass(frozen=True)
class Ours:
    """
    The sidecar.

    `changes` are nested settings; `credential` takes the place of the key file, and
    then nobody needs to tell the sidecar of a new key.
    """

    name: str = "ours"
    told: str = "**sidecar**"
    needs: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    credential: Mapping[str, Any] | None = None

    def command(self, setup: Setup) -> list[str]:
        """Write `sidecar.toml`, and the file with the key."""
        config = setup.directory / "sidecar.toml"
        config.write_text(to_toml(merge(self.settings(setup), self.changes)))
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        run = [sys.executable, "-c", PROGRAM, "run", "--config", str(config)]
        return ["env", *variables, *run]

    def rekey(self, setup: Setup, running: Running) -> None:
        """Rename a new key file into place; a secret's sidecar is told nothing."""
        running.must_run()
        if self.credential is None:
            write_key(setup)

    def settings(self, setup: Setup) -> dict[str, Any]:
        """Return the settings: what has no default, and no more."""
        upstream: dict[str, Any] = {
            "listen": f"{HOST}:{setup.port}",
            "base_url": setup.target.base_url,
        }
        if setup.target.ca_file is not None:
            upstream["ca_file"] = str(setup.target.ca_file)
        if setup.crowded:
            most = int(setup.connections * SPARE)
            upstream["limits"] = {"max_connections": most}
        if self.credential is None:
            write_key(setup)
        chosen = self.credential or {"file": str(setup.directory / "key")}
        return {
            "job": {"name": "development-bench", "environment": "development"},
            "upstreams": {UPSTREAM: {**upstream, "credential": dict(chosen)}},
            "admin": {"listen": f"{HOST}:0"},
        }


def write_key(setup: Setup) -> None:
    """Write the key and rename it into place."""
    part = setup.directory / "key.part"
    part.write_text(setup.key + "\n")
    part.chmod(0o600)
    part.replace(setup.directory / "key")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings."""
    merged = dict(base)
    for name, value in changes.items():
        inner = merged.get(name)
        nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[name] = merge(merged[name], value) if nested else value
    return merged
