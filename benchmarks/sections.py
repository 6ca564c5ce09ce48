"""The parts of RESULTS.md, each made from the rows of one part of the measurements."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks import budget, fleet
from benchmarks.load import SHAPES
from benchmarks.names import DIRECT, told
from benchmarks.tables import Rows, grouped, number, table

FLEET_METHOD: Final = """\
The real rules (`sidecar.core.keylife.machine`) in simulated time; `python -m benchmarks.fleet` gives the same again.
The quota is the smaller of what AWS documents: 10,000 calls per second, DescribeSecret and GetSecretValue together, per account and region; at most a tenth of a second's worth at once is assumed.
Services of all kinds call between once in 100 s and 10 times a second; busy ones twice a second, quiet ones once a minute.
"""
FLEET_DAYS: Final = """\
What one sidecar asks for in a day, and what that costs a fleet (USD 0.05 per 10,000 calls):
"""
FLEET_MARGIN: Final = """\
Other users of the account share the quota.
How much of it busy sidecars need in an emergency, so that no call fails:
"""


def costs(rows: Rows) -> str:
    """Write the main table, one for each shape of load, and the budget."""
    parts = []
    for name, mine in grouped(rows, "shape"):
        head = ["", "calls/s", "p50 us", "p99 us", "CPU us per call", "least"]
        head += ["memory idle MiB", "loaded", "not 2xx"]
        cells = [
            [
                told(row["peer"]),
                number(row["rate"]),
                number(row["p50"]),
                number(row["p99"]),
                number(row["cpu"]),
                number(row["cpu_min"]),
                number(row["idle"]),
                number(row["loaded"]),
                number(row["bad"] + row["errors"]),
            ]
            for row in mine
        ]
        parts += [f"### {SHAPES[name].told} ({name})\n", table(head, cells)]
    parts += ["### The sidecar relative to the others\n", budget.ratios(rows)]
    parts += ["![CPU per call](plots/cpu.svg)\n", "![memory](plots/memory.svg)\n"]
    return "\n".join(parts)


def revocation(rows: Rows) -> str:
    """Write what an emergency revocation costs."""
    first = rows[0]
    head = ["", "calls", "failed", "for so many seconds", "slowest call ms"]
    cells = [
        [
            told(row["peer"]),
            number(row["calls"]),
            number(row["failed"]),
            number(row["failing_seconds"]),
            number(row["slowest_ms"]),
        ]
        for row in rows
    ]
    return (
        f"{first['rate']} calls per second. A new key is stored in Secrets Manager "
        "(emulated) and the old one revoked in the same breath.\n"
        f"{first['reload_seconds']:g} s later somebody writes the new key into the "
        "proxy's file and reloads it: by signal (nginx, HAProxy), by rename (Envoy, "
        "sidecar with a file), by restart (aiohttp).\n"
        "Until then each of their calls fails, so that a longer wait costs "
        "proportionally more.\n"
        "Nobody tells the sidecar with a secret anything.\n\n"
        f"{table(head, cells)}\n![calls failed](plots/revocation.svg)\n"
    )


def latency(rows: Rows) -> str:
    """Write latency at fixed rates."""
    parts = []
    for rate, mine in grouped(rows, "rate"):
        direct = next((row for row in mine if row["peer"] == DIRECT), None)
        head = ["", "p50 us", "added", "p90 us", "p99 us", "added", "p99.9 us"]
        head.append("failed")
        cells = [
            [
                told(row["peer"]),
                number(row["p50"]),
                number(row["p50"] - direct["p50"]) if direct else "",
                number(row["p90"]),
                number(row["p99"]),
                number(row["p99"] - direct["p99"]) if direct else "",
                number(row["p999"]),
                number(row["failed"]),
            ]
            for row in mine
        ]
        parts += [f"### {rate} calls per second\n", table(head, cells)]
        parts.append(f"![latency](plots/latency-{rate}.svg)\n")
    return "\n".join(parts)


def features(rows: Rows) -> str:
    """Write what each feature costs."""
    parts = []
    for name, mine in grouped(rows, "shape"):
        base = mine[0]["cpu"]
        head = ["", "CPU us per call", "of the default", "calls/s", "p50 us"]
        cells = [
            [
                row["feature"],
                number(row["cpu"]),
                f"{100 * row['cpu'] / base:.0f} %" if base else "",
                number(row["rate"]),
                number(row["p50"]),
            ]
            for row in mine
        ]
        parts += [f"### {SHAPES[name].told} ({name})\n", table(head, cells)]
    return "\n".join(parts)


def connections(rows: Rows) -> str:
    """Write how cost grows with connections."""
    plot = "\n![growth with connections](plots/connections.svg)\n"
    return by_column(rows, "connections", "connections") + plot


def sizes(rows: Rows) -> str:
    """Write how cost grows with bodies."""
    return by_column(rows, "size", "answers") + "\n![growth](plots/sizes.svg)\n"


def by_column(rows: Rows, column: str, word: str) -> str:
    """Write CPU per call, a column for each size of the load."""
    values = list(dict.fromkeys(row[column] for row in rows))
    head = [f"CPU us per call, {word}:", *map(str, values)]
    cells = []
    for peer, mine in grouped(rows, "peer"):
        at = {row[column]: row for row in mine}
        figures = [
            number(at[v]["cpu"]) + (" *" if at[v]["bad"] + at[v]["errors"] else "")
            for v in values
        ]
        cells.append([told(peer), *figures])
    flawed = any(row["bad"] + row["errors"] for row in rows)
    note = "\n\\* some calls failed or timed out\n" if flawed else ""
    return table(head, cells) + note


def idle(rows: Rows) -> str:
    """Write what an idle connection costs."""
    head = ["", "idle connections", "bytes each"]
    cells = [
        [told(row["peer"]), number(row["connections"]), number(row["bytes"])]
        for row in rows
    ]
    note = (
        "Keep-alive connections that made one call each; the kernel's part, the same "
        "for all, is not in it. nginx takes its memory for connections at its start.\n"
    )
    return f"{note}\n{table(head, cells)}"


def startup(rows: Rows) -> str:
    """Write what a start costs."""
    head = ["", "CPU s", "seconds"]
    cells = [
        [told(row["peer"]), f"{row['cpu_seconds']:.2f}", f"{row['seconds']:.2f}"]
        for row in rows
    ]
    note = "From nothing to the first call that is answered; the key is in a file.\n"
    return f"{note}\n{table(head, cells)}"


def fleets(found: Mapping[str, Any]) -> str:
    """Write what a fleet does."""
    known = dict(found)
    return "\n".join(
        [
            FLEET_METHOD,
            fleet.stories_table(known),
            "![calls to Secrets Manager](plots/fleet.svg)\n",
            FLEET_DAYS,
            fleet.days_table(known),
            FLEET_MARGIN,
            fleet.margin_table(known),
        ]
    )


SECTIONS: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("Cost of a call", "costs", costs),
    ("An emergency revocation under load", "revocation", revocation),
    ("Latency at a rate", "latency", latency),
    ("Cost of each feature", "features", features),
    ("Growth with connections", "connections", connections),
    ("Memory of idle connections", "idle", idle),
    ("Growth with the size of answers", "sizes", sizes),
    ("Start", "startup", startup),
    ("A fleet", "fleet", fleets),
)
