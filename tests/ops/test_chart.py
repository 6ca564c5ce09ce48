"""The chart on its own: it renders, validates, and its parts find each other."""

import warnings
from typing import Any

import pytest
import yaml

from tests.support.cluster import (
    CHART,
    FULL,
    HELMS,
    MINIMAL,
    containers,
    example,
    helm,
    kustomized,
    one,
    plain,
    pods,
    readme,
    rendered,
    sidecar_of,
)
from tests.support.monitoring import RELABELINGS
from tests.support.ops_tools import DASHBOARD, RULES, run

KUBERNETES = [f"1.{minor}" for minor in range(29, 38)]
CUSTOM = {"PodMonitor", "PrometheusRule"}


def everything() -> list[tuple[str, Any]]:
    """Every set of objects that we ship or render."""
    return [
        ("chart", rendered("helm")),
        ("minimal", rendered("helm", MINIMAL)),
        ("example", example("helm")),
        ("kustomize", kustomized()),
        ("plain", plain()),
        ("readme", readme()),
    ]


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize("values", [None, MINIMAL, FULL], ids=["none", "least", "full"])
def test_the_chart_passes_strict_lint(name: str, values: Any) -> None:
    """By both helms, with no values, the least and the most."""
    more = ("-f", values) if values else ()

    done = run(helm(name), "lint", "--strict", CHART, *more)

    assert "0 chart(s) failed" in done.stdout


def test_both_helms_render_the_same() -> None:
    """The chart renders the same with every supported helm."""

    def key(thing: Any) -> tuple[str, str]:
        return (thing["kind"], thing["metadata"]["name"])

    assert sorted(rendered("helm"), key=key) == sorted(rendered("helm3"), key=key)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(version: str) -> None:
    """For every Kubernetes from 1.29 to 1.37, with no unknown field."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")

    for _, objects in everything():
        for thing in objects:
            if thing["kind"] in CUSTOM:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                kubernetes_validate.validate(thing, version, strict=True)


def test_every_container_meets_the_restricted_standard() -> None:
    """As the Pod Security admission reads it, for pods of every kind, theirs too."""
    seen = 0
    for origin, objects in everything():
        for name, _, pod in pods(objects):
            common = pod.get("securityContext", {})
            assert not pod.get("hostNetwork", False)
            assert not pod.get("shareProcessNamespace", False)
            assert pod["automountServiceAccountToken"] is False, (origin, name)
            assert {next(iter(v.keys() - {"name"})) for v in pod["volumes"]} <= {
                "configMap",
                "emptyDir",
            }
            for container in containers(pod):
                merged = common | container["securityContext"]
                assert merged["runAsNonRoot"] is True
                assert merged["runAsUser"] > 0
                assert merged["allowPrivilegeEscalation"] is False
                assert merged["capabilities"] == {"drop": ["ALL"]}
                assert merged["seccompProfile"] == {"type": "RuntimeDefault"}
                assert merged["readOnlyRootFilesystem"] is True
                seen += 1

    assert seen >= 13


def test_the_sidecar_runs_as_a_user_of_its_own() -> None:
    """No container of an application shares the sidecar's user."""
    for origin, objects in everything():
        for name, _, pod in pods(objects):
            users = {
                c["name"]: c["securityContext"]["runAsUser"] for c in containers(pod)
            }
            others = {uid for who, uid in users.items() if who != "sidecar"}
            assert users["sidecar"] not in others, (origin, name)


def test_the_services_find_the_pods() -> None:
    """PodMonitor, Service and NetworkPolicy select what podLabels puts on a pod."""
    objects = rendered("helm")
    labels = {"credential-sidecar": "crm-sidecar"}
    monitor = one(objects, "PodMonitor")["spec"]
    policy = one(objects, "NetworkPolicy")["spec"]

    assert monitor["selector"]["matchLabels"] == labels
    assert monitor["podMetricsEndpoints"][0]["port"] == "sidecar-admin"
    assert monitor["jobLabel"] == "app.kubernetes.io/name"
    assert policy["podSelector"]["matchLabels"] == labels
    assert one(objects, "Service")["spec"]["selector"] == labels
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == [
        8701,
        8702,
        3000,
    ]


def test_the_custom_resources_have_known_fields_only() -> None:
    """No schema of theirs is at hand, so their few fields are listed here."""
    monitor = one(rendered("helm"), "PodMonitor")
    rule = one(rendered("helm"), "PrometheusRule")

    assert monitor["apiVersion"] == rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"jobLabel", "selector", "podMetricsEndpoints"}
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        assert set(endpoint) == {"port", "path", "interval", "relabelings"}
        # Those that the live test of the dashboard scrapes with.
        assert endpoint["relabelings"] == RELABELINGS
    assert set(rule["spec"]) == {"groups"}


def test_the_rules_are_those_that_are_tested() -> None:
    """The PrometheusRule is config/prometheus/rules.yaml with links made whole."""
    groups = one(rendered("helm"), "PrometheusRule")["spec"]["groups"]
    wanted = yaml.safe_load(RULES.read_text())["groups"]
    for group in wanted:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["labels"]["team"] = "crm"
                base = "https://git.example.com/sidecar/blob/main/"
                rule["annotations"]["runbook_url"] = (
                    base + rule["annotations"]["runbook_url"]
                )

    assert groups == wanted


def test_the_dashboard_is_the_one_that_is_tested() -> None:
    """Byte for byte, under the label that Grafana's loader looks for."""
    config = one(rendered("helm"), "ConfigMap", "-dashboard")

    assert config["data"]["sidecar.json"].strip() == DASHBOARD.read_text().strip()
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_rotation_never_runs_twice_at_once() -> None:
    """A CronJob under a role of its own, which gives up in time."""
    spec = one(rendered("helm"), "CronJob")["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]

    assert spec["concurrencyPolicy"] == "Forbid"
    assert job["activeDeadlineSeconds"] == 3600
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == "crm-sync-rotate"
    assert pod["containers"][0]["args"] == ["rotate", "--if-due"]


def test_the_readme_has_the_same_rotation() -> None:
    """Its pod is the chart's, with the settings and the image of the plain manifests."""
    (theirs,) = readme()
    ours = one(rendered("helm"), "CronJob")
    _, _, pod = next(pods([theirs]))
    _, _, wanted = next(pods([ours]))
    (container,), (sidecar,) = pod["containers"], wanted["containers"]
    beside = sidecar_of(plain(), "Deployment")

    assert theirs["spec"]["concurrencyPolicy"] == "Forbid"
    assert container["args"] == sidecar["args"]
    assert container["securityContext"] == sidecar["securityContext"]
    assert container["image"] == beside["image"]
    assert container["env"] == beside["env"]
    assert container["volumeMounts"] == beside["volumeMounts"]
    assert (
        pod["volumes"][0]["configMap"]["name"]
        == one(plain(), "ConfigMap")["metadata"]["name"]
    )


def test_nothing_optional_is_on_by_itself() -> None:
    """The least values give the settings and the test that judges them."""
    kinds = [thing["kind"] for thing in rendered("helm", MINIMAL)]

    assert kinds == ["ConfigMap", "Pod"]


def test_helm_test_asks_the_sidecar_itself() -> None:
    """`helm test` runs `check --offline` on the settings of the release."""
    pod = one(rendered("helm", MINIMAL), "Pod")

    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"] == ["check", "--offline"]


def test_a_digest_wins_over_the_tag() -> None:
    """An image by digest is used as it is; without one the tag is the app's version."""
    by_digest = next(pods(rendered("helm")))[2]["containers"][0]["image"]
    by_tag = next(pods(rendered("helm", MINIMAL)))[2]["containers"][0]["image"]

    assert by_digest.startswith("registry.example.com/sidecar@sha256:0123")
    assert by_tag == "registry.example.com/sidecar:0.1.0"


def test_the_service_account_is_for_irsa_or_pod_identity() -> None:
    """The role's ARN as IRSA wants it, and no token of the cluster mounted."""
    account = one(rendered("helm"), "ServiceAccount")

    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/crm-sync"
    }
