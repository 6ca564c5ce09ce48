"""Renders the chart, the example and the kustomization, and looks at what comes out."""

import functools
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.ops_tools import ROOT, load_all, run, tool

CHART = ROOT / "helm"
EXAMPLE = ROOT / "config/kubernetes/example-app"
HELMS = ("helm", "helm3")
MINIMAL = CHART / "ci/minimal-values.yaml"
FULL = CHART / "ci/full-values.yaml"

Object = dict[str, Any]


def helm(name: str) -> str:
    """Find helm 4 (`helm`) or helm 3 (`helm3`), or skip."""
    return tool(name, "run ../shared/tools/get-helm")


def kubectl() -> str:
    """Find kubectl, or skip."""
    return tool("kubectl", "run ../shared/tools/get-helm")


@functools.cache
def rendered(name: str, values: Path = FULL) -> tuple[Object, ...]:
    """Every object of the chart on its own."""
    done = run(helm(name), "template", "crm", CHART, "-f", values, "-n", "apps")
    return tuple(load_all(done.stdout))


@functools.cache
def example_chart(name: str) -> Path:
    """The example application with its dependency fetched, in a folder of its own."""
    root = Path(tempfile.mkdtemp(prefix="sidecar-example-"))
    shutil.copytree(CHART, root / "helm")
    chart = root / "config/kubernetes/example-app"
    shutil.copytree(EXAMPLE, chart)
    run(helm(name), "dependency", "build", chart)
    return chart


def example(name: str, values: Object | None = None) -> list[Object]:
    """Every object of the example application."""
    chart = example_chart(name)
    changed = chart / "changed.yaml"
    changed.write_text(yaml.safe_dump(values or {}))
    return load_all(run(helm(name), "template", "crm", chart, "-f", changed).stdout)


@functools.cache
def kustomized() -> tuple[Object, ...]:
    """Every object of the kustomize example."""
    folder = ROOT / "config/kubernetes/kustomize-example"
    return tuple(load_all(run(kubectl(), "kustomize", folder).stdout))


def plain() -> list[Object]:
    """Every object of the plain manifests."""
    file = ROOT / "config/kubernetes/plain/deployment.yaml"
    return load_all(file.read_text())


def readme() -> list[Object]:
    """The CronJob to copy from the README."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(
        r"^```yaml\n(apiVersion:.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    return [thing for block in blocks for thing in load_all(block)]


def one(objects: Any, kind: str, name: str = "") -> Object:
    """The object of this kind whose name ends like this."""
    found = [
        thing
        for thing in objects
        if thing["kind"] == kind and thing["metadata"]["name"].endswith(name)
    ]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return dict(found[0])


def pods(objects: Any) -> Iterator[tuple[str, Object, Object]]:
    """Every pod template: a name for people, its metadata, its spec."""
    for thing in objects:
        spec = thing.get("spec", {})
        if thing["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if thing["kind"] == "Pod":
            yield thing["metadata"]["name"], thing["metadata"], spec
        elif "template" in spec:
            template = spec["template"]
            yield (
                thing["metadata"]["name"],
                template.get("metadata", {}),
                template["spec"],
            )


def containers(pod: Object) -> list[Object]:
    """Every container of a pod."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def sidecar_of(objects: Any, kind: str) -> Object:
    """The sidecar's container in the one object of this kind."""
    _, _, pod = next(pods([one(objects, kind)]))
    found = [c for c in pod["initContainers"] if c["name"] == "sidecar"]
    assert len(found) == 1
    return dict(found[0])


def sentence(text: str) -> str:
    """Helm's complaint in one line."""
    return re.sub(r"\s+", " ", text)
