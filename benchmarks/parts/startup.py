"""From nothing to the first call that is answered: seconds, and seconds of CPU."""

import statistics
import time
from collections.abc import Sequence

from benchmarks.lab import Lab
from benchmarks.load import CONTACTS
from benchmarks.measure import cpu_seconds
from benchmarks.parts.base import Numbers, Plan, Row, grouped
from benchmarks.peers.base import launch
from benchmarks.process import wait_answer


def measure(plan: Plan, lab: Lab) -> list[Row]:
    """Measure; what a proxy starts on its way counts."""
    rows, numbers = [], Numbers()
    for turn in range(plan.rounds):
        for peer in plan.chosen():
            plan.say(f"start: {peer.name}, round {turn + 1} of {plan.rounds}")
            setup = numbers.setup(lab, peer)
            begin = time.monotonic()
            process = launch(peer, setup)
            try:
                wait_answer(setup.port, CONTACTS, process)
                seconds = time.monotonic() - begin
                cpu = cpu_seconds(process.pid)
            finally:
                process.stop()
            rows.append({"peer": peer.name, "seconds": seconds, "cpu_seconds": cpu})
    return [{**key, **middle(members)} for key, members in grouped(rows, "peer")]


def middle(rows: Sequence[Row]) -> Row:
    """Return the medians."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}
