"""
Faults of the network between the receiver of webhooks and the app.

Whatever happens, the sender is told by status whether to come again; the app hears a
delivery twice only if the receiver could not know that it took the first; and the next
delivery is well.
"""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.faulty_proxy import CALM, FaultyProxy, Trouble
from tests.support.raw_http import RawApi
from tests.support.webhook_process import (
    BODY,
    HEAD_BYTES,
    Expected,
    Receiver,
    receiving,
)

DELIVERED: Final = Expected(204, "delivered")
DUPLICATE: Final = Expected(200, "duplicate")
BROKE: Final = Expected(502, "app_error", "the app gave no HTTP answer")
AWAY: Final = Expected(503, "app_unreachable", "the app did not answer within 1.5 s")


@pytest.fixture(name="receiver", scope="module")
def _receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver whose way to the app leads through a relay."""
    directory = tmp_path_factory.mktemp("app")
    with RawApi() as app, FaultyProxy("127.0.0.1", app.port) as relay:
        inbox = {
            "forward_to": f"http://{relay.address}/hooks/flownally",
            "response_seconds": 1.5,
        }
        settings = {"webhooks": {"inbox": inbox}}
        with receiving(directory, app, relay, settings) as receiver:
            yield receiver


@pytest.mark.parametrize(
    ("trouble", "want", "taken"),
    [
        pytest.param(Trouble(delay_seconds=0.05), DELIVERED, 1, id="late"),
        pytest.param(Trouble(piece_bytes=200, delay_seconds=0.02), DELIVERED, 1, id="throttled"),
        pytest.param(Trouble(piece_bytes=3), DELIVERED, 1, id="in-pieces"),
        # The app has it and could not say so: only the app can drop the second one.
        pytest.param(Trouble(back_bytes=0), BROKE, 1, id="cut-before"),
        pytest.param(Trouble(back_bytes=9), BROKE, 1, id="cut-in-head"),
        pytest.param(Trouble(back_bytes=0, then="reset"), BROKE, 1, id="reset-before"),
        pytest.param(Trouble(back_bytes=9, then="reset"), BROKE, 1, id="reset-in-head"),
        pytest.param(Trouble(back_bytes=0, then="half"), BROKE, 1, id="half-closed"),
        pytest.param(Trouble(back_bytes=9, then="mute"), AWAY, 1, id="mute-in-head"),
        # The status has come: it stands, and the rest says nothing.
        pytest.param(Trouble(back_bytes=HEAD_BYTES + 9), DELIVERED, 1, id="cut-in-body"),
        pytest.param(Trouble(back_bytes=HEAD_BYTES + 9, then="reset"), DELIVERED, 1, id="reset-in-body"),
        pytest.param(Trouble(back_bytes=HEAD_BYTES + 9, then="half"), DELIVERED, 1, id="half-closed-in-body"),
        pytest.param(Trouble(back_bytes=HEAD_BYTES + 9, then="mute"), DELIVERED, 1, id="mute-in-body"),
        # The app has nothing, or a part that its framing tells to be one.
        pytest.param(Trouble(there_bytes=0), BROKE, 0, id="cut-there"),
        pytest.param(Trouble(there_bytes=40), BROKE, 0, id="cut-there-in-head"),
        pytest.param(Trouble(there_bytes=-9), BROKE, 0, id="cut-there-in-body"),
        pytest.param(Trouble(mute=True), AWAY, 0, id="mute"),
        pytest.param(Trouble(refuse=True), BROKE, 0, id="reset-at-once"),
        pytest.param(Trouble(garbage=b"\x15\x03\x03\0\2\2\x28\r\n\r\n"), BROKE, 0, id="garbage"),
        pytest.param(Trouble(garbage=b"HTTP/1.1 2000 OK\r\n\r\n"), BROKE, 0, id="no-status"),
        pytest.param(Trouble(garbage=b"SSH-2.0-OpenSSH_9.6\r\n"), BROKE, 0, id="another-service"),
    ],
)  # fmt: skip
def test_the_network_to_the_app(
    receiver: Receiver, trouble: Trouble, want: Expected, taken: int
) -> None:
    """Delivered, or the sender's next attempt is let in; nothing is sent twice by us."""
    if trouble.there_bytes is not None and trouble.there_bytes < 0:
        trouble = Trouble(there_bytes=request_bytes(receiver) + trouble.there_bytes)
    id_ = receiver.new_id()
    receiver.relay.suffer(trouble)
    receiver.judge(id_, want)
    assert receiver.times(id_) == taken

    receiver.relay.suffer(CALM)
    delivered = want == DELIVERED
    receiver.judge(id_, DUPLICATE if delivered else DELIVERED)
    assert receiver.times(id_) == taken + (0 if delivered else 1)
    receiver.judge(receiver.new_id(), DELIVERED)


def request_bytes(receiver: Receiver) -> int:
    """Return the size of a delivery as the app gets it."""
    receiver.judge(receiver.new_id(), DELIVERED)
    assert receiver.taken[-1].endswith(BODY)
    return len(receiver.taken[-1])


def test_an_app_that_closes_between_two_deliveries_costs_none(
    receiver: Receiver,
) -> None:
    """A connection that was kept and is closed is not used for the next."""
    for _ in range(5):
        receiver.judge(receiver.new_id(), DELIVERED)
        receiver.relay.drop()
