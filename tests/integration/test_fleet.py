"""
A fleet through everything that can happen to its key: promise 2, eight times at once.

Zero failed calls wherever a working key can be had; where none can, the API's own 401
passes through, and neither Secrets Manager nor the API is hammered.
"""

import json
import time
from collections.abc import Iterator

import pytest

from sidecar.core.rotation.facts import RotationRequest
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import EmulatedAws
from sidecar.emulator.ca import Certificate
from sidecar.emulator.state import Cut, Faults
from sidecar.rotation.revoke import RevokeRequest, revoke
from sidecar.rotation.workflow import Workflow
from tests.support.faulty_aws import AwsFault
from tests.support.fleet import REFRESH_SECONDS, SIDECARS, Fleet
from tests.support.processes import SECRET_ID, wait_until

pytestmark = pytest.mark.timeout(180)

SOME_CALLS = 10 * SIDECARS
DOWN = AwsFault(error="InternalServiceError", status=500)
THROTTLED = AwsFault(error="ThrottlingException")
HOUR = 3600.0
BURST = 8
"""RefreshSchedule that a sidecar may spend on 401s at once."""


@pytest.fixture(name="started", scope="module")
def _started(
    moto_server: EmulatedAws,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """One fleet for this file: to start it takes longer than most of its tests."""
    moto_server.reset()
    directory = tmp_path_factory.mktemp("fleet")
    with (
        EmulatedApi(directory / "api", certificate=certificate) as api,
        Fleet(directory, api, moto_server) as fleet,
    ):
        yield fleet
    moto_server.reset()


@pytest.fixture(name="fleet")
def _fleet(started: Fleet) -> Fleet:
    """The fleet, every sidecar on one fresh key."""
    started.renew()
    return started


def all_use(fleet: Fleet, fingerprint: str) -> None:
    """Wait until every sidecar is on this version, and well."""
    fleet.until_all(
        lambda status: (
            status["fingerprint"] == fingerprint and status["state"] == "fresh"
        )
    )


def current(fleet: Fleet) -> str:
    """Fingerprint of AWSCURRENT."""
    return fleet.stage.labels()["AWSCURRENT"][:8]


def test_a_planned_rotation_costs_no_call_and_draws_no_401(fleet: Fleet) -> None:
    """All have moved before the old key is revoked: nobody ever sees a 401."""
    before = fleet.api.state.by_status().get(401, 0)
    with fleet.services() as services:
        services.more(SOME_CALLS)
        outcome = Workflow(fleet.parts()).run(RotationRequest())
        services.more(SOME_CALLS)

    services.check_none_failed()
    all_use(fleet, outcome.fingerprint)
    assert fleet.api.state.by_status().get(401, 0) == before
    fleet.stage.check_rotated()


def test_an_emergency_costs_no_call(fleet: Fleet) -> None:
    """Created, promoted and revoked in one go, while all use the old one."""
    with fleet.services() as services:
        services.more(SOME_CALLS)
        revoke(fleet.parts(), RevokeRequest(emergency=True, replace=True), print)
        services.more(SOME_CALLS)

    services.check_none_failed()
    all_use(fleet, current(fleet))


def test_a_bad_new_key_is_refused_by_all(fleet: Fleet) -> None:
    """It draws 401 on the probe: all stay on the old one, and say so."""
    before = {status["fingerprint"] for status in fleet.statuses()}
    asked = fleet.faulty_aws.calls["GetSecretValue"]
    with fleet.services() as services:
        bad = {"api_key": "fln_live_" + "0" * 40, "key_id": "key_none"}
        fleet.stage.moto.rotate(SECRET_ID, json.dumps(bad))
        fleet.until_all(lambda status: bool(status["candidate_rejected"]))
        services.more(SOME_CALLS)

    services.check_none_failed()
    statuses = fleet.statuses()
    assert {status["fingerprint"] for status in statuses} == before
    assert all(status["last_error"] for status in statuses)
    rejected = fleet.metric("sidecar_credential_cutovers_total", result="rejected")
    assert min(rejected) >= 1
    # One look at the new version each; what is refused is probed, not fetched, again.
    assert fleet.faulty_aws.calls["GetSecretValue"] - asked <= 3 * SIDECARS


def test_a_new_key_that_dies_rolls_all_back(fleet: Fleet) -> None:
    """It worked, everybody used it; the one before still works."""
    second = fleet.api.issue()
    fingerprint = fleet.store(second)
    fleet.reload()
    all_use(fleet, fingerprint)
    with fleet.services() as services:
        services.more(SOME_CALLS)
        fleet.api.revoke(second.id)
        fleet.until_all(lambda status: bool(status["state"] == "rolled_back"))
        services.more(SOME_CALLS)

    services.check_none_failed()
    assert (
        fleet.metric("sidecar_credential_state", state="rolled_back")
        == [1.0] * SIDECARS
    )


@pytest.mark.parametrize("fault", [DOWN, THROTTLED], ids=["down", "throttled"])
def test_a_rotation_while_secrets_manager_is_away_costs_no_call(
    fleet: Fleet, fault: AwsFault
) -> None:
    """All serve on with the old key, and move when they can look again."""
    third = fleet.api.issue()
    with fleet.services() as services:
        fleet.faulty_aws.fail(fault)
        services.more(SOME_CALLS)
        fingerprint = fleet.store(third)
        fleet.until_all(lambda status: bool(status["state"] == "stale"))
        services.more(SOME_CALLS)
        fleet.faulty_aws.fail()
        all_use(fleet, fingerprint)
        services.more(SOME_CALLS)

    services.check_none_failed()


def test_a_new_key_that_dies_while_secrets_manager_is_away_costs_no_call(
    fleet: Fleet,
) -> None:
    """Each still holds the previous key and returns to it without AWS."""
    second = fleet.api.issue()
    fingerprint = fleet.store(second)
    fleet.reload()
    all_use(fleet, fingerprint)
    with fleet.services() as services:
        services.more(SOME_CALLS)
        fleet.faulty_aws.fail(DOWN)
        fleet.api.revoke(second.id)
        services.more(2 * SOME_CALLS)
        fleet.faulty_aws.fail()

    services.check_none_failed()


def test_a_bad_new_key_is_refused_after_an_outage(fleet: Fleet) -> None:
    """Secrets Manager comes back with a version that does not work."""
    with fleet.services() as services:
        fleet.faulty_aws.fail(DOWN)
        bad = {"api_key": "fln_live_" + "1" * 40, "key_id": "key_none"}
        fleet.stage.moto.rotate(SECRET_ID, json.dumps(bad))
        fleet.until_all(lambda status: bool(status["state"] == "stale"))
        fleet.faulty_aws.fail()
        fleet.until_all(lambda status: bool(status["candidate_rejected"]))
        services.more(SOME_CALLS)

    services.check_none_failed()


def test_a_probe_without_an_answer_leaves_all_where_they_are(fleet: Fleet) -> None:
    """The API cuts every probe: undecided, so the old key serves on; then all move."""
    second = fleet.api.issue()
    before = {status["fingerprint"] for status in fleet.statuses()}
    with fleet.services() as services:
        fleet.api.fail(Faults(path="/v1/contacts?limit=1", cut=Cut.HEAD))
        fingerprint = fleet.store(second)
        fleet.until_all(lambda status: bool(status["candidate"] == fingerprint))
        services.more(SOME_CALLS)
        assert {status["fingerprint"] for status in fleet.statuses()} == before
        fleet.api.fail()
        all_use(fleet, fingerprint)
        services.more(SOME_CALLS)

    services.check_none_failed()


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_clock_that_is_set_costs_no_call(fleet: Fleet, step: float) -> None:
    """An hour either way, before a planned rotation and before an emergency."""
    with fleet.services() as services:
        services.more(SOME_CALLS)
        fleet.clock(step)
        services.more(SOME_CALLS)
        Workflow(fleet.parts()).run(RotationRequest())
        all_use(fleet, current(fleet))
        fleet.clock(0)
        revoke(fleet.parts(), RevokeRequest(emergency=True, replace=True), print)
        services.more(SOME_CALLS)

    services.check_none_failed()
    all_use(fleet, current(fleet))


# The last two spend what sidecars may ask for in bursts of 401s: after an outage, that
# comes back only slowly.


class RefreshRequested:
    """Counts what the fleet asks Secrets Manager from now on."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._before = sum(fleet.faulty_aws.calls.values())
        self._began = time.monotonic()

    def check_bounded(self) -> None:
        """Regular looks, 10 % early at most, and one burst each: not one per 401."""
        asked = sum(self._fleet.faulty_aws.calls.values()) - self._before
        seconds = time.monotonic() - self._began
        regular = seconds / (0.9 * REFRESH_SECONDS) + 1
        assert asked <= SIDECARS * (regular + BURST)


@pytest.mark.parametrize("fault", [DOWN, THROTTLED], ids=["down", "throttled"])
def test_where_no_working_key_can_be_had_the_apis_401_passes(
    fleet: Fleet, fault: AwsFault
) -> None:
    """An emergency while Secrets Manager is away: bounded calls, and then recovery."""
    with fleet.services() as services:
        services.more(SOME_CALLS)
        fleet.faulty_aws.fail(fault)
        asked = RefreshRequested(fleet)
        revoke(fleet.parts(), RevokeRequest(emergency=True, replace=True), print)
        services.more(4 * SOME_CALLS)
        asked.check_bounded()
        fleet.faulty_aws.fail()
        all_use(fleet, current(fleet))
        failed = dict(services.counts)
        services.more(SOME_CALLS)

    assert set(services.counts) <= {"200", "401"}
    assert set(services.codes) == {"revoked_key"}
    assert services.counts["401"] == failed["401"]


def test_where_no_key_works_at_all_nobody_is_hammered(fleet: Fleet) -> None:
    """Every key is revoked: one call of a service is one call to the API."""
    with fleet.services() as services:
        services.more(SOME_CALLS)
        for key_id in fleet.stage.live():
            fleet.api.revoke(key_id)
        wait_until(lambda: services.counts["401"] >= SIDECARS, "the first 401s")
        asked = RefreshRequested(fleet)
        refused = fleet.api.state.by_status().get(401, 0)
        seen = services.counts["401"]
        services.more(4 * SOME_CALLS)
        refused = fleet.api.state.by_status().get(401, 0) - refused
        seen = services.counts["401"] - seen
        asked.check_bounded()
        fleet.store(fleet.api.issue())
        fleet.reload()
        all_use(fleet, current(fleet))

    assert set(services.counts) <= {"200", "401"}
    assert set(services.codes) == {"revoked_key"}
    assert refused <= seen + 4 * SIDECARS
