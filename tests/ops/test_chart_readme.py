"""The chart's README tells the truth about its values and templates."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.cluster import CHART

README = (CHART / "README.md").read_text()
LEAVES = {"settings", "container.resources", "dashboard.labels"}
"""Values that are one thing to the reader, though they are tables."""


def leaves(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path."""
    for key, value in node.items():
        at = f"{path}{key}"
        if isinstance(value, dict) and value and at not in LEAVES:
            yield from leaves(value, f"{at}.")
        else:
            yield at, value


def test_the_table_is_values_yaml() -> None:
    """The same values in the same order with the same defaults."""
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", README, re.MULTILINE)
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert [(path, json.loads(default)) for path, default in rows] == list(
        leaves(values)
    )


def test_every_template_for_parents_is_named() -> None:
    """And none that does not exist."""
    text = "".join(file.read_text() for file in CHART.glob("templates/_*.tpl"))
    defined = set(re.findall(r'define "(sidecar\.\w+)"', text))
    named = set(re.findall(r'include "(sidecar\.\w+)" \.Subcharts', README))

    assert named <= defined
    assert named == {
        "sidecar.appVolumeMounts",
        "sidecar.container",
        "sidecar.podAnnotations",
        "sidecar.podLabels",
        "sidecar.volumes",
    }
