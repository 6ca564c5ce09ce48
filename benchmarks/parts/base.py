"""What every part is told, and what it gives: rows that are written down as JSON."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks import load, measure
from benchmarks.lab import Lab
from benchmarks.load import SHAPES, Shape
from benchmarks.peers import PEERS, Peer, Setup, Started

Row = dict[str, Any]
MIB: Final = 2**20
SETTLE_SECONDS: Final = 1.5
"""After its start a proxy still tidies up; then it is measured."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    peers: tuple[str, ...] = tuple(PEERS)
    shapes: tuple[str, ...] = tuple(SHAPES)
    rounds: int = 3
    seconds: int = 4
    """Of each load."""
    rates: tuple[int, ...] = (100, 1000)
    """Calls per second of the open loop."""
    rate_seconds: int = 10
    connections: tuple[int, ...] = (1, 8, 64, 512, 5000)
    idle_connections: int = 5000
    sizes: tuple[str, ...] = ("1KB", "10KB", "100KB", "1MB", "10MB")
    reload_seconds: float = 10.0
    """From a revocation until somebody reloads the proxy."""
    settle_seconds: float = SETTLE_SECONDS
    say: Callable[[str], None] = print

    def chosen(self) -> list[Peer]:
        """Return the proxies to measure."""
        return [PEERS[name] for name in self.peers]

    def quick(self) -> "Plan":
        """Return the plan that shows that everything works; its figures are noise."""
        return replace(
            self,
            shapes=("c1", "c32"),
            rounds=1,
            seconds=1,
            rates=(200,),
            rate_seconds=1,
            connections=(1, 64),
            idle_connections=200,
            sizes=("1KB", "1MB"),
            reload_seconds=1.0,
            settle_seconds=0.3,
        )


class Numbers:
    """Numbers one after another, for directories that nobody used before."""

    def __init__(self) -> None:
        self._next = 0

    def setup(self, lab: Lab, peer: Peer, **options: Any) -> Setup:
        """Return a set-up in a directory of its own, before the API with TLS."""
        self._next += 1
        directory = lab.directory / f"{peer.name}-{self._next}"
        return Setup(directory, options.pop("target", lab.tls), **options)


def loaded(started: Started, shape: Shape, seconds: int, lab: Lab) -> Row:
    """Load a proxy and return what wrk saw and what it cost; microseconds, MiB."""
    pid = started.process.pid
    before = measure.cpu(pid)
    report = load.run(started.setup.port, shape, seconds, lab.directory)
    spent = measure.spent_us(before, measure.cpu(pid))
    return {
        "rate": report.rate,
        "p50": report.p50,
        "p99": report.p99,
        "cpu": spent / max(report.requests, 1),
        "bad": report.bad,
        "errors": report.errors,
        "loaded": measure.pss_bytes(pid) / MIB,
    }


def settled(started: Started, plan: Plan) -> float:
    """Let a proxy come to rest; returns its memory in MiB."""
    time.sleep(plan.settle_seconds)
    return measure.pss_bytes(started.process.pid) / MIB


def summary(rows: Sequence[Row], add: Iterable[str] = ("bad", "errors")) -> Row:
    """Return the medians of rows; what went wrong is added up."""
    summed = set(add)
    found: Row = {
        name: (sum if name in summed else statistics.median)(row[name] for row in rows)
        for name in rows[0]
    }
    found["cpu_min"] = min((row["cpu"] for row in rows), default=0.0)
    return found


def grouped(rows: Iterable[Row], *keys: str) -> Iterator[tuple[Row, list[Row]]]:
    """Group rows by some of their columns, in the order in which they come."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        rest = {name: value for name, value in row.items() if name not in keys}
        groups.setdefault(tuple(row[key] for key in keys), []).append(rest)
    for values, members in groups.items():
        yield dict(zip(keys, values, strict=True)), members


def medians(rows: Iterable[Row], *keys: str) -> list[Row]:
    """Return one row per group, with the medians of the rest."""
    return [{**key, **summary(members)} for key, members in grouped(rows, *keys)]
