"""
Builds the image and runs containers, without a daemon and without a registry of images.

The base image stands in for the official one: Debian trixie with its Python, made by
mmdebstrap. It is kept in ~/.cache/sidecar-image, so only the first run takes a minute.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.ops_tools import ROOT, tool

CACHE: Final = Path.home() / ".cache/sidecar-image"
BASE: Final = "docker.io/library/python:3.13-slim"
IMAGE: Final = "localhost/sidecar:test"
STORAGE: Final = (
    *("--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run")),
    *("--storage-driver", "overlay"),
)
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
RESTRICTED: Final = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=128m",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
)
"""As a restricted pod runs it, and with the limit of the chart."""


def _run(*command: str, check: bool = True) -> str:
    out = subprocess.PIPE
    done = subprocess.run(
        command,
        stdout=out,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout[-5000:]}")
    return done.stdout.strip()


def buildah(*command: str) -> str:
    """Run buildah on our own storage."""
    program = tool("buildah", "apt-get install buildah podman runc mmdebstrap")
    return _run(program, *STORAGE, *command)


def podman(*command: str, check: bool = True) -> str:
    """Run podman on our own storage."""
    program = tool("podman", "apt-get install buildah podman runc mmdebstrap")
    runtime = ("--runtime=runc", "--cgroup-manager=cgroupfs")
    return _run(program, *STORAGE, *runtime, *command, check=check)


def build() -> str:
    """Build the image from the Dockerfile, after its base where that is missing."""
    if os.geteuid() != 0:
        pytest.skip("the image is built by root: run the tests as root, or in CI")
    CACHE.mkdir(parents=True, exist_ok=True)
    if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        _build_base()
    certificates = f"{CERTIFICATES}:{CERTIFICATES}:ro"
    options = ("--layers", "--isolation=chroot", "--pull-never")
    buildah("build", *options, "--volume", certificates, "--tag", IMAGE, str(ROOT))
    return IMAGE


def _build_base() -> None:
    folder = CACHE / "base"
    folder.mkdir(exist_ok=True)
    program = tool("mmdebstrap", "apt-get install mmdebstrap")
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    archive = str(folder / "base.tar")
    _run(program, "--variant=minbase", f"--include={packages}", "trixie", archive)
    (folder / "Dockerfile").write_text(
        "FROM scratch\nADD base.tar /\n"
        "RUN ln -s /usr/bin/python3 /usr/local/bin/python\n"
    )
    buildah("build", "--isolation=chroot", "--tag", BASE, str(folder))
    (folder / "base.tar").unlink()


def inspect(thing: str) -> dict[str, Any]:
    """What podman knows of an image or a container."""
    found: dict[str, Any] = json.loads(podman("inspect", thing))[0]
    return found


@contextmanager
def container(name: str, *options: str) -> Iterator[str]:
    """A container in the background, which is taken away in the end."""
    podman("rm", "--force", "--ignore", name)
    podman("run", "--detach", "--name", name, *RESTRICTED, *options)
    try:
        yield name
    except BaseException as failure:
        failure.add_note(podman("logs", name, check=False))
        raise
    finally:
        podman("rm", "--force", "--time=1", name, check=False)
