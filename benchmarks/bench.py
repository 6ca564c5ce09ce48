"""
What the sidecar costs, beside nginx, HAProxy, Envoy and an aiohttp handler.

    make bench                              everything, about half an hour; rewrites
                                            benchmarks/RESULTS.md, the plots, the README
    make bench ARGS=--quick                 does it all work? a minute or two; writes nothing
    make bench ARGS="--parts costs --only ours,envoy --shapes c1,c32 --rounds 5"
    make bench ARGS="--parts revocation --write"    one part anew, into the same files
    make bench ARGS=--report                the files again from results.json

Wants two CPUs and an otherwise quiet machine, Debian's nginx-light, haproxy and wrk
(installed when missing, as root), and Envoy from PyPI.
"""

import argparse
import compileall
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import sidecar
from benchmarks import budget, fleet, report, tools
from benchmarks.lab import CONNECTIONS, Lab, open_lab
from benchmarks.load import SHAPES
from benchmarks.parts import costs, features, growth, latency, revocation, startup
from benchmarks.parts.base import Plan
from benchmarks.peers import PEERS

Part = Callable[[Plan, Lab], Any]
PARTS: Final[dict[str, Part]] = {
    "costs": costs.measure,
    "revocation": revocation.measure,
    "latency": latency.measure,
    "features": features.measure,
    "connections": growth.by_connections,
    "idle": growth.idle_connections,
    "sizes": growth.by_size,
    "startup": startup.measure,
}
FLEET: Final = "fleet"
QUICK_PODS: Final = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Run."""
    args = parse(arguments)
    if args.report:
        report.write(report.load())
        return
    signal.signal(signal.SIGTERM, stopped)
    plan = plan_of(args)
    try:
        prepare(plan)
    except tools.Missing as missing:
        sys.exit(str(missing))
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": tools.machine(),
        "versions": tools.versions(),
        **measured(args.parts, plan, quick=args.quick),
    }
    print()
    print(report.results(found))
    print(budget.check(found))
    if args.write:
        report.write({**report.load(), **found})
        print(f"written: {report.RESULTS}, {report.DATA}, {report.PLOTS}")


def measured(parts: Sequence[str], plan: Plan, *, quick: bool) -> dict[str, Any]:
    """Measure the parts that were asked for."""
    found: dict[str, Any] = {}
    most = max(CONNECTIONS, *plan.connections, plan.idle_connections)
    growth.more_files()
    with open_lab(most) as lab:
        for name in parts:
            if name != FLEET:
                found[name] = PARTS[name](plan, lab)
    if FLEET in parts:
        found[FLEET] = fleet.measure(plan.say, QUICK_PODS if quick else 10_000)
    return found


def prepare(plan: Plan) -> None:
    """Install what is missing, and compile the sidecar as in its image."""
    # Where PYTHONDONTWRITEBYTECODE is set, each start would compile it anew: 0.1 s and more.
    compileall.compile_dir(Path(sidecar.__file__).parent, quiet=1)
    peers = plan.chosen()
    needed = {"nginx", "wrk", "taskset"}.union(*(peer.needs for peer in peers))
    tools.ensure(sorted(needed), with_envoy="envoy" in plan.peers)
    if len(os.sched_getaffinity(0)) < 2:
        print("only one CPU: proxy and load share it, so all figures are too high")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*PARTS, FLEET]
    parser.add_argument("--quick", action="store_true", help="see that it works")
    parser.add_argument("--parts", type=some_of(names), help=",".join(names))
    parser.add_argument("--only", type=some_of(PEERS), help=",".join(PEERS))
    parser.add_argument("--shapes", type=some_of(SHAPES), help=",".join(SHAPES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each load")
    parser.add_argument("--write", action="store_true", help="write the files")
    parser.add_argument("--report", action="store_true", help="only write the files")
    args = parser.parse_args(arguments)
    less = args.quick or args.only or args.shapes
    if args.write and less:
        parser.error("--write is for whole parts: the files would lose the others")
    args.write = args.write or not (less or args.parts)
    args.parts = args.parts or names
    return args


def some_of(known: Sequence[str] | dict[str, Any]) -> Callable[[str], tuple[str, ...]]:
    """Return the reader of a list of names with commas."""

    def read(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        unknown = [name for name in chosen if name not in known]
        if unknown:
            message = f"unknown: {', '.join(unknown)}; known: {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return chosen

    return read


def plan_of(args: argparse.Namespace) -> Plan:
    """Make the plan of what is measured."""
    plan = Plan().quick() if args.quick else Plan()
    changes = {
        "peers": args.only,
        "shapes": args.shapes,
        "rounds": args.rounds,
        "seconds": args.seconds,
    }
    return replace(plan, **{k: v for k, v in changes.items() if v is not None})


def stopped(*_: object) -> NoReturn:
    """End in order on SIGTERM: everything that was started is stopped."""
    sys.exit("stopped")


if __name__ == "__main__":
    main()
