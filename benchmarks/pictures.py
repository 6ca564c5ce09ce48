"""The plots of a run, by file name."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks import fleet
from benchmarks.lab import SIZES
from benchmarks.names import OURS, plain
from benchmarks.plots import Bar, Line, bars, lines
from benchmarks.tables import Rows, grouped

MAIN: Final = "c32"


def draw(found: Mapping[str, Any]) -> dict[str, str]:
    """Draw what was measured."""
    return dict(_draw(found))


def _draw(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Draw one after the other."""
    main = [row for row in found.get("costs", ()) if row["shape"] == MAIN]
    if main:
        yield "cpu.svg", cpu(main)
        yield "memory.svg", memory(main)
    if "revocation" in found:
        yield "revocation.svg", revocation(found["revocation"])
    for rate in dict.fromkeys(row["rate"] for row in found.get("latency", ())):
        mine = [row for row in found["latency"] if row["rate"] == rate]
        yield f"latency-{rate}.svg", latency(mine)
    if "connections" in found:
        yield "connections.svg", connections(found["connections"])
    if "sizes" in found:
        yield "sizes.svg", sizes(found["sizes"])
    if "fleet" in found:
        yield "fleet.svg", fleet.plot(found["fleet"])


def cpu(rows: Rows) -> str:
    """Draw the CPU per call."""
    found = [
        Bar(plain(row["peer"]), row["cpu"], ours=row["peer"] == OURS) for row in rows
    ]
    return bars(
        "CPU per call, 32 connections, 1 KB answers, TLS to the API", "us", found
    )


def memory(rows: Rows) -> str:
    """Draw memory, idle and loaded."""
    found = [
        Bar(plain(row["peer"]), row["idle"], row["loaded"], ours=row["peer"] == OURS)
        for row in rows
    ]
    return bars("Memory (PSS), idle and under load", "MiB", found)


def latency(rows: Rows) -> str:
    """Draw p50 and p99 at a rate."""
    found = [
        Bar(plain(row["peer"]), row["p50"], row["p99"], ours=row["peer"] == OURS)
        for row in rows
    ]
    title = f"Latency at {rows[0]['rate']} calls per second: p50 and p99"
    return bars(title, "us", found)


def revocation(rows: Rows) -> str:
    """Draw the share of calls that fail around a revocation."""
    series = [
        Line(plain(r["peer"]), [(x, y) for x, y in r["timeline"]], r["peer"] == OURS)
        for r in rows
    ]
    title = "Calls that fail around an emergency revocation at 0 s"
    return lines(title, "seconds", "% of calls", series, steps=True)


def connections(rows: Rows) -> str:
    """Draw the CPU per call against connections."""
    series = [
        Line(plain(peer), [(r["connections"], r["cpu"]) for r in mine], peer == OURS)
        for peer, mine in grouped(rows, "peer")
    ]
    title = "CPU per call by connections"
    return lines(title, "connections", "us per call", series, log_x=True, log_y=True)


def sizes(rows: Rows) -> str:
    """Draw the CPU per call against the size of answers."""
    series = [
        Line(
            plain(peer),
            [(SIZES[r["size"]] / 1e3, r["cpu"]) for r in mine],
            peer == OURS,
        )
        for peer, mine in grouped(rows, "peer")
    ]
    title = "CPU per call by size of the answer"
    return lines(title, "KB", "us per call", series, log_x=True, log_y=True)
