"""
Promise 2, with real processes: a key revoked at once costs the service no failed call.

16 clients call in a closed loop while new keys are stored and old ones revoked in the
same breath; nobody tells the sidecar.
"""

from collections.abc import Callable

import pytest

from sidecar.demo.api import EmulatedApi
from sidecar.demo.aws import AwsClient
from sidecar.demo.keys import Issued
from sidecar.demo.traffic import WITH_BODY, WITHOUT_BODY, Call, Traffic
from tests.integration.support import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)

CLIENTS = 16
ROTATIONS = 3
PATIENCE_SECONDS = 30.0


@pytest.mark.parametrize("probe", [None, "GET /contacts?limit=1"])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(WITHOUT_BODY, id="without-body"),
        pytest.param(WITH_BODY, id="with-body"),
    ],
)
def test_a_key_revoked_at_once_costs_no_call(
    api: EmulatedApi,
    moto: AwsClient,
    issued: Issued,
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
    probe: str | None,
    call: Call,
) -> None:
    """Clients, metrics and API agree: 401s there were, and nobody saw one."""
    changes = {"upstreams": {UPSTREAM: {"credential": {"probe": probe}}}}
    process = sidecar_process(merge(settings, changes))
    process.wait_ready()
    keys = [issued]
    with Traffic(process.address(), CLIENTS, [call]) as traffic:
        for _ in range(ROTATIONS):
            move_on(api, keys[-1], traffic)
            keys.append(api.issue())
            moto.rotate(SECRET_ID, keys[-1].key)
            api.revoke(keys[-2].id)
        move_on(api, keys[-1], traffic)

    metrics = process.metrics()
    refused = sum(api.world.counts[key.id, 401] for key in keys)
    assert set(traffic.counts) == {"200"}
    assert metrics.value("sidecar_requests_total", code="200") == traffic.calls
    assert metrics.value("sidecar_auth_failures_total") == 0
    assert metrics.value("sidecar_recovered_401_total", how="replay") >= ROTATIONS
    assert metrics.value("sidecar_recovered_401_total") == refused
    assert (
        metrics.value("sidecar_credential_cutovers_total", result="promoted")
        >= ROTATIONS
    )
    process.assert_never_shown(*(key.key for key in keys))
    assert process.stop() == 0


def move_on(api: EmulatedApi, key: Issued, traffic: Traffic) -> None:
    """
    Wait until every client has begun and finished a call with this key.

    A call is replayed once: one that met two revocations would see the second.
    """
    wait_until(lambda: key.id in api.world.by_key(), "a call", PATIENCE_SECONDS)
    before = list(traffic.turns)

    def all_moved() -> bool:
        turns = zip(before, traffic.turns, strict=True)
        return all(now >= then + 2 for then, now in turns)

    wait_until(all_moved, "every client's next calls", PATIENCE_SECONDS)
