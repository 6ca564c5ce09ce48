"""
The part of the chart's schema that speaks of settings, made from `Settings` itself.

`python -m tests.support.chart_schema` writes it into helm/values.schema.json; a test fails when
that was forgotten.
"""

import json
import warnings
from typing import Any, Final

from sidecar.settings.loading import ADAPTER
from tests.support.ops_tools import ROOT

SCHEMA: Final = ROOT / "helm/values.schema.json"
TEXT_OR_TABLE: Final = "OperationSettings"
"""An operation may be written as plain text or as a table."""


def _tidy(node: Any) -> Any:
    """Turn pydantic's schema into what every version of helm reads."""
    if isinstance(node, list):
        return [_tidy(one) for one in node]
    if not isinstance(node, dict):
        return node
    node = {key: value for key, value in node.items() if key not in _NOISE}
    if "anyOf" in node:
        # null is how a chart says "unset"; helm drops such keys by itself.
        kinds = [one for one in node.pop("anyOf") if one != {"type": "null"}]
        return node | _tidy(kinds[0])
    for ours, theirs in (("ge", "minimum"), ("le", "maximum")):
        if ours in node:
            node[theirs] = node.pop(ours)
    if "pattern" in node:
        node["pattern"] = node["pattern"].replace(r"\z", "$")
    if node.get("$ref", "").endswith(TEXT_OR_TABLE):
        return {"anyOf": [{"type": "string"}, {"$ref": node["$ref"]}]}
    if "properties" in node:
        node["properties"] = {
            name: _tidy(value) or {"type": "string"}
            for name, value in node["properties"].items()
        }
        return node | ({"$defs": _tables(node["$defs"])} if "$defs" in node else {})
    return {key: _tidy(value) for key, value in node.items()}


_NOISE: Final = {"title", "default", "format", "examples", "writeOnly"}


def _tables(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: _tidy(table) for name, table in tables.items()}


def settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of `settings`, and the tables that it refers to."""
    with warnings.catch_warnings():
        # Addresses have parsed defaults; a schema for values does not need them.
        warnings.simplefilter("ignore", UserWarning)
        whole = _tidy(ADAPTER.json_schema(mode="validation"))
    tables: dict[str, Any] = whole.pop("$defs")
    # What is missing is refused by the templates, in a sentence that says what to do.
    for table in (whole, tables["UpstreamSettings"]):
        table.pop("required", None)
    return whole, tables


def current() -> dict[str, Any]:
    """The schema as it is in the chart."""
    loaded: dict[str, Any] = json.loads(SCHEMA.read_text())
    return loaded


def wanted() -> dict[str, Any]:
    """The schema as it should be."""
    schema = current()
    schema["properties"]["settings"], schema["$defs"] = settings()
    return schema


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(wanted(), indent=2) + "\n")
