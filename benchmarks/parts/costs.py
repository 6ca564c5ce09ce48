"""The main table: each proxy under each shape of load, a fresh process per round."""

from benchmarks import load
from benchmarks.lab import Lab
from benchmarks.load import SHAPES
from benchmarks.parts.base import Numbers, Plan, Row, loaded, medians, settled
from benchmarks.peers.base import start

WARM_SECONDS = 1


def measure(plan: Plan, lab: Lab) -> list[Row]:
    """Measure; rounds go through all proxies, so that a slow minute hits all."""
    rows, numbers = [], Numbers()
    for turn in range(plan.rounds):
        for peer in plan.chosen():
            plan.say(f"costs: {peer.name}, round {turn + 1} of {plan.rounds}")
            with start(peer, numbers.setup(lab, peer)) as started:
                idle = settled(started, plan)
                load.run(started.setup.port, SHAPES["c32"], WARM_SECONDS, lab.directory)
                for name in plan.shapes:
                    row = loaded(started, SHAPES[name], plan.seconds, lab)
                    rows.append({"shape": name, "peer": peer.name, "idle": idle, **row})
    return medians(rows, "shape", "peer")
