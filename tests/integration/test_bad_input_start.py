"""
A start without AWS, and the end of patience: what it means to have no key.

Calls wait, then get 503 with a code and `Retry-After`, never a 401; the process lives on
and goes on asking.
"""

import threading
from collections.abc import Callable

import pytest

from sidecar.emulator.key_ring import Issued
from sidecar.errors import Code, RefreshResult
from tests.support.bad_input import GET, Becomes, Witness, ask, no_bug, serves
from tests.support.faulty_aws import AwsFault, FaultyAws
from tests.support.processes import (
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import Seen

Start = Callable[..., SidecarProcess]


@pytest.mark.parametrize(
    ("changes", "env", "result", "words"),
    [
        pytest.param(
            {"endpoint_url": "https://secretsmanager.nowhere.invalid"},
            {},
            RefreshResult.UNREACHABLE,
            "cannot be reached",
            id="dns",
        ),
        pytest.param(
            {},
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            RefreshResult.DENIED,
            "there are no AWS credentials",
            id="no-credentials",
        ),
    ],
)
def test_a_start_without_aws_goes_on_asking(
    settings: Settings,
    sidecar_process: Start,
    changes: Settings,
    env: dict[str, str],
    result: RefreshResult,
    words: str,
) -> None:
    """Alive, not ready, and told what is missing: no reason to exit."""
    process = sidecar_process(merge(settings, {"aws": changes}), env=env)
    process.wait_listening()
    counted = "sidecar_credential_refreshes_total"
    wait_until(lambda: process.metrics().value(counted, result=result) >= 2, counted)

    line = process.logs("credential_refresh_failed")[0]
    assert words in line["reason"]
    assert line["effect"] == "calls get 503"
    assert process.admin("/livez").status == 200
    assert process.admin("/startupz").status == 503
    assert process.admin("/readyz").status == 503
    assert process.stop() == 0
    no_bug(process)


def test_a_call_waits_for_a_secrets_manager_that_comes_late(
    faulty_aws: FaultyAws, settings: Settings, sidecar_process: Start
) -> None:
    """It came before the first key, and is answered as if it had not."""
    faulty_aws.refuse()
    process = sidecar_process(
        merge(settings, {"aws": {"endpoint_url": faulty_aws.endpoint}})
    )
    process.wait_listening()
    seen: list[Seen] = []
    caller = threading.Thread(target=lambda: seen.append(ask(process.address(), GET)))
    caller.start()
    inflight = "sidecar_inflight_requests"
    wait_until(lambda: process.metrics().value(inflight) == 1, inflight)
    faulty_aws.listen()
    process.admin("/-/reload", "POST")
    caller.join()

    assert seen[0].status == 200
    process.wait_ready()


def test_a_key_past_max_stale_is_no_longer_used(
    faulty_aws: FaultyAws, issued: Issued, settings: Settings, sidecar_process: Start
) -> None:
    """Fail closed: 503 with its own code, not ready; and back with the next look."""
    credential = {"max_stale_seconds": 1}
    process = sidecar_process(
        merge(
            settings,
            {
                "aws": {"endpoint_url": faulty_aws.endpoint},
                "upstreams": {UPSTREAM: {"credential": credential}},
            },
        )
    )
    process.wait_ready()
    serves(process.address())
    faulty_aws.fail(AwsFault(error="InternalServiceError", status=500))
    wait_until(lambda: process.admin("/readyz").status == 503, "not ready", 20)
    before = Witness(process)
    before.refused(
        ask(process.address()), Becomes(Code.CREDENTIAL_EXPIRED, "no usable API key")
    )

    assert process.metrics().value("sidecar_credential_state", state="expired") == 1
    assert process.logs("credential_expired")[0]["level"] == "error"
    faulty_aws.fail()
    wait_until(lambda: process.admin("/readyz").status == 200, "ready", 20)
    serves(process.address())
    process.assert_never_shown(issued.key)
    no_bug(process)
