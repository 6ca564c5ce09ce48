"""Attacks on the admin port, which the whole cluster may reach in a pod."""

import contextlib
from collections.abc import Iterator

import pytest

from sidecar.admin.app import MAX_CONNECTIONS
from tests.support.attack_rig import AttackRig, attacked
from tests.support.processes import wait_until
from tests.support.raw_http import RawClient


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar."""
    with attacked(tmp_path_factory.mktemp("admin")) as rig:
        yield rig


def test_many_incomplete_heads_do_not_harm_calls(rig: AttackRig) -> None:
    """Further clients get 503 at once; clients that stall are disconnected."""
    admin = rig.process.address("admin")
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(RawClient(admin)) for _ in range(MAX_CONNECTIONS + 20)
        ]
        for client in clients:
            client.send(b"GET /livez HTTP/1.1\r\nHo")
        assert clients[-1].rest().startswith(b"HTTP/1.1 503 ")
        rig.healthy()

        for client in clients:
            client.sock.settimeout(30)
        assert clients[0].rest() in (b"", clients[0].raw)
        wait_until(lambda: rig.process.admin("/livez").status == 200, "room", 30)


def test_an_idle_connection_is_closed(rig: AttackRig) -> None:
    """The connection ends between two scrapes."""
    with RawClient(rig.process.address("admin")) as client:
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().status == 200
        client.sock.settimeout(30)
        assert client.read() == b""
