"""What each of our features costs: one is switched, the rest stays as it is."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks import load
from benchmarks.lab import Lab
from benchmarks.load import SHAPES, Shape
from benchmarks.parts.base import Numbers, Plan, Row, loaded, medians, settled
from benchmarks.peers import Ours
from benchmarks.peers.base import start

VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "all defaults": {},
    "guard.reflection = off": {"guard": {"reflection": "off"}},
    "guard.tripwire = off": {"guard": {"tripwire": "off"}},
    "both off": {"guard": {"reflection": "off", "tripwire": "off"}},
    "log.access = all": {"log": {"access": "all"}},
    "log.access = off": {"log": {"access": "off"}},
}
PLAIN: Final = "API without TLS"
LARGE: Final = Shape("/1MB", 8)
LOADS: Final = {"c32": SHAPES["c32"], "1MB": LARGE}


def measure(plan: Plan, lab: Lab) -> list[Row]:
    """Measure."""
    rows, numbers = [], Numbers()
    variants = [(name, changes, lab.tls) for name, changes in VARIANTS.items()]
    variants.append((PLAIN, {}, lab.plain))
    for turn in range(plan.rounds):
        for name, changes, target in variants:
            plan.say(f"features: {name}, round {turn + 1} of {plan.rounds}")
            peer = Ours(changes=changes)
            with start(peer, numbers.setup(lab, peer, target=target)) as started:
                settled(started, plan)
                load.run(started.setup.port, SHAPES["c32"], 1, lab.directory)
                for shape, kind in LOADS.items():
                    row = loaded(started, kind, plan.seconds, lab)
                    rows.append({"feature": name, "shape": shape, **row})
    return medians(rows, "feature", "shape")
