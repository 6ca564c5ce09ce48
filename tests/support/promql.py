"""Names and queries of the dashboard and the rules."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sidecar.metrics import Metrics
from tests.support.ops_tools import DASHBOARD, expressions

NAME = re.compile(r"(?<![\w:])(sidecar_[a-z0-9_]+|process_[a-z0-9_]+)(?![\w:])")

VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$namespace": ".*",
    "$service": ".*",
}


@dataclass(frozen=True)
class Query:
    """One query of the dashboard."""

    panel: str
    expr: str
    kind: str

    def filled(self, **values: str) -> str:
        """The query as Grafana sends it, with its variables filled in."""
        expr = self.expr
        for name, value in (
            VARIABLES | {f"${k}": v for k, v in values.items()}
        ).items():
            expr = expr.replace(name, value)
        return expr


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana loads it."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    """Every panel but the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"], panel["type"])


def named(text: str) -> set[str]:
    """The metrics that a query names, without the suffixes of a histogram."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(text)}


def exported() -> set[str]:
    """Every metric that the sidecar exports, as it is named in a query."""
    metrics = Metrics("test")
    metrics.upstream("api", ["/contacts"])
    metrics.credential("api")
    metrics.webhook("inbox")
    # As a scrape sees it: some numbers are only taken for one.
    text = asyncio.run(metrics.exposition("text/plain"))[0].decode()
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
    }


def used() -> set[str]:
    """Every metric that the dashboard shows or an alert looks at."""
    texts = [query.expr for query in queries()] + expressions()
    return set().union(*(named(text) for text in texts))
