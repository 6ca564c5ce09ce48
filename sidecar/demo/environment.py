"""The demo's emulated API and Secrets Manager, its real sidecar, and a leaked key."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from sidecar.demo.traffic import Traffic
from sidecar.demo.webhooks import (
    ENDPOINT,
    SECRET_ID,
    DeliveryResult,
    WebhookApp,
    make_secret,
    send_deliveries,
)
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import REGION, EmulatedAws
from sidecar.emulator.http_calls import ScrapedMetrics, wait_until
from sidecar.emulator.key_ring import Issued
from sidecar.emulator.sidecar_process import UPSTREAM, Settings, SidecarProcess

HOST: Final = "127.0.0.1"
STORED_AS: Final = "dev/flownally/crm-sync"
"""The name of the API key's secret in Secrets Manager."""
CALLS_PER_PHASE: Final = 200
WAIT_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Ports:
    """The sidecar's ports; 0 picks a free one."""

    proxy: int = 8700
    admin: int = 8701
    webhooks: int = 8702


@dataclass(frozen=True)
class DemoResult:
    """The counts of the clients, of the API and of `/metrics`."""

    calls: int
    failed: int
    statuses: dict[str, int]
    old_key_401s: int
    new_key_calls: int
    seen_401s: float
    recovered: float
    cutovers: float

    @property
    def succeeded(self) -> bool:
        """Whether no call failed, by every count, and the new key is in use."""
        return (
            self.failed == 0
            and self.seen_401s == 0
            and self.recovered > 0
            and self.new_key_calls > 0
        )


class DemoEnvironment:
    """The emulators and the sidecar, running; a context manager."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self._directory = directory
        self._ports = ports
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self.api = self._stack.enter_context(EmulatedApi(self._directory / "api"))
            self.aws = self._stack.enter_context(EmulatedAws())
            self.key = self.api.issue(environment="test")
            self.aws.put_secret(STORED_AS, self.key.key, {"owner": "crm-platform"})
            self.app = self._stack.enter_context(WebhookApp())
            self.webhook_secret = make_secret()
            self.aws.put_secret(SECRET_ID, self.webhook_secret)
            self.sidecar = SidecarProcess(self._directory, self.settings())
            self._stack.callback(self.sidecar.close)
            self._stack.callback(self.sidecar.stop)
            self.sidecar.wait_ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self) -> Settings:
        """Return the sidecar's settings for this environment."""
        return {
            "job": {
                "name": "development-crm-sync",
                "environment": "development",
                "owner": "crm-platform",
            },
            "upstreams": {
                UPSTREAM: {
                    "listen": f"{HOST}:{self._ports.proxy}",
                    "base_url": self.api.base_url,
                    "ca_file": str(self.api.certificate.ca_file),
                    "credential": {
                        "secret_id": STORED_AS,
                        "key_prefix": "fln_test_",
                        "probe": "GET /contacts?limit=1",
                    },
                }
            },
            "webhooks": {
                ENDPOINT: {"secret_id": SECRET_ID, "forward_to": self.app.url}
            },
            "webhook_listener": {"listen": f"{HOST}:{self._ports.webhooks}"},
            "admin": {"listen": f"{HOST}:{self._ports.admin}"},
            "aws": {"region": REGION, "endpoint_url": self.aws.endpoint},
            # Ctrl-C must not wait long for a stream that is open in a terminal.
            "drain": {"timeout_seconds": DRAIN_SECONDS},
        }

    def replace_leaked_key(self) -> DemoResult:
        """Store a new key and revoke the old one at once, while clients call."""
        old = self.key
        with Traffic(self.sidecar.address()) as traffic:
            self._wait_calls(traffic, CALLS_PER_PHASE)
            new = self.api.issue(environment="test")
            self.aws.rotate(STORED_AS, new.key)
            self.api.revoke(old.id)
            self._wait_calls(traffic, traffic.calls + CALLS_PER_PHASE)
            wait_until(
                lambda: self.api.state.by_key().get(new.id, 0) >= CALLS_PER_PHASE,
                "calls with the new key",
                WAIT_SECONDS,
            )
        self.key = new
        return self._result(traffic, old, new, self.sidecar.metrics())

    def webhooks(self) -> tuple[DeliveryResult, ...]:
        """Send valid and invalid deliveries to the webhook listener."""
        return send_deliveries(
            self.sidecar.address("webhooks"), self.webhook_secret, self.app
        )

    def _wait_calls(self, traffic: Traffic, calls: int) -> None:
        """Wait until the clients have made this number of calls."""
        wait_until(lambda: traffic.calls >= calls, "enough calls", WAIT_SECONDS)

    def _result(
        self, traffic: Traffic, old: Issued, new: Issued, metrics: ScrapedMetrics
    ) -> DemoResult:
        """Collect the counts of all three."""
        return DemoResult(
            calls=traffic.calls,
            failed=traffic.failed,
            statuses=dict(traffic.counts),
            old_key_401s=self.api.state.counts[old.id, 401],
            new_key_calls=self.api.state.by_key().get(new.id, 0),
            seen_401s=metrics.value("sidecar_auth_failures_total", code="401"),
            recovered=metrics.value("sidecar_recovered_401_total"),
            cutovers=metrics.value(
                "sidecar_credential_cutovers_total", result="promoted"
            ),
        )


def port_in_use(ports: Ports) -> str:
    """Return the first port that is in use and its remedy; empty if all are free."""
    for option, port in (
        ("--port", ports.proxy),
        ("--admin-port", ports.admin),
        ("--webhook-port", ports.webhooks),
    ):
        with socket.socket() as probe:
            # The sidecar sets it too: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen()
            except OSError as error:
                return f"{HOST}:{port}: {error.strerror}; choose another with {option}"
    return ""
