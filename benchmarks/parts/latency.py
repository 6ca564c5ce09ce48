"""What a service waits longer for, at rates that a service has."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.lab import BASE, KEY, Lab
from benchmarks.load import CONTACTS
from benchmarks.names import DIRECT
from benchmarks.openloop import Outcome
from benchmarks.parts.base import Numbers, Plan, Row, settled
from benchmarks.peers.base import start
from benchmarks.process import Cpu, pinned

OK: Final = range(200, 300)
GRACE_SECONDS: Final = 60.0


def measure(plan: Plan, lab: Lab) -> list[Row]:
    """Measure; the rounds of one proxy are thrown together."""
    found: dict[tuple[int, str], list[Outcome]] = {}
    numbers = Numbers()
    for turn in range(plan.rounds):
        plan.say(f"latency: round {turn + 1} of {plan.rounds}")
        field = f"Authorization: Bearer {KEY}"
        for rate in plan.rates:
            caller = calling(
                lab.plain.port, rate, plan.rate_seconds, turn, BASE + CONTACTS, field
            )
            found.setdefault((rate, DIRECT), []).extend(outcomes(caller))
        for peer in plan.chosen():
            with start(peer, numbers.setup(lab, peer)) as started:
                settled(started, plan)
                for rate in plan.rates:
                    caller = calling(started.setup.port, rate, plan.rate_seconds, turn)
                    found.setdefault((rate, peer.name), []).extend(outcomes(caller))
    return [
        {"rate": rate, "peer": peer, **percentiles(calls)}
        for (rate, peer), calls in found.items()
    ]


def calling(
    port: int,
    rate: float,
    seconds: float,
    seed: int,
    path: str = CONTACTS,
    *fields: str,
) -> "subprocess.Popen[str]":
    """Start an open loop in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.openloop",
        f"--port={port}",
        f"--rate={rate}",
        f"--seconds={seconds}",
        f"--seed={seed}",
        f"--path={path}",
        *(f"--header={field}" for field in fields),
    ]
    return subprocess.Popen(
        pinned(Cpu.LOAD, command), stdout=subprocess.PIPE, text=True
    )


def outcomes(caller: "subprocess.Popen[str]") -> list[Outcome]:
    """Wait for the end of an open loop and read what it saw."""
    said, _ = caller.communicate()
    return [Outcome(*json.loads(line)) for line in said.splitlines()]


def percentiles(calls: Sequence[Outcome]) -> Row:
    """Return microseconds by percentile, and how many calls failed."""
    times = sorted(call.latency * 1e6 for call in calls)
    row: Row = {"calls": len(calls)}
    for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        row[name] = times[min(int(part * len(times)), len(times) - 1)] if times else 0.0
    row["failed"] = sum(call.status not in OK for call in calls)
    return row
