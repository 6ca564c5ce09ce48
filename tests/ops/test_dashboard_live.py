"""Every panel shows something: its queries on a real Prometheus and a real sidecar."""

import http.server
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.monitoring import LOOPBACK, monitored
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    call,
    merge,
    wait_until,
)
from tests.support.promql import queries
from tests.support.traffic import traffic
from tests.support.webhook_fakes import SECRET, headers

if TYPE_CHECKING:
    from sidecar.emulator.api import EmulatedApi
    from sidecar.emulator.aws import AwsClient
    from sidecar.emulator.key_ring import Issued

MIXED = ("/contacts", "/status/403", "/echo", "/contacts/none", "/a/../b")
"""200, 403, the key sent back, 404, refused."""
WEBHOOK_SECRET_ID = "prod/flownally/webhook"
INTERVAL = "5s"


@pytest.fixture(name="hook_url")
def _hook_url() -> Iterator[str]:
    """An application that takes every delivery."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Say thanks."""
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}/hooks"
        server.shutdown()


@pytest.mark.timeout(120)
def test_every_panel_has_data_under_mixed_traffic(
    tmp_path: Path,
    api: "EmulatedApi",
    moto: "AwsClient",
    issued: "Issued",
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
    hook_url: str,
) -> None:
    """Calls of every kind, deliveries and an emergency rotation; then every query."""
    moto.put_secret(WEBHOOK_SECRET_ID, SECRET)
    changes: Settings = {
        "job": {"rotate_every_days": 90},
        "upstreams": {UPSTREAM: {"credential": {"refresh_seconds": 2}}},
        "webhooks": {"inbox": {"secret_id": WEBHOOK_SECRET_ID, "forward_to": hook_url}},
        "webhook_listener": {"listen": "127.0.0.1:0"},
    }
    running = sidecar_process(merge(settings, changes))
    running.wait_ready()
    with (
        monitored(tmp_path, running.address("admin")) as prometheus,
        traffic(running.address(), MIXED, pause=0.01),
    ):
        deliver(running.address("webhooks"), 1)
        wait_until(lambda: prometheus.query("sidecar_requests_total > 5"), "traffic")
        second = api.issue()
        api.revoke(issued.id)
        moto.rotate(SECRET_ID, second.key)
        numbers = iter(range(2, 10_000))
        empty: set[str] = set()

        def all_have_data() -> bool:
            deliver(running.address("webhooks"), next(numbers))
            empty.clear()
            for query in queries():
                expr = query.filled(__rate_interval=INTERVAL, __range="1m")
                values = [float(s["value"][1]) for s in prometheus.query(expr)]
                if not any(math.isfinite(value) for value in values):
                    empty.add(query.panel)
            return not empty

        try:
            wait_until(all_have_data, "data in every panel", 40)
        finally:
            assert empty == set()
        for name in ("namespace", "job"):
            found = prometheus.query(f"group by ({name}) (sidecar_build_info)")
            assert found[0]["metric"][name]
        # Not `exported_endpoint`, though the operator has a label of this name.
        assert prometheus.query('sidecar_webhooks_total{endpoint="inbox"}')


def deliver(address: str, number: int) -> None:
    """Send one true delivery."""
    body = b'{"type": "contact.updated"}'
    signed = headers(body, f"msg_{number}", time.time())

    assert (
        call(
            address, "/webhooks/inbox", method="POST", body=body, headers=signed
        ).status
        == 204
    )
