"""
Closed-loop load by wrk, and what its report says.

wrk measures from when it sends, so a stall hides the calls that it kept from being
sent: these latencies compare proxies at full load. What a service would see at a given
rate is measured by `benchmarks.openloop`.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.process import Cpu, pinned

UNITS: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
QUANTITY: Final = re.compile(r"([\d.]+)(us|ms|s|m|h)")
TIMEOUT_SECONDS: Final = 10
GRACE_SECONDS: Final = 60.0
"""wrk ends late when thousands of connections are to be opened first."""


@dataclass(frozen=True)
class Shape:
    """A kind of load."""

    path: str
    connections: int
    body: int = 0
    """Bytes of a POST's body; 0 = GET."""
    told: str = ""
    """What a reader is told."""


CONTACTS: Final = "/contacts"
SHAPES: Final = {
    "c1": Shape(CONTACTS, 1, told="1 KB answers, 1 connection"),
    "c32": Shape(CONTACTS, 32, told="1 KB answers, 32 connections"),
    "c256": Shape(CONTACTS, 256, told="1 KB answers, 256 connections"),
    "post": Shape(CONTACTS, 32, 2048, told="POST of 2 KiB, 32 connections"),
    "1MB": Shape("/1MB", 8, told="1 MB answers, 8 connections"),
    "10MB": Shape("/10MB", 4, told="10 MB answers, 4 connections"),
}


@dataclass(frozen=True)
class Report:
    """What wrk reports; latencies in microseconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    bad: int
    """Answers that were neither 2xx nor 3xx."""
    errors: int
    """Connections that could not be made, reads and writes that failed, timeouts."""


class NotWrk(ValueError):
    """This is no report of wrk."""


def run(port: int, shape: Shape, seconds: int, directory: Path) -> Report:
    """Load a port; `directory` is for the script that a body needs."""
    command = [
        "wrk",
        "-t1",
        f"-c{shape.connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        f"{TIMEOUT_SECONDS}s",
    ]
    if shape.body:
        script = directory / f"post-{shape.body}.lua"
        script.write_text(post_script(shape.body))
        command += ["-s", str(script)]
    done = subprocess.run(
        pinned(Cpu.LOAD, [*command, f"http://127.0.0.1:{port}{shape.path}"]),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + GRACE_SECONDS,
    )
    return parse(done.stdout + done.stderr)


def post_script(size: int) -> str:
    """Write wrk's orders to POST a JSON array of so many bytes."""
    item = '{"name":"x"},'
    items, rest = divmod(size - 2, len(item))
    padding = " " * (rest + 1)  # in place of the last comma
    text = "[" + (item * items)[:-1] + padding + "]"
    return (
        'wrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{text}]==]\n"
    )


def parse(output: str) -> Report:
    """Read what `wrk --latency` prints. Raises `NotWrk`."""
    requests = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p50 = re.search(r"^\s+50%\s+(\S+)", output, re.MULTILINE)
    p99 = re.search(r"^\s+99%\s+(\S+)", output, re.MULTILINE)
    if not (requests and rate and p50 and p99):
        raise NotWrk(output[-400:] or "wrk said nothing")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: (.*)", output)
    return Report(
        requests=int(requests[1]),
        rate=float(rate[1]),
        p50=microseconds(p50[1]),
        p99=microseconds(p99[1]),
        bad=int(bad[1]) if bad else 0,
        errors=sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0,
    )


def microseconds(text: str) -> float:
    """Read a duration as wrk writes it: `175.00us`, `1.20ms`, `1.03s`."""
    match = QUANTITY.fullmatch(text)
    if not match:
        raise NotWrk(text)
    return float(match[1]) * UNITS[match[2]]
