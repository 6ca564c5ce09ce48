"""A key is revoked in a cluster: the alert reaches the person on call and resolves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.monitoring import Receiver, faster, monitored
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.traffic import traffic

if TYPE_CHECKING:
    from sidecar.emulator.api import EmulatedApi
    from sidecar.emulator.aws import AwsClient
    from sidecar.emulator.key_ring import Issued

CALLED_SECONDS = 40.0
QUICK = {"upstreams": {UPSTREAM: {"credential": {"refresh_seconds": 1}}}}


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    """The receiver of the person on call."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.timeout(150)
def test_the_401_alert_reaches_a_person_and_resolves(
    tmp_path: Path,
    api: "EmulatedApi",
    moto: "AwsClient",
    issued: "Issued",
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
    receiver: Receiver,
) -> None:
    """First a good rotation, without an alert; then a key revoked without successor."""
    running = sidecar_process(merge(settings, QUICK))
    running.wait_ready()
    with (
        monitored(tmp_path, running.address("admin"), receiver) as prometheus,
        traffic(running.address()) as answers,
    ):
        wait_until(lambda: prometheus.query("sidecar_requests_total > 20"), "traffic")

        second = api.issue()
        moto.rotate(SECRET_ID, second.key)
        api.revoke(issued.id)
        version = moto.version(SECRET_ID, "AWSCURRENT")[:8]
        in_use = f'sidecar_credential_info{{fingerprint="{version}"}}'
        wait_until(lambda: prometheus.query(in_use), "the rotation")
        total = answers.total()
        wait_until(lambda: answers.total() > total + 100, "more traffic")
        assert set(answers) == {200}
        assert prometheus.firing() == set()
        assert receiver.alerts == []

        api.revoke(second.id)
        wait_until(
            lambda: receiver.has("Sidecar401BurnFast", "firing"),
            "the call",
            CALLED_SECONDS,
        )
        assert receiver.has("SidecarKeyRejected", "firing")
        assert not receiver.has("SidecarForbidden", "firing")
        told = next(
            alert["annotations"]
            for alert in receiver.alerts
            if alert["labels"]["alertname"] == "Sidecar401BurnFast"
        )
        assert "Store a new key in Secrets Manager" in told["description"]

        third = api.issue()
        moto.rotate(SECRET_ID, third.key)
        for name in ("Sidecar401BurnFast", "SidecarKeyRejected"):
            wait_until(
                lambda name=name: receiver.has(name, "resolved"),  # type: ignore[misc]  # bound now
                f"{name} to resolve",
                CALLED_SECONDS,
            )
    running.assert_never_shown(issued.key, second.key, third.key)


def test_the_faster_rules_are_the_same_rules() -> None:
    """Only lengths of time differ: thresholds and labels are untouched."""
    rules = 'expr: rate(x[5m]) > 14.4 * 0.001 and y{code="401"}[6h]\nfor: 2m\n'

    assert faster(rules) == (
        'expr: rate(x[5s]) > 14.4 * 0.001 and y{code="401"}[360s]\nfor: 2s\n'
    )
