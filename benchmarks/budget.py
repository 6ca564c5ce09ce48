"""What the sidecar may cost, relative to the others, and what it does cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.names import OURS
from benchmarks.tables import Rows, table


@dataclass(frozen=True)
class Bound:
    """Ours over another's, at most; `aim` is what we would like."""

    shape: str
    figure: str
    peer: str
    must: float
    aim: float


BOUNDS: Final = (
    Bound("c32", "cpu", "envoy", 0.7, 0.5),
    Bound("c32", "cpu", "nginx", 1.75, 1.25),
    Bound("c1", "p50", "envoy", 0.8, 0.65),
    Bound("post", "cpu", "envoy", 0.8, 0.6),
    Bound("10MB", "cpu", "envoy", 1.3, 1.0),
    Bound("c256", "cpu", "envoy", 0.7, 0.5),
    Bound("c32", "loaded", "envoy", 0.8, 0.6),
    Bound("c32", "idle", "envoy", 0.8, 0.6),
)
START_SECONDS: Final = (1.0, 0.5)
"""CPU from nothing to the first call."""
IDLE_BYTES: Final = (6 * 1024, 3 * 1024)
"""Memory of an idle connection."""
CALLS_PER_DAY: Final = 300
"""To Secrets Manager, by one sidecar."""
WORDS: Final = {
    "cpu": "CPU per call",
    "p50": "p50",
    "p99": "p99",
    "loaded": "memory, loaded",
    "idle": "memory, idle",
}


def ratio(rows: Rows, shape: str, figure: str, peer: str) -> float | None:
    """Return ours over another's; None when one was not measured."""
    at = {row["peer"]: row[figure] for row in rows if row["shape"] == shape}
    ours, other = at.get(OURS), at.get(peer)
    return ours / other if ours is not None and other else None


def ratios(rows: Rows) -> str:
    """Write ours over each of the others, for each shape of load."""
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    peers = [p for p in dict.fromkeys(row["peer"] for row in rows) if p != OURS]
    cells = []
    for shape in shapes:
        for figure in ("cpu", "p50", "p99", "loaded"):
            found = [ratio(rows, shape, figure, peer) for peer in peers]
            cells.append(
                [f"{shape}, {WORDS[figure]}", *map(two_digits, found)],
            )
    return table(["the sidecar's over that of:", *peers], cells)


def two_digits(value: float | None) -> str:
    """Write a ratio."""
    return "" if value is None else f"{value:.2f}"


def check(found: Mapping[str, Any]) -> str:
    """Write what we hold ourselves to, and whether it is kept."""
    rows, cells = found.get("costs", ()), []
    for bound in BOUNDS:
        value = ratio(rows, bound.shape, bound.figure, bound.peer)
        if value is not None:
            what = f"{bound.shape}: {WORDS[bound.figure]} / {bound.peer}"
            cells.append(line(what, value, bound.must, bound.aim))
    singles = (
        ("startup", "cpu_seconds", "start, CPU s", START_SECONDS),
        ("idle", "bytes", "idle connection, bytes", IDLE_BYTES),
        ("revocation", "failed", "calls lost to a revocation", (0, 0)),
    )
    cells += [
        line(what, row[figure], *limits)
        for part, figure, what, limits in singles
        for row in found.get(part, ())
        if row["peer"] == OURS
    ]
    days = found.get("fleet", {}).get("days", ())
    what = "Secrets Manager calls per sidecar and day"
    limits = (CALLS_PER_DAY, CALLS_PER_DAY)
    cells += [line(what, row["most_pod_day"], *limits) for row in days[:1]]
    return table(["", "measured", "must", "aim", ""], cells)


def line(what: str, value: float, must: float, aim: float) -> list[str]:
    """Write one bound."""
    verdict = "aim" if value <= aim else "kept" if value <= must else "MISSED"
    return [what, f"{value:.4g}", f"{must:g}", f"{aim:g}", verdict]
