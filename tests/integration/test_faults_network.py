"""
Faults of the network between each pair of parts, with a relay in front of real processes.

Whatever happens, a call ends in its time with a whole answer, an answer that is visibly
cut, or a code of ours; and when the network is well again, so are we.
"""

from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest

from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import Issued
from tests.support.attack_rig import HOST, AttackRig, limits
from tests.support.faulty_proxy import CALM, FaultyProxy, Trouble
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import (
    RawApi,
    RawClient,
    always,
    file_settings,
)

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
BODY: Final = b"0123456789" * 200
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD_BYTES: Final = len(ANSWER) - len(BODY)


@pytest.fixture(name="between", scope="module")
def _between(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[AttackRig, FaultyProxy]]:
    """A sidecar whose way to the API leads through a relay."""
    directory = tmp_path_factory.mktemp("between")
    with RawApi() as api, FaultyProxy("127.0.0.1", api.port) as relay:
        api.script = always(ANSWER)
        fast = limits(response_seconds=0.6, idle_seconds=0.6, connect_seconds=0.6)
        base = file_settings(directory, f"http://{relay.address}/v1")
        process = SidecarProcess(directory / "sidecar", merge(base, fast))
        try:
            process.wait_ready()
            rig = AttackRig(api, process, process.address())
            yield rig, relay
            rig.at_rest()
            assert rig.bugs() == []
        finally:
            process.close()


@pytest.mark.parametrize(
    ("trouble", "status", "code", "whole"),
    [
        pytest.param(Trouble(delay_seconds=0.05), 200, "", True, id="late"),
        pytest.param(Trouble(piece_bytes=7), 200, "", True, id="in-pieces"),
        pytest.param(
            Trouble(back_bytes=0), 502, "upstream_protocol", True, id="cut-before"
        ),
        pytest.param(
            Trouble(back_bytes=9), 502, "upstream_protocol", True, id="cut-in-head"
        ),
        pytest.param(
            Trouble(back_bytes=HEAD_BYTES + 99), 200, "", False, id="cut-in-body"
        ),
        pytest.param(
            Trouble(back_bytes=0, then="reset"),
            502,
            "upstream_protocol",
            True,
            id="reset-before",
        ),
        pytest.param(
            Trouble(back_bytes=HEAD_BYTES + 99, then="reset"),
            200,
            "",
            False,
            id="reset-in-body",
        ),
        pytest.param(
            Trouble(back_bytes=0, then="half"),
            502,
            "upstream_protocol",
            True,
            id="half-closed",
        ),
        pytest.param(
            Trouble(back_bytes=9, then="mute"),
            504,
            "upstream_timeout",
            True,
            id="mute-in-head",
        ),
        pytest.param(
            Trouble(back_bytes=HEAD_BYTES + 9, then="mute"),
            200,
            "",
            False,
            id="mute-in-body",
        ),
        pytest.param(Trouble(mute=True), 504, "upstream_timeout", True, id="mute"),
        pytest.param(
            Trouble(garbage=b"\x15\x03\x03\0\2\2\x28\r\n\r\n"),
            502,
            "upstream_protocol",
            True,
            id="garbage",
        ),
        pytest.param(
            Trouble(refuse=True), 502, "upstream_protocol", True, id="refused"
        ),
    ],
)
def test_the_network_to_the_api(
    between: tuple[AttackRig, FaultyProxy],
    trouble: Trouble,
    status: int,
    code: str,
    whole: bool,
) -> None:
    """Each fault has its code, or shows in the answer; then a call is well again."""
    rig, relay = between
    relay.suffer(trouble)
    with RawClient(rig.address) as client:
        client.send(GET)
        seen = client.answer()
    relay.suffer()

    assert (seen.status, seen.code, seen.whole) == (status, code, whole)
    assert seen.body == BODY if whole and not code else BODY not in seen.body
    with RawClient(rig.address) as client:
        client.send(GET)
        assert client.answer().body == BODY


@pytest.mark.parametrize(
    ("trouble", "whole"),
    [
        pytest.param(Trouble(delay_seconds=0.02, piece_bytes=500), True, id="late"),
        pytest.param(Trouble(piece_bytes=3), True, id="in-pieces"),
        pytest.param(Trouble(back_bytes=20), False, id="cut-in-head"),
        pytest.param(Trouble(back_bytes=999, then="reset"), False, id="reset"),
    ],
)
def test_the_network_to_the_service(
    between: tuple[AttackRig, FaultyProxy], trouble: Trouble, whole: bool
) -> None:
    """A service that is cut off leaves no call behind."""
    rig, _ = between
    host, _, port = rig.address.rpartition(":")
    with FaultyProxy(host, int(port)) as relay:
        relay.suffer(trouble)
        with RawClient(relay.address) as client:
            client.send(GET)
            if whole:
                assert client.answer().body == BODY
            else:
                assert BODY not in client.rest()
    rig.at_rest()


AWS_TROUBLES: Final = [
    pytest.param(Trouble(refuse=True), id="refused"),
    pytest.param(Trouble(mute=True), id="mute"),
    pytest.param(Trouble(back_bytes=40), id="cut-in-head"),
    pytest.param(Trouble(back_bytes=400, then="reset"), id="reset"),
    pytest.param(Trouble(back_bytes=0, then="half"), id="half-closed"),
    pytest.param(Trouble(garbage=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), id="garbage"),
]  # fmt: skip


Behind = Callable[[FaultyProxy], SidecarProcess]


@pytest.fixture(name="relay")
def _shim(moto: AwsClient) -> Iterator[FaultyProxy]:
    """Between the sidecar and AWS."""
    behind = urlsplit(moto.endpoint)
    with FaultyProxy(str(behind.hostname), int(behind.port or 0)) as relay:
        yield relay


@pytest.fixture(name="behind")
def _behind(
    settings: Settings, sidecar_process: Callable[..., SidecarProcess]
) -> Behind:
    """Start a sidecar that looks at AWS often, through the relay."""

    def start(relay: FaultyProxy) -> SidecarProcess:
        changes = {
            "aws": {"endpoint_url": f"http://{relay.address}"},
            "upstreams": {UPSTREAM: {"credential": {"refresh_seconds": 0.3}}},
        }
        return sidecar_process(merge(settings, changes))

    return start


@pytest.mark.parametrize("trouble", AWS_TROUBLES)
def test_the_network_to_aws(
    relay: FaultyProxy, behind: Behind, issued: Issued, trouble: Trouble
) -> None:
    """Calls go on with the last good key; a sidecar that has none yet waits for it."""
    relay.suffer(trouble)
    process = behind(relay)
    process.wait_listening()
    assert process.admin("/startupz").status == 503
    wait_until(lambda: relay.accepted, "a try")
    relay.suffer(CALM)
    process.wait_ready()
    assert process.call().status == 200

    relay.suffer(trouble)
    wait_until(lambda: state(process) == "stale", "the key to be stale", 20)
    assert process.admin("/readyz").status == 200
    assert process.call().status == 200

    relay.suffer(CALM)
    wait_until(lambda: state(process) == "fresh", "the key to be fresh", 20)
    process.assert_never_shown(issued.key)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Trouble(delay_seconds=0.2), id="late"),
        pytest.param(Trouble(piece_bytes=40, delay_seconds=0.01), id="throttled"),
    ],
)
def test_a_slow_network_to_aws(
    relay: FaultyProxy,
    behind: Behind,
    moto: AwsClient,
    issued: Issued,
    trouble: Trouble,
) -> None:
    """What is slow is not lost: the first key comes, and the next one."""
    relay.suffer(trouble)
    process = behind(relay)
    process.wait_ready()
    assert process.call().status == 200

    # The API need not know it: without a probe, what is in the secret is used.
    version = moto.rotate(SECRET_ID, f"{issued.key}2")
    wait_until(lambda: fingerprint(process) == version[:8], "the new key", 20)
    assert state(process) == "fresh"


def fingerprint(process: SidecarProcess) -> str:
    """Return that of the key in use."""
    return str(process.status()["upstreams"][UPSTREAM]["fingerprint"])


def state(process: SidecarProcess) -> str:
    """Return the state of the key."""
    return str(process.status()["upstreams"][UPSTREAM]["state"])
