"""
Promise 2, with real processes: a key revoked at once costs the service no failed call.

16 clients call in a closed loop while new keys are stored and old ones revoked in the
same breath; nobody tells the sidecar.
"""

from collections.abc import Callable

import pytest

from sidecar.demo.traffic import IN_CHUNKS, WITH_BODY, WITHOUT_BODY, Call, Traffic
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import Issued
from sidecar.emulator.state import Faults
from tests.support.faulty_aws import AwsFault, FaultyAws
from tests.support.processes import (
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
MOST_LOOKS = 10
"""At the start, and for a burst of 401s that finds nothing (`core.schedule`)."""


@pytest.mark.parametrize("probe", [None, "GET /contacts?limit=1"])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(WITHOUT_BODY, id="without-body"),
        pytest.param(WITH_BODY, id="with-body"),
        pytest.param(IN_CHUNKS, id="in-chunks"),
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
    """Clients, metrics and API agree: the API sent 401s, and no client saw one."""
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
    refused = sum(api.state.counts[key.id, 401] for key in keys)
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


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(AwsFault(error="ThrottlingException"), id="throttled"),
        pytest.param(AwsFault(hang=True), id="slow"),
    ],
)
def test_a_source_that_is_late_costs_no_call_without_a_probe(
    api: EmulatedApi,
    faulty_aws: FaultyAws,
    moto: AwsClient,
    issued: Issued,
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
    fault: AwsFault,
) -> None:
    """A call tries the key before, in vain; it gets the new one with all others."""
    endpoint = {"aws": {"endpoint_url": faulty_aws.endpoint}}
    process = sidecar_process(merge(settings, endpoint))
    process.wait_ready()
    second, third = api.issue(), api.issue()
    with Traffic(process.address(), CLIENTS, [WITHOUT_BODY, WITH_BODY]) as traffic:
        move_on(api, issued, traffic)
        moto.rotate(SECRET_ID, second.key)
        api.revoke(issued.id)
        move_on(api, second, traffic)
        burned = api.state.counts[issued.id, 401]

        faulty_aws.fail(fault)
        moto.rotate(SECRET_ID, third.key)
        api.revoke(second.id)
        wait_until(lambda: api.state.counts[issued.id, 401] > burned, "a trial")
        faulty_aws.fail()
        move_on(api, third, traffic)

    assert set(traffic.counts) == {"200"}
    assert process.metrics().value("sidecar_auth_failures_total") == 0
    assert process.stop() == 0


@pytest.mark.parametrize("probe", [None, "GET /contacts?limit=1"])
def test_a_call_that_always_draws_401_disarms_no_other(
    api: EmulatedApi,
    faulty_aws: FaultyAws,
    moto: AwsClient,
    issued: Issued,
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
    probe: str | None,
) -> None:
    """It wants another kind of credential, say; its 401s are its own, and cost no look."""
    odd: Call = ("GET", "/echo/always?n=1", None)
    api.state.faults = Faults(path="/v1/echo/", unauthorized=True)
    changes = {
        "upstreams": {UPSTREAM: {"credential": {"probe": probe}}},
        "aws": {"endpoint_url": faulty_aws.endpoint},
    }
    process = sidecar_process(merge(settings, changes))
    process.wait_ready()
    old = issued
    looks: list[int] = []
    with (
        Traffic(process.address(), 4, [WITHOUT_BODY, WITH_BODY]) as others,
        Traffic(process.address(), 1, [odd]) as always,
    ):
        for _ in range(ROTATIONS):
            move_on(api, old, others)
            draw_more(always)
            looks.append(faulty_aws.calls["DescribeSecret"])
            new = api.issue()
            moto.rotate(SECRET_ID, new.key)
            api.revoke(old.id)
            old = new
        move_on(api, old, others)

    assert set(others.counts) == {"200"}
    assert set(always.counts) == {"401"}
    assert looks[-1] <= MOST_LOOKS
    assert process.stop() == 0


def draw_more(traffic: Traffic) -> None:
    """Wait for a hundred calls more."""
    enough = traffic.calls + 100
    wait_until(lambda: traffic.calls >= enough, "calls")


def test_what_the_service_sees_of_403_is_the_apis(
    api: EmulatedApi,
    moto: AwsClient,
    issued: Issued,
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
) -> None:
    """Promise 1, while a key is replaced: each 403 is the API's, and there is no 401."""
    process = sidecar_process(settings)
    process.wait_ready()
    forbidden: Call = ("GET", "/status/403", None)
    new = api.issue()
    with Traffic(process.address(), CLIENTS, [WITHOUT_BODY, forbidden]) as traffic:
        move_on(api, issued, traffic)
        moto.rotate(SECRET_ID, new.key)
        api.revoke(issued.id)
        move_on(api, new, traffic)

    metrics = process.metrics()
    given = api.state.by_status()
    failures = "sidecar_auth_failures_total"
    assert set(traffic.counts) == {"200", "403"}
    assert traffic.counts["403"] == given[403]
    assert metrics.value(failures, code="403") == given[403]
    assert metrics.value(failures, code="401") == 0
    assert metrics.value("sidecar_recovered_401_total") == given[401] >= 1
    assert metrics.value("sidecar_requests_total", origin="sidecar") == 0
    told = process.logs("api_forbidden")
    assert len(told) == given[403]
    assert "does not allow" in told[0]["explanation"]
    process.assert_never_shown(issued.key, new.key)
    assert process.stop() == 0


def test_a_revoked_key_without_successor_gives_the_apis_own_401(
    api: EmulatedApi,
    faulty_aws: FaultyAws,
    moto: AwsClient,
    issued: Issued,
    settings: Settings,
    sidecar_process: Callable[..., SidecarProcess],
) -> None:
    """Untouched and counted; Secrets Manager is left alone; a new key ends it."""
    endpoint = {"aws": {"endpoint_url": faulty_aws.endpoint}}
    process = sidecar_process(merge(settings, endpoint))
    process.wait_ready()
    api.revoke(issued.id)
    with Traffic(process.address(), CLIENTS, [WITHOUT_BODY, WITH_BODY]) as traffic:
        wait_until(lambda: traffic.counts["401"] >= 20 * CLIENTS, "401s")
        looks = faulty_aws.calls["DescribeSecret"]
        seen = process.call()
        refused = process.metrics().value("sidecar_credential_state", state="refused")
        new = api.issue()
        moto.rotate(SECRET_ID, new.key)
        process.admin("/-/reload", "POST")
        move_on(api, new, traffic)

    assert set(traffic.counts) <= {"200", "401"}
    assert looks <= MOST_LOOKS
    assert refused == 1
    assert (seen.status, seen.json()["error"]["code"]) == (401, "revoked_key")
    assert "invalid_token" in seen.headers["www-authenticate"]
    assert "x-sidecar-error" not in seen.headers
    metrics = process.metrics()
    assert metrics.value("sidecar_credential_state", state="refused") == 0
    failures = metrics.value("sidecar_auth_failures_total", code="401")
    assert failures == traffic.counts["401"] + 1
    told = process.logs("api_unauthorized")
    assert len(told) == failures
    assert "did not accept the key" in told[0]["explanation"]
    process.assert_never_shown(issued.key, new.key)
    assert process.stop() == 0


def move_on(api: EmulatedApi, key: Issued, traffic: Traffic) -> None:
    """
    Wait until every client has begun and finished a call with this key.

    A call is replayed once: one that met two revocations would see the second.
    """
    wait_until(lambda: key.id in api.state.by_key(), "a call", PATIENCE_SECONDS)
    before = list(traffic.turns)

    def all_moved() -> bool:
        turns = zip(before, traffic.turns, strict=True)
        return all(now >= then + 2 for then, now in turns)

    wait_until(all_moved, "every client's next calls", PATIENCE_SECONDS)
