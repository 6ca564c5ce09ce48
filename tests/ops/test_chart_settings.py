"""From values to TOML: what the chart renders, the sidecar's own `load` accepts."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.settings.loading import load
from sidecar.settings.model import Settings
from tests.support import chart_schema
from tests.support.cluster import (
    CHART,
    FULL,
    HELMS,
    MINIMAL,
    example,
    helm,
    kustomized,
    one,
    plain,
    rendered,
)
from tests.support.ops_tools import load_all, run


def settings_of(objects: Any, tmp_path: Path) -> Settings:
    """The settings in the ConfigMap, as the sidecar loads them."""
    configs = [o for o in objects if "sidecar.toml" in o.get("data", {})]
    assert len(configs) == 1
    file = tmp_path / "sidecar.toml"
    file.write_text(configs[0]["data"]["sidecar.toml"])
    return load(file, {})


@pytest.mark.parametrize("name", HELMS)
def test_every_kind_of_setting_arrives(name: str, tmp_path: Path) -> None:
    """Numbers stay numbers, lists lists, tables tables."""
    settings = settings_of(rendered(name), tmp_path)
    flownally = settings.upstreams["flownally"]

    assert settings.job.rotate_every_days == 90
    assert flownally.limits.max_body_bytes == 10485760
    assert flownally.limits.queue_seconds == 2.5
    assert flownally.allow is not None
    assert flownally.allow[2].scopes == ("contacts:write",)
    assert settings.upstreams["billing"].allow_uids == (1000,)
    assert settings.upstreams["billing"].credential.scheme == ""
    assert settings.webhooks["inbox"].dedupe == "dynamodb:sidecar-webhooks"
    assert settings.rotation is not None


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["least", "full"])
def test_in_a_pod_the_admin_port_is_reached_from_outside(
    values: Path, tmp_path: Path
) -> None:
    """Kubelet and Prometheus come by the pod IP; the proxy stays on loopback."""
    settings = settings_of(rendered("helm", values), tmp_path)

    assert str(settings.admin.listen) == "0.0.0.0:8701"
    assert str(settings.upstreams["flownally"].listen) == "127.0.0.1:8700"


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(lambda: example("helm"), id="example"),
        pytest.param(kustomized, id="kustomize"),
        pytest.param(plain, id="plain"),
    ],
)
def test_the_settings_of_every_example_are_good(objects: Any, tmp_path: Path) -> None:
    """All ways lead to settings that load, for the same job."""
    assert settings_of(objects(), tmp_path).job.name == "production-crm-sync"


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("crm platform", id="space"),
        pytest.param('say "no"', id="quotes"),
        pytest.param("C:\\team\\new", id="backslashes"),
        pytest.param("a\nb = 1", id="line-break"),
        pytest.param("<b>&amp;</b>", id="markup"),
        pytest.param("{{ .Values }}", id="template"),
        pytest.param("Müller \u2028 😀", id="unicode"),
    ],
)
def test_text_cannot_break_out_of_its_line(
    name: str, text: str, tmp_path: Path
) -> None:
    """Any text comes back from the TOML as it went in."""
    values = tmp_path / "values.yaml"
    data = yaml.safe_load(MINIMAL.read_text())
    data["settings"]["job"]["owner"] = text
    values.write_text(yaml.safe_dump(data))

    done = run(helm(name), "template", "crm", CHART, "-f", values)

    toml = one(load_all(done.stdout), "ConfigMap")["data"]["sidecar.toml"]
    assert tomllib.loads(toml)["job"]["owner"] == text


def test_the_schema_is_that_of_the_settings() -> None:
    """`python -m tests.support.chart_schema` was run after the last change of the settings."""
    assert chart_schema.current() == chart_schema.wanted()


def test_the_schema_is_closed() -> None:
    """A misspelt value is refused at every level that is ours."""

    def check(node: Any, path: str) -> None:
        if isinstance(node, dict):
            free = {"labels", "annotations", "alertLabels", "resources", "global"}
            if node.get("type") == "object" and "properties" in node:
                assert node.get("additionalProperties") is False, path
            for key, value in node.items():
                if key not in free:
                    check(value, f"{path}.{key}")

    check(json.loads(chart_schema.SCHEMA.read_text()), "values")
