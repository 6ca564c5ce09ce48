"""Descriptors run out at the two listeners that are not the proxy's."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h11
import pytest

from tests.support.faulty_proxy import FaultyProxy
from tests.support.processes import wait_until
from tests.support.raw_http import RawApi, RawClient
from tests.support.webhook_process import Expected, Receiver, receiving

SPARE: Final = 10
MANY: Final = 40


@pytest.fixture(name="receiver")
def _receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver of this test alone."""
    with RawApi() as app, FaultyProxy("127.0.0.1", app.port) as relay:
        inbox = {"forward_to": f"http://{relay.address}/hooks/flownally"}
        settings = {"webhooks": {"inbox": inbox}}
        with receiving(tmp_path, app, relay, settings) as receiver:
            yield receiver


@pytest.mark.parametrize("listener", ["webhooks", "admin"])
def test_descriptors_run_out_and_come_back(receiver: Receiver, listener: str) -> None:
    """The process neither spins nor ends, and works again once there are some."""
    process = receiver.process
    receiver.judge(receiver.new_id(), Expected(204, "delivered"))
    used = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    few = used + SPARE
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (few, few))
    address = process.address("webhooks")
    with RawClient(address) as early:
        clients = [RawClient(process.address(listener)) for _ in range(MANY)]
        # It was taken, and may lack a descriptor for the app: then the sender comes again.
        early.send(receiver.signed(receiver.new_id()))
        assert early.answer(b"POST").status in {204, 503}
    for client in clients:
        client.sock.close()

    def well() -> bool:
        try:
            return receiver.send(receiver.new_id()).status == 204
        except (OSError, AssertionError, h11.RemoteProtocolError):
            return False  # refused, cut or closed: a sender comes again

    wait_until(well, "a delivery")
    assert process.admin("/readyz").status == 200
