"""
A fleet of 10,000 sidecars on paper: what it asks of Secrets Manager, and when.

    .venv/bin/python -m benchmarks.fleet [--pods 10000] [--seed 1] [--svg FILE]

Takes the real rules (`sidecar.core.keylife.machine`) through starts, a planned rotation and
emergency revocations in simulated time, with jitter, slow answers and AWS's quota.
Prints a table; the same seed always gives the same one.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.plots import Line, lines
from benchmarks.simulation.scenarios import (
    EMERGENCY,
    MARGIN,
    ONE_DAY,
    PLANNED,
    QUIET_EMERGENCY,
    STORIES,
    Scenario,
    monthly_cost,
    simulate,
)
from benchmarks.simulation.world import PRICE, QUOTA
from benchmarks.tables import table

PLOTTED: Final = (PLANNED, EMERGENCY, QUIET_EMERGENCY)


def measure(
    say: Callable[[str], None] = print, pods: int = 10_000, seed: int = 1
) -> dict[str, Any]:
    """Simulate everything; returns `stories`, `days` and `margin`, as JSON has them."""

    def told(story: Scenario) -> dict[str, Any]:
        say(f"fleet: {story.name}")
        return simulate(story).row()

    stories = [told(replace(story, pods=pods, seed=seed)) for story in STORIES]
    days = [told(replace(story, seed=seed)) for story in ONE_DAY]
    margin = [told(replace(story, seed=seed)) for story in MARGIN]
    return {
        "pods": pods,
        "seed": seed,
        "stories": stories,
        "days": days,
        "margin": margin,
    }


def stories_table(found: dict[str, Any]) -> str:
    """Write what happened to the fleet."""
    head = [
        f"{found['pods']:,} sidecars",
        "busiest second: calls",
        "of the quota",
        "refused by the quota",
        "half on the new key after",
        "all after",
        "401s absorbed",
        "calls failed",
        "slowest absorbed call",
    ]
    rows = [
        [
            row["scenario"],
            f"{row['peak']:,} ({row['peak_describe']:,} Describe)",
            f"{100 * row['peak'] / row['quota']:.0f} %",
            f"{row['throttled']:,}",
            seconds(row["half_moved"]),
            seconds(row["all_moved"]),
            f"{row['absorbed']:,}",
            f"{row['failed']:,}",
            seconds(row["slowest"]) if row["absorbed"] else "",
        ]
        for row in found["stories"]
    ]
    return table(head, rows)


def days_table(found: dict[str, Any]) -> str:
    """Write what one pod asks for in a day, and what a fleet of them costs."""
    head = ["one pod", "calls a day, mean", "most", "10,000 pods, a month"]
    rows = [
        [
            row["scenario"],
            f"{row['per_pod_day']:.0f}",
            f"{row['most_pod_day']:.0f}",
            f"USD {monthly_cost(10_000, row['per_pod_day']):,.0f}",
        ]
        for row in found["days"]
    ]
    return table(head, rows)


def margin_table(found: dict[str, Any]) -> str:
    """Write how little of the quota will do."""
    head = [
        "quota left, calls/s per sidecar",
        "401s absorbed",
        "calls failed",
        "all on the new key after",
    ]
    rows = [
        [
            row["scenario"],
            f"{row['absorbed']:,}",
            f"{row['failed']:,}",
            seconds(row["all_moved"]),
        ]
        for row in found["margin"]
    ]
    return table(head, rows)


def seconds(value: float | None) -> str:
    """Write seconds; nothing when there are none."""
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def plot(found: dict[str, Any]) -> str:
    """Draw the calls per second around the event."""
    series = [
        Line(row["scenario"], row["timeline"], ours=row["scenario"] == EMERGENCY)
        for row in found["stories"]
        if row["scenario"] in PLOTTED
    ]
    return lines(
        f"Secrets Manager calls per second, {found['pods']:,} sidecars",
        "seconds after the new key was stored",
        "calls per second",
        series,
        log_y=True,
        limit=(QUOTA, "AWS's quota"),
    )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    found = measure(pods=args.pods, seed=args.seed)
    print(stories_table(found))
    print(days_table(found))
    print(margin_table(found))
    print(f"USD {PRICE * 10_000} per 10,000 calls; quota {QUOTA:,} calls per second.")
    if args.svg:
        args.svg.write_text(plot(found))


if __name__ == "__main__":
    main()
