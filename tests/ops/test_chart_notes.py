"""The notes of the chart on its own: all that a pod written by hand needs, to copy."""

import textwrap
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import CHART, FULL, MINIMAL, Object, helm
from tests.support.ops_tools import run


def notes(values: Path, *more: str) -> str:
    """What helm says after an installation; helm 3 would ask a cluster first."""
    install = (helm("helm"), "install", "crm", "--dry-run=client")
    return run(*install, CHART, "-f", values, *more).stdout.partition("\nNOTES:\n")[2]


def pod(said: str) -> Object:
    """The part of a pod in the notes."""
    lines = said[said.index("  metadata:\n") :].splitlines()
    end = lines.index("")
    template: Object = yaml.safe_load(textwrap.dedent("\n".join(lines[:end])))
    return template


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["least", "full"])
def test_every_volume_of_the_container_is_there(values: Path) -> None:
    """The folder of the sockets too, where there are any."""
    spec = pod(notes(values))["spec"]
    mounts = spec["initContainers"][0]["volumeMounts"]

    assert {one["name"] for one in mounts} == {one["name"] for one in spec["volumes"]}


def test_the_application_mounts_the_folder_of_the_sockets() -> None:
    """Only where there is one."""
    assert "mountPath: /run/sidecar" in notes(FULL).partition("volumes:")[2]
    assert "/run/sidecar" not in notes(MINIMAL)


def test_the_annotations_keep_aws_credentials_from_the_application() -> None:
    """As they do where the chart is a dependency."""
    metadata = pod(notes(FULL))["metadata"]

    assert metadata["labels"] == {"credential-sidecar": "crm-sidecar"}
    assert metadata["annotations"].keys() >= {"checksum/sidecar-settings"}
    assert metadata["annotations"]["eks.amazonaws.com/skip-containers"] == "app,worker"


def test_without_containers_they_say_what_to_set() -> None:
    """The release can be installed all the same; its pods are elsewhere."""
    said = notes(MINIMAL, "--set", "app.containers=null")

    assert "name the containers of your application in" in said
    assert "app.containers" in said
    assert pod(said)["metadata"]["annotations"] is None


@pytest.mark.parametrize("way", ["podMonitor.enabled", "podAnnotations.prometheus"])
def test_they_warn_where_no_metrics_are_collected(way: str) -> None:
    """And are silent once there is a way, of which the annotations are shown."""
    said = notes(MINIMAL, "--set", f"{way}=true")

    assert "Prometheus collects no metrics yet" in notes(MINIMAL)
    assert "Prometheus collects no metrics yet" not in said
    assert ("prometheus.io/port" in said) == (way == "podAnnotations.prometheus")
