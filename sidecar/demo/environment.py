"""The demo's stage: emulated API, Secrets Manager and a real sidecar; an emergency."""

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
    show,
)
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import REGION, EmulatedAws
from sidecar.emulator.http_calls import ScrapedMetrics, wait_until
from sidecar.emulator.key_ring import Issued
from sidecar.emulator.sidecar_process import UPSTREAM, Settings, SidecarProcess

HOST: Final = "127.0.0.1"
STORED_AS: Final = "dev/flownally/crm-sync"
"""The key's name in Secrets Manager."""
ENOUGH_CALLS: Final = 200
PATIENCE_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Ports:
    """Where the sidecar listens; 0 picks a free one."""

    proxy: int = 8700
    admin: int = 8701
    webhooks: int = 8702


@dataclass(frozen=True)
class DemoResult:
    """What the emergency cost."""

    calls: int
    failed: int
    statuses: dict[str, int]
    old_key_401s: int
    new_key_calls: int
    seen_401s: float
    recovered: float
    cutovers: float

    @property
    def kept(self) -> bool:
        """Tell whether the promise was kept: no failed call, by every count."""
        return (
            self.failed == 0
            and self.seen_401s == 0
            and self.recovered > 0
            and self.new_key_calls > 0
        )


class DemoEnvironment:
    """Emulators and sidecar, all running; a context manager."""

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
        """Settings as a person would write them for this world."""
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
            # Who ends the demo waits for no stream that is open in a terminal.
            "drain": {"timeout_seconds": DRAIN_SECONDS},
        }

    def emergency(self) -> DemoResult:
        """Replace a leaked key and revoke it at once, while clients call."""
        old = self.key
        with Traffic(self.sidecar.address()) as traffic:
            self._wait_calls(traffic, ENOUGH_CALLS)
            new = self.api.issue(environment="test")
            self.aws.rotate(STORED_AS, new.key)
            self.api.revoke(old.id)
            self._wait_calls(traffic, traffic.calls + ENOUGH_CALLS)
            wait_until(
                lambda: self.api.world.by_key().get(new.id, 0) >= ENOUGH_CALLS,
                "calls with the new key",
                PATIENCE_SECONDS,
            )
        self.key = new
        return self._result(traffic, old, new, self.sidecar.metrics())

    def webhooks(self) -> tuple[DeliveryResult, ...]:
        """Send a delivery of each kind, as the API and others would."""
        return show(self.sidecar.address("webhooks"), self.webhook_secret, self.app)

    def _wait_calls(self, traffic: Traffic, calls: int) -> None:
        """Let the clients make so many calls."""
        wait_until(lambda: traffic.calls >= calls, "enough calls", PATIENCE_SECONDS)

    def _result(
        self, traffic: Traffic, old: Issued, new: Issued, metrics: ScrapedMetrics
    ) -> DemoResult:
        """Put the numbers of all three together."""
        return DemoResult(
            calls=traffic.calls,
            failed=traffic.failed,
            statuses=dict(traffic.counts),
            old_key_401s=self.api.world.counts[old.id, 401],
            new_key_calls=self.api.world.by_key().get(new.id, 0),
            seen_401s=metrics.value("sidecar_auth_failures_total", code="401"),
            recovered=metrics.value("sidecar_recovered_401_total"),
            cutovers=metrics.value(
                "sidecar_credential_cutovers_total", result="promoted"
            ),
        )


def taken(ports: Ports) -> str:
    """Name the first port that cannot be listened on, with the remedy; or nothing."""
    for option, port in (
        ("--port", ports.proxy),
        ("--admin-port", ports.admin),
        ("--webhook-port", ports.webhooks),
    ):
        with socket.socket() as probe:
            # As the sidecar does: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen()
            except OSError as error:
                return f"{HOST}:{port}: {error.strerror}; choose another by {option}"
    return ""
