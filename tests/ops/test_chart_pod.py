"""The named templates in a parent's pod: Deployment and Job, and both other ways."""

from typing import Any

import pytest

from tests.support.cluster import (
    HELMS,
    Object,
    example,
    kustomized,
    one,
    plain,
    pods,
    sidecar_of,
)

SOCKET = "unix:/run/sidecar/flownally.sock"
WEBHOOKS = {
    "sidecar": {
        "webhookService": {"enabled": True},
        "settings": {
            "webhooks": {
                "inbox": {
                    "secret_id": "prod/flownally/webhook",
                    "forward_to": "http://127.0.0.1:3000/hooks",
                }
            }
        },
    }
}


def pod_of(objects: Any, kind: str) -> tuple[Object, Object]:
    """Metadata and spec of the pod of the one object of this kind."""
    _, metadata, spec = next(pods([one(objects, kind)]))
    return metadata, spec


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_a_parent_gets_a_native_sidecar(name: str, kind: str) -> None:
    """An init container that stays, is probed on the admin port and needs no hook."""
    sidecar = sidecar_of(example(name), kind)

    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert sidecar["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert sidecar["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert sidecar["ports"][0]["containerPort"] == 8701
    assert sidecar["resources"]["limits"] == {"memory": "128Mi"}
    # preStop of a native sidecar runs when the pod's end begins: it would cut calls.
    assert "lifecycle" not in sidecar


def test_the_application_gets_no_aws_credentials() -> None:
    """EKS skips the containers of the application, so it cannot read the secret."""
    metadata, _ = pod_of(example("helm"), "Deployment")

    assert metadata["annotations"]["eks.amazonaws.com/skip-containers"] == "app"
    assert not any(key.startswith("prometheus.io") for key in metadata["annotations"])


@pytest.mark.parametrize("name", HELMS)
def test_a_large_user_id_is_an_integer(name: str) -> None:
    """OpenShift's begin at a billion; helm writes a large number as 1.00068e+09."""
    container = {"runAsUser": 1_000_680_000, "runAsGroup": 1_000_680_001}
    objects = example(name, {"sidecar": {"container": container}})
    context = sidecar_of(objects, "Deployment")["securityContext"]

    assert context["runAsUser"] == container["runAsUser"]
    assert isinstance(context["runAsUser"], int)
    assert context["runAsGroup"] == container["runAsGroup"]
    assert isinstance(context["runAsGroup"], int)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(lambda: example("helm"), id="example"),
        pytest.param(kustomized, id="kustomize"),
        pytest.param(plain, id="plain"),
    ],
)
def test_every_example_skips_all_containers_but_the_sidecar(objects: Any) -> None:
    """A copy of one gives the application no AWS credentials."""
    for name, metadata, pod in pods(objects()):
        if "initContainers" in pod:
            skipped = metadata["annotations"]["eks.amazonaws.com/skip-containers"]
            assert skipped.split(",") == [c["name"] for c in pod["containers"]], name


def test_changed_settings_restart_the_pods() -> None:
    """The checksum on the pod follows the settings."""
    level = {"sidecar": {"settings": {"log": {"level": "debug"}}}}
    before, _ = pod_of(example("helm"), "Deployment")
    after, _ = pod_of(example("helm", level), "Deployment")
    key = "checksum/sidecar-settings"

    assert before["annotations"][key] != after["annotations"][key]


def test_annotations_for_prometheus_are_off_until_asked_for() -> None:
    """They name the admin port, wherever it is."""
    values = {
        "sidecar": {
            "podAnnotations": {"prometheus": True},
            "settings": {"admin": {"listen": "0.0.0.0:9701"}},
        }
    }
    metadata, _ = pod_of(example("helm", values), "Deployment")
    sidecar = sidecar_of(example("helm", values), "Deployment")

    assert metadata["annotations"]["prometheus.io/port"] == "9701"
    assert metadata["annotations"]["prometheus.io/scrape"] == "true"
    assert sidecar["ports"][0]["containerPort"] == 9701


@pytest.mark.parametrize("objects", [kustomized, plain], ids=["kustomize", "plain"])
def test_without_helm_prometheus_finds_the_admin_port(objects: Any) -> None:
    """No PodMonitor comes with these ways, so the annotations must do."""
    for name, metadata, pod in pods(objects()):
        (sidecar,) = pod["initContainers"]
        port = str(sidecar["ports"][0]["containerPort"])
        found = {
            "prometheus.io/scrape": "true",
            "prometheus.io/path": "/metrics",
            "prometheus.io/port": port,
        }

        assert metadata["annotations"].items() >= found.items(), name


def test_a_unix_socket_is_shared_with_the_application() -> None:
    """Both containers mount the folder of the socket; it is memory, not disk."""
    upstream = {"listen": SOCKET, "allow_uids": [1000]}
    values = {"sidecar": {"settings": {"upstreams": {"flownally": upstream}}}}
    _, pod = pod_of(example("helm", values), "Deployment")
    mount = {"name": "sidecar-run", "mountPath": "/run/sidecar"}

    assert mount in pod["initContainers"][0]["volumeMounts"]
    assert pod["containers"][0]["volumeMounts"] == [mount]
    assert {
        "name": "sidecar-run",
        "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"},
    } in pod["volumes"]


def test_webhooks_open_a_port_of_their_own() -> None:
    """The Service leads to it by number: older clusters know no init container's name."""
    objects = example("helm", WEBHOOKS)
    service = one(objects, "Service")["spec"]

    assert sidecar_of(objects, "Deployment")["ports"][1] == {
        "name": "sidecar-hooks",
        "containerPort": 8702,
        "protocol": "TCP",
    }
    assert service["ports"][0]["targetPort"] == 8702


def test_webhooks_go_to_the_service_and_not_to_the_job() -> None:
    """Both have the sidecar, but only one of them serves."""
    objects = example("helm", WEBHOOKS)
    selector = one(objects, "Service")["spec"]["selector"].items()
    serving, _ = pod_of(objects, "Deployment")
    nightly, _ = pod_of(objects, "CronJob")

    assert selector <= serving["labels"].items()
    assert not selector <= nightly["labels"].items()


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_kustomize_adds_the_same_container(kind: str) -> None:
    """The component's container is the chart's."""
    assert sidecar_of(kustomized(), kind) == sidecar_of(example("helm"), kind)


def test_the_plain_manifest_has_the_same_container() -> None:
    """The sidecar without helm is as strict as the one with helm."""
    ours = sidecar_of(plain(), "Deployment")

    assert ours == sidecar_of(example("helm"), "Deployment")


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_kustomize_mounts_the_settings_of_the_overlay(kind: str) -> None:
    """The generated name, with its hash, reaches the volume of every pod."""
    config = one(kustomized(), "ConfigMap")["metadata"]["name"]
    _, pod = pod_of(kustomized(), kind)

    assert {"name": "sidecar-settings", "configMap": {"name": config}} in pod["volumes"]
