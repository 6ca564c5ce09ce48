"""What was measured is what is written down: tables, pictures, README."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import budget, pictures, report
from benchmarks.names import DIRECT, KEY_FILE
from benchmarks.parts.base import grouped, medians
from benchmarks.peers import PEERS
from benchmarks.simulation.scenarios import ONE_DAY, STORIES, Figures
from benchmarks.tables import number, table

LOADED = {
    "rate": 1000.0,
    "p50": 300.0,
    "p99": 900.0,
    "cpu": 60.0,
    "cpu_min": 59.0,
    "bad": 0,
    "errors": 0,
    "idle": 10.0,
    "loaded": 20.0,
}
PERCENTILES = {"p50": 300.0, "p90": 400.0, "p99": 500.0, "p999": 600.0, "failed": 0}


def story(name: str) -> dict[str, Any]:
    """Make up what came of a story."""
    found = Figures(name, 10, peak=3, half_moved=0.5, all_moved=2.0, absorbed=7)
    found.timeline = [[0, 30], [1, 3]]
    return found.row()


@pytest.fixture(name="found")
def _found() -> dict[str, Any]:
    """Make up a whole run."""
    lost: dict[str, Any] = {
        "calls": 100,
        "failing_seconds": 1.0,
        "slowest_ms": 9.0,
        "rate": 200,
    }
    lost |= {"reload_seconds": 10.0, "timeline": [[-0.5, 0.0], [0.0, 100.0]]}
    stories = [story(one.name) for one in STORIES]
    return {
        "date": "today",
        "machine": {"processor": "some"},
        "versions": {"nginx": "1.2.3"},
        "costs": [
            {"shape": shape, "peer": peer, **LOADED}
            for shape in ("c1", "c32")
            for peer in PEERS
        ],
        "revocation": [
            {"peer": peer, "failed": 0 if peer == "ours" else 2000, **lost}
            for peer in (*PEERS, KEY_FILE)
        ],
        "latency": [
            {"rate": 100, "peer": peer, "calls": 9, **PERCENTILES}
            for peer in (DIRECT, *PEERS)
        ],
        "features": [{"feature": "all defaults", "shape": "c32", **LOADED}],
        "connections": [
            {"connections": n, "peer": peer, **LOADED, "errors": int(n == 5000)}
            for peer in PEERS
            for n in (1, 5000)
        ],
        "idle": [{"peer": p, "connections": 5000, "bytes": 1500.0} for p in PEERS],
        "sizes": [
            {"size": size, "peer": peer, **LOADED}
            for peer in PEERS
            for size in ("1KB", "10MB")
        ],
        "startup": [{"peer": p, "cpu_seconds": 0.7, "seconds": 0.9} for p in PEERS],
        "fleet": {
            "pods": 10,
            "seed": 1,
            "stories": stories,
            "days": [story(one.name) for one in ONE_DAY],
            "margin": [story("0.5")],
        },
    }


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """A checkout with a README and no figures."""
    (tmp_path / report.HERE).mkdir()
    text = f"# Top\n\n{report.BEGIN}\nold\n{report.END}\n\nmore\n"
    (tmp_path / report.README).write_text(text)
    return tmp_path


def test_a_run_is_written_and_read_again(root: Path, found: Mapping[str, Any]) -> None:
    """Every picture that a text shows is there; a second time changes nothing."""
    report.write(found, root)
    files = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}

    report.write(report.load(root), root)

    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == files
    text = (root / report.RESULTS).read_text()
    readme = (root / report.README).read_text()
    for name in pictures.draw(found):
        assert f"(plots/{name})" in text
        assert (root / report.PLOTS / name).exists()
    for target in ("cpu", "revocation", "fleet"):
        assert f"(benchmarks/plots/{target}.svg)" in readme
    assert "old" not in readme
    assert readme.endswith(f"{report.END}\n\nmore\n")


@pytest.mark.parametrize(
    "part",
    ["costs", "revocation", "latency", "features", "connections", "sizes", "fleet"],
)
def test_a_part_that_was_not_measured_is_left_out(
    found: dict[str, Any], part: str
) -> None:
    """The others stand as they are."""
    whole = report.results(found)
    del found[part]

    assert len(report.results(found)) < len(whole)
    assert len(pictures.draw(found)) <= 9
    report.summary(found)


def test_the_readme_tells_of_calls_lost(found: Mapping[str, Any]) -> None:
    """One row per proxy; the sidecar's last figure is 0."""
    rows = [line for line in report.summary(found).splitlines() if line[:2] == "| "]

    assert len(rows) == 1 + len(PEERS)
    assert rows[-1].startswith("| **sidecar**")
    assert rows[-1].split("|")[-2].strip() == "0"
    assert rows[1].split("|")[-2].strip() == "2,000"


def test_calls_that_failed_are_marked(found: Mapping[str, Any]) -> None:
    """A cheap call that failed is not cheap."""
    text = report.results(found)

    assert "60 *" in text
    assert "\\* some calls failed" in text


def test_the_files_are_of_the_run_they_claim() -> None:
    """RESULTS.md, plots and README are what results.json makes of them."""
    found = report.load()
    root = report.ROOT

    assert (root / report.RESULTS).read_text() == report.results(found)
    readme = (root / report.README).read_text()
    assert report.in_readme(readme, found) == readme
    for name, picture in pictures.draw(found).items():
        assert (root / report.PLOTS / name).read_text() == picture


def test_the_budget_tells_what_is_kept(found: Mapping[str, Any]) -> None:
    """Equal figures keep a bound of 1 or more, and miss the others."""
    text = budget.check(found)

    assert "| c32: CPU per call / envoy " in text
    (row,) = (
        x for x in text.splitlines() if x.startswith("| c32: CPU per call / nginx")
    )
    assert row.endswith("|    aim |")
    assert "MISSED" in text
    assert budget.ratio(found["costs"], "c32", "cpu", "nobody") is None


def test_medians_are_by_group_and_failures_add_up() -> None:
    """Three rounds, of which one was slow."""
    rounds = [{**LOADED, "peer": "a", "cpu": cpu, "bad": 1} for cpu in (9.0, 5.0, 6.0)]
    (row,) = medians(rounds, "peer")

    assert (row["peer"], row["cpu"], row["cpu_min"], row["bad"]) == ("a", 6.0, 5.0, 3)
    assert [key for key, _ in grouped(rounds, "peer")] == [{"peer": "a"}]


def test_a_table_lines_up_and_no_cell_ends_it_early() -> None:
    """A bar in a cell is escaped."""
    text = table(["", "n"], [["a|b", "1"], ["c", "1,000"]])

    assert len({len(line) for line in text.splitlines()}) == 1
    assert "a\\|b" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.123456, "0.123"), (23.456, "23.5"), (1234.5, "1,234")],
)
def test_figures_have_as_many_digits_as_they_deserve(value: float, text: str) -> None:
    """Three, or the whole number."""
    assert number(value) == text
