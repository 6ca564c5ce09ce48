"""Values that are wrong: each is refused with a sentence that says what to do."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import (
    CHART,
    HELMS,
    MINIMAL,
    Object,
    example_chart,
    helm,
    one,
    sentence,
)
from tests.support.ops_tools import load_all, run

WEBHOOK = {
    "secret_id": "prod/flownally/webhook",
    "forward_to": "http://127.0.0.1:3000/hooks",
}
SECOND = {
    "base_url": "https://billing.example.com",
    "credential": {"secret_id": "prod/billing"},
}
UPSTREAM = "settings.upstreams.flownally"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The least values with one of them set, or taken away by None."""
    data: dict[str, Any] = yaml.safe_load(MINIMAL.read_text())
    *folders, last = path.split(".")
    place = data
    for name in folders:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return data


def refusal(name: str, values: dict[str, Any], tmp_path: Path) -> str:
    """What helm says about these values."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = run(helm(name), "template", "crm", CHART, "-f", file, check=False)
    assert done.returncode != 0, done.stdout
    return sentence(done.stderr)


def accepted(name: str, values: dict[str, Any], tmp_path: Path) -> list[Object]:
    """What helm renders from these values."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return load_all(run(helm(name), "template", "crm", CHART, "-f", file).stdout)


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        # Realistic.
        pytest.param("image.repository", None, "say where you pushed", id="no-image"),
        pytest.param("settings.job", None, "say which job", id="no-job"),
        pytest.param("settings.upstreams", None, "name the API", id="no-upstream"),
        pytest.param(f"{UPSTREAM}.credential", None, "set secret_id", id="no-secret"),
        pytest.param(
            f"{UPSTREAM}.credential.file", "/run/key", "keep the one", id="two-secrets"
        ),
        pytest.param("app.ports", [8700], "another port", id="app-on-our-port"),
        pytest.param("app.ports", [8701], "another port", id="app-on-admin-port"),
        pytest.param(
            "settings.upstreams.billing", SECOND, "another port", id="same-listen-twice"
        ),
        pytest.param(
            "settings.webhooks.inbox",
            WEBHOOK,
            "webhookService.enabled=true",
            id="webhooks-without-service",
        ),
        pytest.param(
            "webhookService.enabled", True, "has no endpoint", id="service-alone"
        ),
        pytest.param("rotation.enabled", True, "settings.rotation", id="no-rotation"),
        pytest.param(
            "networkPolicy",
            {"enabled": True, "monitoringFrom": []},
            "say where your Prometheus is",
            id="open-to-everybody",
        ),
        pytest.param("app.uid", 65532, "user of its own", id="same-user"),
        pytest.param("app.containers", ["sidecar"], "the sidecar", id="skips-itself"),
        pytest.param(
            f"{UPSTREAM}.listen", "unix:/run/sidecar/a", "[1000]", id="socket-users"
        ),
        # Wrong in name or type.
        pytest.param("nameOverride", "crm.sidecar", "nameOverride", id="dot-in-name"),
        pytest.param("fullnameOverride", "1crm", "fullnameOverride", id="digit-first"),
        pytest.param("imag", {}, "imag", id="unknown-value"),
        pytest.param("settings.upstream", {}, "upstream", id="unknown-table"),
        pytest.param(f"{UPSTREAM}.credential.sekret", "x", "sekret", id="unknown-key"),
        pytest.param("settings.log.level", "loud", "debug", id="not-in-the-list"),
        pytest.param("image.digest", "sha256:123", "digest", id="digest-cut-short"),
        pytest.param("image.repository", "r/sidecar:1@x", "repo", id="tag-in-name"),
        pytest.param("app.ports", ["3000"], "ports", id="port-as-text"),
        pytest.param("app.ports", [70000], "app", id="port-too-large"),
        pytest.param("container.runAsUser", 0, "runAsUser", id="root"),
        pytest.param("serviceAccount.roleArn", "crm-sync", "roleArn", id="no-arn"),
        pytest.param(
            "settings.job.rotate_every_days", "90", "rotate_every_days", id="text"
        ),
        pytest.param("prometheusRule.runbookBase", "x", "runbookBase", id="no-url"),
        pytest.param("rotation.schedule", "@often", "schedule", id="no-such-time"),
        pytest.param("rotation.schedule", "0 9 * *", "schedule", id="four-fields"),
    ],
)
def test_wrong_values_are_refused(
    name: str, path: str, value: Any, says: str, tmp_path: Path
) -> None:
    """The sentence names the value and what would be right."""
    assert says in refusal(name, changed(path, value), tmp_path)


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize(
    ("listen", "says"),
    [
        pytest.param("127.0.0.1:9000", "is a loopback address", id="loopback"),
        pytest.param("localhost:9000", "is a loopback address", id="localhost"),
        pytest.param("[::1]:9000", "is a loopback address", id="v6-loopback"),
        pytest.param("unix:/run/sidecar/a", "is a Unix socket", id="socket"),
        pytest.param("0.0.0.0", "has no port", id="no-port"),
        pytest.param("0.0.0.0:0", "has no port", id="any-port"),
    ],
)
def test_others_reach_their_listeners(
    name: str, listen: str, says: str, tmp_path: Path
) -> None:
    """Kubelet, Prometheus and the webhook Service come by the pod IP, at a port."""
    admin = changed("settings.admin.listen", listen)
    webhooks = changed("settings.webhook_listener.listen", listen)
    webhooks["settings"]["webhooks"] = {"inbox": WEBHOOK}
    webhooks["webhookService"] = {"enabled": True}

    assert (
        f"settings.admin.listen {says}: in a pod kubelet and Prometheus come by the pod"
        " IP, so leave it out or use 0.0.0.0:8701"
    ) in refusal(name, admin, tmp_path)
    assert (
        f"settings.webhook_listener.listen {says}: in a pod the Service comes by the pod"
        " IP, so leave it out or use 0.0.0.0:8702"
    ) in refusal(name, webhooks, tmp_path)


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize("listen", ["[::]:9000", "10.0.0.1:9000"])
def test_another_address_of_the_pod_is_fine(
    name: str, listen: str, tmp_path: Path
) -> None:
    """In a cluster with IPv6 pods too."""
    values = changed("settings.admin.listen", listen)
    config = one(accepted(name, values, tmp_path), "ConfigMap")

    assert listen in config["data"]["sidecar.toml"]


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize("release", ["my.rel", "1crm"])
def test_a_release_may_need_another_name(name: str, release: str) -> None:
    """Helm and ConfigMaps take a name that a Service does not."""
    command = (helm(name), "template", release, CHART, "-f", MINIMAL)

    done = run(*command, check=False)
    other = run(*command, "--set", "fullnameOverride=crm-sidecar")

    assert f"{release}-sidecar cannot be the name" in sentence(done.stderr)
    assert one(load_all(other.stdout), "ConfigMap")["metadata"]["name"] == "crm-sidecar"


@pytest.mark.parametrize("name", HELMS)
def test_a_socket_lies_in_the_shared_folder(name: str, tmp_path: Path) -> None:
    """The application could not see it anywhere else."""
    values = changed(f"{UPSTREAM}.listen", "unix:/tmp/a.sock")
    values["settings"]["upstreams"]["flownally"]["allow_uids"] = [1000]

    assert "must lie in /run/sidecar" in refusal(name, values, tmp_path)


def rotating(**rotation: Any) -> dict[str, Any]:
    """The least values with a rotation, and something about it set."""
    values = changed("settings.job.rotate_every_days", 90)
    values["settings"]["rotation"] = {
        "service_account_id": "sa_crm_sync",
        "credential": {"secret_id": "prod/flownally/key-manager"},
    }
    values["rotation"] = {"enabled": True, "serviceAccountName": "rotator"} | rotation
    return values


@pytest.mark.parametrize("name", HELMS)
def test_a_rotation_must_know_when_a_key_is_due(name: str, tmp_path: Path) -> None:
    """Else it would rotate at every look, or never."""
    values = rotating()
    del values["settings"]["job"]["rotate_every_days"]

    assert "settings.job.rotate_every_days" in refusal(name, values, tmp_path)


@pytest.mark.parametrize("name", HELMS)
def test_a_rotation_needs_an_account_of_its_own(name: str, tmp_path: Path) -> None:
    """The account of the pods may only read the secret."""
    values = rotating(serviceAccountName="")

    assert "whose role may write" in refusal(name, values, tmp_path)


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize(
    ("upstream", "grace", "deadline", "says"),
    [
        pytest.param({}, None, 600, "600 seconds", id="default"),
        pytest.param({"refresh_seconds": 900}, None, 1800, "1800 seconds", id="twice"),
        pytest.param({"refresh_seconds": 900}, 200.5, 200, "200.5 seconds", id="own"),
    ],
)
def test_a_rotation_outlives_its_grace(
    name: str,
    upstream: dict[str, Any],
    grace: float | None,
    deadline: int,
    says: str,
    tmp_path: Path,
) -> None:
    """A second less and Kubernetes would end every run before it revokes the old key."""
    values = rotating(deadlineSeconds=deadline)
    values["settings"]["upstreams"]["flownally"]["credential"] |= upstream
    # Another one, whose key is not rotated.
    values["settings"]["upstreams"]["billing"] = SECOND | {"listen": "127.0.0.1:8710"}
    values["settings"]["rotation"]["upstream"] = "flownally"
    if grace is not None:
        values["settings"]["rotation"]["grace_seconds"] = grace

    said = refusal(name, values, tmp_path)
    values["rotation"]["deadlineSeconds"] = deadline + 1

    assert f"rotation.deadlineSeconds is {deadline}," in said
    assert says in said
    assert accepted(name, values, tmp_path)


@pytest.mark.parametrize("name", HELMS)
def test_the_only_upstream_need_not_be_named(name: str, tmp_path: Path) -> None:
    """Its `refresh_seconds` make the grace then."""
    values = rotating()
    values["settings"]["upstreams"]["flownally"]["credential"]["refresh_seconds"] = 1800

    assert "3600 seconds" in refusal(name, values, tmp_path)


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize(
    "schedule", ["@daily", "@hourly", "@every 12h", "*/5  9-17 * JAN-MAR MON,WED"]
)
def test_a_schedule_may_be_all_that_kubernetes_takes(
    name: str, schedule: str, tmp_path: Path
) -> None:
    """Five fields, and the names that stand for them."""
    objects = accepted(name, rotating(schedule=schedule), tmp_path)

    assert one(objects, "CronJob")["spec"]["schedule"] == schedule


@pytest.mark.parametrize("name", HELMS)
def test_the_names_are_never_too_long(name: str, tmp_path: Path) -> None:
    """A CronJob's may have 52 characters, a Service's 63."""
    values = rotating() | {
        "fullnameOverride": "a" * 44 + "-" + "b" * 20,
        "webhookService": {"enabled": True},
    }
    values["settings"]["webhooks"] = {"inbox": WEBHOOK}
    objects = accepted(name, values, tmp_path)

    assert one(objects, "CronJob")["metadata"]["name"] == "a" * 44 + "-rotate"
    assert len(one(objects, "Service")["metadata"]["name"]) <= 63


@pytest.mark.parametrize("name", HELMS)
def test_two_upstreams_on_ports_of_their_own_are_fine(
    name: str, tmp_path: Path
) -> None:
    """Several APIs, one sidecar."""
    values = tmp_path / "values.yaml"
    second = SECOND | {"listen": "127.0.0.1:8710"}
    values.write_text(yaml.safe_dump(changed("settings.upstreams.billing", second)))

    done = run(helm(name), "template", "crm", CHART, "-f", values)

    assert "127.0.0.1:8710" in done.stdout


@pytest.mark.parametrize("name", HELMS)
def test_a_parent_must_name_its_containers(name: str) -> None:
    """Else EKS would give the application the right to read the secret."""
    chart = example_chart(name)

    done = run(
        *(helm(name), "template", "crm", chart, "--set", "sidecar.app.containers=null"),
        check=False,
    )

    assert "name the containers of your application" in sentence(done.stderr)
