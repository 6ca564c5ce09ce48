"""The dashboard: its structure, and that its queries speak of what we export."""

from pathlib import Path

import pytest
import yaml

from tests.support.ops_tools import expressions, promtool, run
from tests.support.promql import dashboard, exported, named, panels, queries, used


def test_every_query_parses(tmp_path: Path) -> None:
    """Prometheus accepts every query once Grafana has filled in its variables."""
    rules = [
        {"record": f"panel:{number}", "expr": query.filled()}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    run(promtool(), "check", "rules", file)


def test_every_metric_named_exists() -> None:
    """No query and no alert asks for a metric that we do not export."""
    assert used() <= exported()
    assert set().union(*map(named, expressions())) <= exported()


def test_every_metric_of_ours_is_shown_or_alerted_on() -> None:
    """A metric that no panel or alert uses is not exported."""
    ours = {name for name in exported() if name.startswith("sidecar_")}

    assert ours - used() == set()


def test_401_and_403_stand_side_by_side() -> None:
    """The same height, the same row, half the width each; never in one number."""
    place = {
        code: next(p for p in panels() if p["title"].startswith(f"{code} by operation"))
        for code in ("401", "403")
    }
    left, right = place["401"]["gridPos"], place["403"]["gridPos"]

    assert (left["y"], left["h"], left["w"]) == (right["y"], right["h"], 12)
    assert {left["x"], right["x"]} == {0, 12}
    assert not any(
        "401" in query.expr and "403" in query.expr and "code=" in query.expr
        for query in queries()
    )


def test_the_variables_choose_source_namespace_and_service() -> None:
    """Every query obeys all three."""
    assert [v["name"] for v in dashboard()["templating"]["list"]] == [
        "datasource",
        "namespace",
        "service",
    ]
    for query in queries():
        selectors = query.expr.count("sidecar_") + query.expr.count("process_")
        assert query.expr.count('namespace=~"$namespace", job=~"$service"') >= (
            selectors - query.expr.count("on (namespace, job, instance)")
        ), query.panel


@pytest.mark.parametrize("panel", panels(), ids=[p["title"] for p in panels()])
def test_a_panel_is_whole(panel: dict[str, object]) -> None:
    """It has a unit, the chosen data source, and a place inside the grid."""
    grid = panel["gridPos"]
    assert isinstance(grid, dict)

    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert grid["x"] + grid["w"] <= 24
    assert panel["title"]


def test_no_two_panels_overlap_or_share_an_id() -> None:
    """Every cell of the grid belongs to one panel at most."""
    cells: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not mine & cells, panel["title"]
        cells |= mine
    ids = [panel["id"] for panel in dashboard()["panels"]]

    assert len(ids) == len(set(ids))


def test_every_kind_of_panel_that_was_asked_for_is_there() -> None:
    """State timeline, heatmaps of latency and overhead, cutovers."""
    kinds = {panel["type"] for panel in panels()}
    heatmaps = {q.expr for q in queries() if q.kind == "heatmap"}

    assert {"state-timeline", "heatmap", "timeseries", "stat", "table"} <= kinds
    for metric in ("request_seconds", "overhead_seconds", "cutover_seconds"):
        assert any(f"{metric}_bucket" in expr for expr in heatmaps), metric
