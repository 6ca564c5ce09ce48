"""What the tests of the cluster files share: paths, tools, YAML."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config/prometheus/rules.yaml"
RULES_TEST = ROOT / "config/prometheus/rules_test.yaml"
DASHBOARD = ROOT / "config/grafana/dashboard.json"


def tool(name: str, hint: str) -> str:
    """Find a program, also in ~/.local/bin and beside Python; skip where there is none."""
    places = (None, Path.home() / ".local/bin", Path(sys.executable).parent)
    found = next(filter(None, (shutil.which(name, path=p) for p in places)), None)
    if found is None:
        pytest.skip(f"{name} is not installed: {hint}")
    return found


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and fail with everything it said."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")
    return done


def promtool() -> str:
    """Find promtool, or skip."""
    return tool("promtool", "apt-get install prometheus")


def load_all(text: str) -> list[Any]:
    """Every document of a YAML text that is not empty."""
    return [document for document in yaml.safe_load_all(text) if document]


def alerts() -> list[dict[str, Any]]:
    """Every alert of the rules file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def expressions() -> list[str]:
    """Every PromQL expression of the rules file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]
