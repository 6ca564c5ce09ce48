"""An aiohttp handler with a `ClientSession`: what one would write in an afternoon."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.base import Setup, variables
from benchmarks.process import Running

SCRIPT: Final = Path(__file__).with_name("handler_script.py")


@dataclass(frozen=True)
class Handler:
    """The script beside this file, in a process of its own."""

    name: str = "aiohttp"
    told: str = "aiohttp handler + ClientSession"
    needs: tuple[str, ...] = ()

    def command(self, setup: Setup) -> list[str]:
        """Write the key into a file, which the script reads once."""
        file = setup.directory / "key"
        file.write_text(setup.key)
        target = setup.target
        return [
            sys.executable,
            str(SCRIPT),
            f"--port={setup.port}",
            f"--base={target.base_url}",
            f"--ca={target.ca_file or ''}",
            f"--key-file={file}",
        ]

    def rekey(self, setup: Setup, running: Running) -> Running:
        """Restart it."""
        command = self.command(setup)
        running.stop()
        return Running(command, running.log, env=variables())
