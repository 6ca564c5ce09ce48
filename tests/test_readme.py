"""
The README is true: what it tells to type works, what it lists is complete.

Every line of its `sh` blocks is run here against a real sidecar, except what CI itself
runs (`make ...`). A command that this file does not know fails.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.emulator.aws import ENVIRONMENT
from sidecar.errors import STATUS, Exit
from sidecar.settings.loading import load
from sidecar.settings.values import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.emulator.api import EmulatedApi
    from sidecar.emulator.aws import AwsClient
    from tests.support.processes import SidecarProcess

ROOT: Final = Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text()
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SIDECAR: Final = Path(sys.executable).with_name("sidecar")


def blocks(language: str) -> list[str]:
    """Find the code blocks of a language."""
    return [text for found, text in BLOCK.findall(README) if found == language]


def commands(first: str) -> list[str]:
    """Find the lines of `sh` blocks that begin with a word."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line]
    return [line for line in lines if line.split()[0] == first]


def test_every_command_is_of_a_kind_that_is_tried() -> None:
    """A new kind of command needs a new test."""
    known = {"curl", "make", "sidecar"}

    assert {
        line.split()[0] for block in blocks("sh") for line in block.splitlines()
    } <= (known)


@pytest.mark.parametrize("line", commands("make"))
def test_a_make_target_exists(line: str) -> None:
    """What `make` is told to make, it knows."""
    target = line.split()[1]

    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_settings_example_loads(tmp_path: Path) -> None:
    """The TOML to copy says what the text around it says."""
    file = tmp_path / "sidecar.toml"
    file.write_text(blocks("toml")[0])

    settings = load(file, {})

    assert settings.upstreams["flownally"].listen == Address("127.0.0.1", 8700)
    assert settings.admin.listen == Address("127.0.0.1", 8701)


def test_the_table_of_refusals_is_complete() -> None:
    """Each code is listed beside its status."""
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", README, re.MULTILINE)
    listed = {
        code: int(status)
        for status, row in rows
        for code in re.findall(r"`(\w+)`", row)
    }

    assert listed == {str(code): status for code, status in STATUS.items()}


def test_the_exit_codes_are_all_told() -> None:
    """The README knows every exit code."""
    (line,) = re.findall(r"^Exit codes: (.*)\.$", README, re.MULTILINE)

    assert [int(part.split()[0]) for part in line.split("; ")] == list(Exit)


class Reader:
    """
    Somebody who types what the README says, in a directory with `sidecar.toml`.

    The example's addresses become those of the emulators and of free ports: by
    variables, which win over the file.
    """

    def __init__(self, directory: Path, variables: dict[str, str]) -> None:
        self._directory = directory
        self.variables = variables
        self._ports: dict[str, str] = {}

    def found(self, port: str, address: str) -> None:
        """Learn the real address behind a port of the README."""
        self._ports[f"127.0.0.1:{port}"] = address

    def types(self, line: str) -> str:
        """Run a line; it must succeed. Returns what it printed."""
        for written, address in self._ports.items():
            line = line.replace(written, address)
        words = shlex.split(line)
        if words[0] == "sidecar":
            words[0] = str(SIDECAR)
        if words[0] == "curl":
            words[1:1] = ["--silent", "--show-error", "--fail", "--noproxy", "*"]
        done = subprocess.run(
            words,
            cwd=self._directory,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout


def test_a_new_user_follows_the_readme(
    api: "EmulatedApi",
    moto: "AwsClient",
    sidecar_process: "Callable[..., SidecarProcess]",
) -> None:
    """Settings as they stand, then each command in its order, to a clean end."""
    example: dict[str, Any] = tomllib.loads(blocks("toml")[0])
    key = api.issue().key
    moto.put_secret(example["upstreams"]["flownally"]["credential"]["secret_id"], key)
    variables = {
        "SIDECAR_UPSTREAMS__FLOWNALLY__BASE_URL": api.base_url,
        "SIDECAR_UPSTREAMS__FLOWNALLY__CA_FILE": str(api.certificate.ca_file),
        "SIDECAR_UPSTREAMS__FLOWNALLY__LISTEN": "127.0.0.1:0",
        "SIDECAR_ADMIN__LISTEN": "127.0.0.1:0",
        "SIDECAR_AWS__ENDPOINT_URL": moto.endpoint,
        **ENVIRONMENT,
    }
    process = sidecar_process(example, env=variables)
    process.wait_ready()
    admin = process.address("admin")
    reader = Reader(
        process.config.parent, {**variables, "SIDECAR_ADMIN__LISTEN": admin}
    )
    reader.found("8700", process.address())
    reader.found("8701", admin)

    said = {
        line: reader.types(line)
        for line in [*commands("curl"), *commands("sidecar")]
        if not line.startswith("sidecar run")
    }

    assert json.loads(said["curl http://127.0.0.1:8700/contacts"])["data"]
    assert key not in "".join(said.values())
    assert process.wait() == Exit.OK
    assert list(said)[-1].startswith("sidecar quit")
