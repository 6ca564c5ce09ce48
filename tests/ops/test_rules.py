"""The alerts: complete, explained, and proven by `promtool test rules`."""

import re
from typing import Any

import pytest
import yaml

from tests.support.ops_tools import ROOT, RULES, RULES_TEST, alerts, promtool, run

NAMES = [alert["alert"] for alert in alerts()]

REQUIRED = {
    "Sidecar401BurnFast": "401 burning fast",
    "Sidecar401BurnSlow": "401 burning slowly",
    "SidecarForbidden": "403 by operation",
    "SidecarKeyOverdue": "key overdue",
    "SidecarKeyRejected": "key rejected",
    "SidecarNewKeyRejected": "new key rejected while the old one serves",
    "SidecarRolledBack": "rolled back",
    "SidecarKeyStale": "stale",
    "SidecarNoKey": "no key",
    "SidecarCutoverSlow": "cutover slow",
    "SidecarSecretDenied": "Secrets Manager denied",
    "SidecarOverheadHigh": "overhead high",
    "SidecarWebhookSignatures": "webhook signature failures",
    "SidecarDown": "sidecar down",
}


def scenarios() -> list[dict[str, Any]]:
    """Every scenario of the promtool test."""
    tests: list[dict[str, Any]] = yaml.safe_load(RULES_TEST.read_text())["tests"]
    return tests


def test_the_rules_parse() -> None:
    """Prometheus itself accepts the file."""
    run(promtool(), "check", "rules", RULES)


def test_every_scenario_holds() -> None:
    """The alerts fire exactly where the scenarios say so."""
    run(promtool(), "test", "rules", RULES_TEST)


def test_every_alert_of_the_contract_exists() -> None:
    """None of the alerts that people were promised is missing."""
    assert set(REQUIRED) <= set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("alert", alerts(), ids=NAMES)
def test_an_alert_says_what_and_what_to_do(alert: dict[str, Any]) -> None:
    """It waits, has a severity, plain words, and a runbook of its own."""
    name = alert["alert"]
    annotations = alert["annotations"]

    assert alert["for"]
    assert alert["labels"] == {"severity": alert["labels"]["severity"]}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert 20 < len(annotations["summary"]) < 140
    assert len(annotations["description"].split()) >= 25
    assert "$labels.namespace" in annotations["description"]
    assert annotations["runbook_url"] == f"README.md#{name.lower()}"


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_runbook(name: str) -> None:
    """The link of the alert leads to a heading of the README."""
    headings = re.findall(r"^#+ (\S+)$", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert name in headings


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_proven_to_fire(name: str) -> None:
    """Some scenario expects the alert at one moment and another does not."""
    fires = [
        any(
            f'alertname="{name}"' in sample["labels"]
            for check in scenario["promql_expr_test"]
            for sample in check.get("exp_samples", [])
        )
        for scenario in scenarios()
    ]

    assert any(fires)
    assert not all(fires)


def test_a_rotation_fires_nothing() -> None:
    """The scenario of a rotation is there and expects no alert, at any moment."""
    rotation = next(s for s in scenarios() if s["name"] == "a rotation fires no alert")

    assert len(rotation["promql_expr_test"]) >= 3
    assert not any("exp_samples" in check for check in rotation["promql_expr_test"])


def test_silence_is_checked_over_every_alert() -> None:
    """A scenario states the whole set, so it cannot overlook an alert that fires."""
    checks = [check for s in scenarios() for check in s["promql_expr_test"]]
    whole = [c for c in checks if '(ALERTS{alertstate="firing"})' in c["expr"]]

    assert len(whole) >= len(checks) - 2
