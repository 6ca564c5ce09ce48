"""
Writes down what was measured: RESULTS.md, the plots, and a part of the README.

Everything is made from `results.json` alone, so that text, tables and pictures are of
one run; a test holds the files to it.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import pictures
from benchmarks.names import told
from benchmarks.sections import SECTIONS
from benchmarks.simulation.scenarios import EMERGENCY, PLANNED, monthly_cost
from benchmarks.tables import number, table

ROOT: Final = Path(__file__).parent.parent
HERE: Final = Path("benchmarks")
RESULTS: Final = HERE / "RESULTS.md"
DATA: Final = HERE / "results.json"
PLOTS: Final = HERE / "plots"
README: Final = Path("README.md")
BEGIN: Final = "<!-- written by `make bench` -->"
END: Final = "<!-- until here -->"
BLOCK: Final = re.compile(
    f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL
)

Results = Mapping[str, Any]

METHOD: Final = """\
Each proxy runs alone, pinned to CPU 0, with one worker.
The API (nginx, TLS 1.3, keep-alive) and the load share CPU 1, so that nothing of the proxy's core is spent on them; figures of calls per second are therefore bounded by the load, too.
Everybody speaks TLS 1.3 with AES-128-GCM: left to themselves, libraries choose differently, and that would be compared.
The API answers 401 without the key: a proxy that does not inject it measures as broken.
CPU per call is what the scheduler counted for the whole tree of processes (`/proc/*/schedstat`) divided by the calls; it is the figure to compare, as it hardly depends on what else a machine does.
Memory is PSS.
Closed-loop load is `wrk`; latency at a rate is an open loop with Poisson arrivals that counts from when a call was due.
Where there are thousands of clients, HAProxy and Envoy open at most 128 connections to the API, as the sidecar does by default; nginx cannot let calls wait and keeps one for each client.
All runs of one table are interleaved, and medians are shown.
The sidecar runs with every default on: guards, reflection scan, metrics, access log of errors.
The others inject the key and forward; none of them checks targets and headers as strictly, scans answers, or knows of 401s.
"""


def write(found: Results, root: Path = ROOT) -> None:
    """Write all files."""
    # A line for each part: the fleet's curves alone are thousands of numbers.
    parts = (f"{json.dumps(name)}: {json.dumps(part)}" for name, part in found.items())
    (root / DATA).write_text("\n".join(("{", ",\n".join(parts), "}", "")))
    (root / RESULTS).write_text(results(found))
    (root / PLOTS).mkdir(exist_ok=True)
    for name, picture in pictures.draw(found).items():
        (root / PLOTS / name).write_text(picture)
    readme = (root / README).read_text()
    (root / README).write_text(in_readme(readme, found))


def load(root: Path = ROOT) -> dict[str, Any]:
    """Read what was measured; empty when nothing was."""
    file = root / DATA
    return json.loads(file.read_text()) if file.exists() else {}


def in_readme(readme: str, found: Results) -> str:
    """Renew the part of the README that a run writes."""
    return BLOCK.sub(lambda _: summary(found), readme)


def results(found: Results) -> str:
    """Write RESULTS.md."""
    parts = [
        "# What the sidecar costs, beside others\n",
        "Written by `make bench`; made from `results.json` of the same run.\n",
        "## Machine and versions\n",
        table(["", ""], sorted(found.get("machine", {}).items()))
        + "\n"
        + table(["", "version"], sorted(found.get("versions", {}).items())),
        f"Measured {found.get('date', '')}.\n",
        "## Method\n",
        METHOD,
    ]
    for title, key, write_part in SECTIONS:
        if key in found:
            parts += [f"## {title}\n", write_part(found[key])]
    return "\n".join(parts)


def summary(found: Results) -> str:
    """Write the README's tables and pictures."""
    parts = []
    if "costs" in found:
        parts += [costs_table(found), "![CPU per call](benchmarks/plots/cpu.svg)\n"]
    if "revocation" in found:
        parts.append("![calls failed](benchmarks/plots/revocation.svg)\n")
    if "fleet" in found:
        parts.append(fleet_words(found["fleet"]))
        parts.append("![Secrets Manager](benchmarks/plots/fleet.svg)\n")
    return "\n".join(parts)


def costs_table(found: Results) -> str:
    """Write one row for each proxy."""
    at = {(row["shape"], row["peer"]): row for row in found["costs"]}
    lost = {row["peer"]: row for row in found.get("revocation", ())}
    head = ["", "CPU per call", "latency", "memory", "calls lost to a revocation"]
    cells = []
    for peer in dict.fromkeys(row["peer"] for row in found["costs"]):
        busy, single = at.get(("c32", peer)), at.get(("c1", peer))
        cells.append(
            [
                told(peer),
                f"{number(busy['cpu'])} us" if busy else "",
                f"{number(single['p50'])} us" if single else "",
                f"{number(busy['loaded'])} MiB" if busy else "",
                number(lost[peer]["failed"]) if peer in lost else "",
            ]
        )
    return table(head, cells)


def fleet_words(found: Mapping[str, Any]) -> str:
    """Tell of a fleet in a few sentences."""
    calm = found["days"][0]
    stories = {row["scenario"]: row for row in found["stories"]}
    planned, emergency = stories[PLANNED], stories[EMERGENCY]
    cost = monthly_cost(found["pods"], calm["per_pod_day"])
    return f"""\
A sidecar asks Secrets Manager {calm["per_pod_day"]:.0f} times a day; {found["pods"]:,} of them cost USD {cost:,.0f} a month.
In simulation with the real rules, a planned rotation reaches all of them within {planned["all_moved"]:.0f} s.
An emergency revocation draws {emergency["absorbed"]:,} 401s, of which the services see {emergency["failed"]:,}; in the busiest second it takes {100 * emergency["peak"] / emergency["quota"]:.0f} % of AWS's quota.
"""
