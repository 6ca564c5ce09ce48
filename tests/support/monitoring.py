"""
A real Prometheus, a real Alertmanager and a receiver of its notices, all on loopback.

The rules are ours, sixty times faster: a minute becomes a second, so that what takes an
hour in a cluster is seen in one test. Shares and thresholds stay what they are.
"""

import http.server
import json
import re
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.emulator.http_calls import call, wait_until
from tests.support.ops_tools import RULES, tool

LOOPBACK: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
SPEED: Final = 60
LABELS: Final = {
    "namespace": "apps",
    "pod": "crm-sync-0",
    "container": "sidecar",
    "endpoint": "sidecar-admin",
}
"""What the operator puts on a target of a PodMonitor, beside `job`."""
RELABELINGS: Final = [{"action": "labeldrop", "regex": "endpoint"}]
"""What the chart's PodMonitor changes about it; both forms spell it the same."""


def faster(rules: str) -> str:
    """Our rules with every range, `for` and length of time divided by `SPEED`."""

    def shorter(found: re.Match[str]) -> str:
        before, number, unit, after = found.groups()
        return f"{before}{max(1, int(number) * SECONDS[unit] // SPEED)}s{after}"

    rules = re.sub(r"(\[)(\d+)([smh])(\])", shorter, rules)
    return re.sub(r"(for: )(\d+)([smh])(\n)", shorter, rules)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Receiver:
    """Takes the notices of an Alertmanager."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        """Every alert of every notice, in the order of arrival."""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Take a notice."""
                length = int(self.headers["Content-Length"])
                receiver.alerts += json.loads(self.rfile.read(length))["alerts"]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()

    def has(self, name: str, status: str) -> bool:
        """Whether this alert was told to be `firing` or `resolved`."""
        return any(
            (alert["labels"]["alertname"], alert["status"]) == (name, status)
            for alert in self.alerts
        )


class Prometheus:
    """A server that scrapes sidecars every second."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        return self._ask("query", query=expr)

    def range(
        self, expr: str, begin: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """The result of a query over a time, in Unix seconds."""
        return self._ask("query_range", query=expr, start=begin, end=end, step=step)

    def _ask(self, what: str, **parameters: object) -> list[dict[str, Any]]:
        target = f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        answer = call(self.address, target).json()
        assert answer["status"] == "success", (parameters, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """The alerts that fire or are about to."""
        return {sample["metric"]["alertname"] for sample in self.query("ALERTS")}


@contextmanager
def process(directory: Path, port: int, *command: str) -> Iterator[str]:
    """A server in the background; gives its address once it is ready."""
    log = directory / f"{Path(command[0]).name}.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, cwd=directory, stdout=out, stderr=subprocess.STDOUT
        ) as running,
    ):

        def ready() -> bool:
            assert running.poll() is None, log.read_text()
            try:
                return call(f"{LOOPBACK}:{port}", "/-/ready", seconds=1).status == 200
            except OSError:
                return False

        try:
            wait_until(ready, command[0], START_SECONDS)
            yield f"{LOOPBACK}:{port}"
        finally:
            running.kill()


@contextmanager
def alertmanager(directory: Path, receiver: Receiver) -> Iterator[str]:
    """An Alertmanager that tells everything at once."""
    program = tool("prometheus-alertmanager", "apt-get install prometheus-alertmanager")
    port = free_port()
    config = directory / "alertmanager.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "route": {
                    "receiver": "test",
                    "group_by": ["alertname"],
                    "group_wait": "1s",
                    "group_interval": "1s",
                },
                "receivers": [
                    {"name": "test", "webhook_configs": [{"url": receiver.url}]}
                ],
            }
        )
    )
    command = (
        program,
        f"--config.file={config}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
    )
    with process(directory, port, *command) as address:
        yield address


@contextmanager
def monitored(
    directory: Path, admin: str, receiver: Receiver | None = None
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes this admin port, with our rules, sixty times faster."""
    program = tool("prometheus", "apt-get install prometheus")
    with ExitStack() as stack:
        (directory / "rules.yaml").write_text(faster(RULES.read_text()))
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": "crm-sync",
                    "static_configs": [{"targets": [admin], "labels": LABELS}],
                    "relabel_configs": RELABELINGS,
                }
            ],
        }
        if receiver is not None:
            address = stack.enter_context(alertmanager(directory, receiver))
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [address]}]}]
            }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        port = free_port()
        command = (
            program,
            "--config.file=prometheus.yaml",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={LOOPBACK}:{port}",
        )
        yield Prometheus(stack.enter_context(process(directory, port, *command)))
