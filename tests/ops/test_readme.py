"""The cluster's part of the README is true: its commands run, its YAML is accepted."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import (
    CHART,
    EXAMPLE,
    example,
    example_chart,
    helm,
    kubectl,
    kustomized,
    plain,
    pods,
)
from tests.support.ops_tools import ROOT, promtool, run

README = (ROOT / "README.md").read_text()
PART = README[README.index("## In a cluster") : README.index("## Runbook")]
NEED_A_CLUSTER = ("docker", "kubectl port-forward", "kubectl exec", "kubectl apply")


def blocks(language: str) -> list[str]:
    """The code blocks of a language in our part."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PART, re.MULTILINE | re.DOTALL)
    return [str(block) for block in found]


def commands() -> list[str]:
    """Every line to type."""
    return [line for block in blocks("bash") for line in block.splitlines() if line]


@pytest.mark.parametrize(
    "line", [line for line in commands() if not line.startswith(NEED_A_CLUSTER)]
)
def test_a_command_runs(line: str) -> None:
    """Those that need no cluster, just as they are written."""
    program, *arguments = shlex.split(line)
    example_folder = str(EXAMPLE.relative_to(ROOT))
    if example_folder in arguments:
        # In a copy: the real one must not fill up with fetched charts.
        arguments = [
            str(example_chart("helm")) if argument == example_folder else argument
            for argument in arguments
        ]
    places = {argument for argument in arguments if (ROOT / argument).exists()}
    arguments = [str(ROOT / a) if a in places else a for a in arguments]

    run(helm(program) if program == "helm" else kubectl(), *arguments)


@pytest.mark.parametrize("line", commands())
def test_a_command_names_what_is_there(line: str) -> None:
    """Every path in a command exists."""
    for path in re.findall(r"(?:config|helm)/\S+", line):
        assert (ROOT / path).exists(), path


def test_the_values_to_copy_are_accepted() -> None:
    """The example of `values.yaml` renders a whole application."""
    values = yaml.safe_load(blocks("yaml")[1])

    kinds = {thing["kind"] for thing in example("helm", values)}

    assert {"Deployment", "CronJob", "ConfigMap", "PodMonitor"} <= kinds


def test_the_pod_template_to_copy_is_the_one_of_the_example() -> None:
    """It includes what the example includes, but for the socket."""
    template = blocks("yaml")[2]
    pod = (EXAMPLE / "templates/_pod.tpl").read_text()
    included = set(re.findall(r'include "(sidecar\.\w+)"', template))

    assert included == set(re.findall(r'include "(sidecar\.\w+)"', pod)) - {
        "sidecar.appVolumeMounts"
    }


@pytest.mark.parametrize("file", [ROOT / "README.md", CHART / "README.md"])
def test_the_relabeling_to_copy_makes_the_labels_that_alerts_go_by(
    file: Path, tmp_path: Path
) -> None:
    """From a label that the pods of the examples have; Prometheus accepts it."""
    text = file.read_text()
    found = re.findall(
        r"^```yaml\n(relabel_configs:.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    (relabeling,) = [yaml.safe_load(block) for block in found]
    config = tmp_path / "prometheus.yaml"
    config.write_text(
        yaml.safe_dump({"scrape_configs": [{"job_name": "pods"} | relabeling]})
    )

    run(promtool(), "check", "config", config)
    assert {
        rule["target_label"]: rule["source_labels"]
        for rule in relabeling["relabel_configs"]
    } == {
        "namespace": ["__meta_kubernetes_namespace"],
        "job": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"],
    }
    for objects in (example("helm"), kustomized(), plain()):
        for _, metadata, pod in pods(objects):
            if "initContainers" in pod:
                assert metadata["labels"]["app.kubernetes.io/name"] == "crm-sync"


def test_every_file_and_picture_it_names_is_there() -> None:
    """No link of our part is dead."""
    paths = re.findall(r"!\[.*?\]\((.*?)\)", PART) + re.findall(
        r"`((?:config|helm)/[\w./-]+)`", PART
    )

    assert len(paths) >= 8
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_chart_is_where_the_dependency_says() -> None:
    """The version of the dependency is one that the chart has."""
    dependency = yaml.safe_load(blocks("yaml")[0])["dependencies"][0]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert dependency["name"] == chart["name"]
    assert dependency["version"] == f">={chart['version']}"
    assert Path(dependency["repository"].removeprefix("file://")).name == CHART.name
