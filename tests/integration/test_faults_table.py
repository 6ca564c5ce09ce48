"""
Faults of the network between the receiver of webhooks and its table (DynamoDB).

Nothing is delivered unclaimed. A claim of which nobody knows whether it was made holds
the id until its lease runs out, so the sender comes again and no delivery is lost; what
the app has said stands, whatever becomes of the note that is made of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pytest

from sidecar.emulator.aws import EmulatedAws
from tests.support.faulty_proxy import CALM, FaultyProxy, Trouble
from tests.support.raw_http import Conversation, RawApi
from tests.support.webhook_fakes import JOB, make_table
from tests.support.webhook_process import TAKEN, Expected, Receiver, receiving

DELIVERED: Final = Expected(204, "delivered")
DUPLICATE: Final = Expected(200, "duplicate")
IN_FLIGHT: Final = Expected(409, "in_flight")
FAILED: Final = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"


def store_error(words: str) -> Expected:
    """Nobody can tell whether it was delivered."""
    return Expected(503, "store_error", words)


@dataclass(frozen=True)
class TableRig:
    """A receiver, and the table as the emulator has it."""

    receiver: Receiver
    aws: EmulatedAws
    table: str

    def end_lease(self, id_: str) -> None:
        """Move the end of a lease into the past, instead of waiting for it."""
        key = {"id": {"S": f"{JOB}#inbox#{id_}"}}
        item = self.aws.dynamodb.get_item(TableName=self.table, Key=key)["Item"]
        assert item["state"] == {"S": "claimed"}
        self.aws.dynamodb.update_item(
            TableName=self.table,
            Key=key,
            UpdateExpression="SET #e = :past",
            ExpressionAttributeNames={"#e": "expires"},
            ExpressionAttributeValues={":past": {"N": "1"}},
        )

    def calls(self, result: str) -> float:
        """Return how many calls to DynamoDB ended so."""
        return self.receiver.process.metrics().value(
            "sidecar_aws_requests_total", service="dynamodb", result=result
        )


@pytest.fixture(name="rig", scope="module")
def _rig(
    tmp_path_factory: pytest.TempPathFactory, moto_server: EmulatedAws
) -> Iterator[TableRig]:
    """A receiver whose way to the table leads through a relay."""
    directory = tmp_path_factory.mktemp("table")
    table = make_table(moto_server)
    behind = urlsplit(moto_server.endpoint)
    with (
        RawApi() as app,
        FaultyProxy(str(behind.hostname), int(behind.port or 0)) as relay,
    ):
        inbox = {
            "forward_to": f"http://127.0.0.1:{app.port}/hooks/flownally",
            "dedupe": f"dynamodb:{table}",
        }
        settings = {
            "webhooks": {"inbox": inbox},
            "aws": {"region": "eu-west-1", "endpoint_url": f"http://{relay.address}"},
        }
        with receiving(directory, app, relay, settings) as receiver:
            yield TableRig(receiver, moto_server, table)
    moto_server.reset()


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Trouble(delay_seconds=0.05), id="late"),
        pytest.param(Trouble(piece_bytes=40, delay_seconds=0.01), id="throttled"),
        # The write was made and its answer lost: the second one meets the first.
        pytest.param(Trouble(back_bytes=0, connections=1), id="cut-once"),
        pytest.param(Trouble(back_bytes=0, then="reset", connections=1), id="reset-once"),
        pytest.param(Trouble(back_bytes=9, connections=1), id="cut-in-status-once"),
        pytest.param(Trouble(there_bytes=0, connections=1), id="cut-there-once"),
        pytest.param(Trouble(refuse=True, connections=1), id="reset-at-once-once"),
    ],
)  # fmt: skip
def test_what_a_repetition_mends(rig: TableRig, trouble: Trouble) -> None:
    """The sender and the app see nothing of it."""
    receiver, id_ = rig.receiver, rig.receiver.new_id()
    receiver.relay.suffer(trouble)
    receiver.judge(id_, DELIVERED)

    receiver.relay.suffer(CALM)
    receiver.judge(id_, DUPLICATE)
    assert receiver.times(id_) == 1


@pytest.mark.parametrize(
    ("trouble", "words", "claimed"),
    [
        pytest.param(Trouble(refuse=True), "ConnectionClosedError", False, id="reset-at-once"),
        pytest.param(Trouble(mute=True), "ReadTimeoutError", False, id="mute"),
        pytest.param(Trouble(there_bytes=0), "ConnectionClosedError", False, id="cut-there"),
        pytest.param(Trouble(garbage=b"SSH-2.0-OpenSSH_9.6\r\n"), "ConnectionClosedError", False, id="another-service"),
        pytest.param(Trouble(garbage=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "not a DynamoDB response", False, id="empty-200"),
        pytest.param(Trouble(garbage=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "not a DynamoDB response", False, id="no-json"),
        pytest.param(Trouble(garbage=b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n"), "407", False, id="a-proxy"),
        # Only the answer was lost: the id is claimed, by this receiver.
        pytest.param(Trouble(back_bytes=0), "ConnectionClosedError", True, id="cut"),
        pytest.param(Trouble(back_bytes=0, then="reset"), "ConnectionClosedError", True, id="reset"),
        pytest.param(Trouble(back_bytes=9), "ConnectionClosedError", True, id="cut-in-status"),
        # Python's http.client takes a head that was cut for a whole one: an empty 200.
        pytest.param(Trouble(back_bytes=40), "not a DynamoDB response", True, id="cut-in-head"),
        pytest.param(Trouble(back_bytes=9, then="mute"), "ReadTimeoutError", True, id="mute-in-head"),
    ],
)  # fmt: skip
def test_nothing_is_delivered_unclaimed(
    rig: TableRig, trouble: Trouble, words: str, claimed: bool
) -> None:
    """503; then the next attempt is let in, at the latest when the lease is over."""
    receiver, id_ = rig.receiver, rig.receiver.new_id()
    before = rig.calls("unreachable")
    receiver.relay.suffer(trouble)
    receiver.judge(id_, store_error(words))
    assert receiver.times(id_) == 0
    assert rig.calls("unreachable") == before + 1

    receiver.relay.suffer(CALM)
    receiver.judge(receiver.new_id(), DELIVERED)
    if claimed:
        receiver.judge(id_, IN_FLIGHT)
        rig.end_lease(id_)
    receiver.judge(id_, DELIVERED)
    receiver.judge(id_, DUPLICATE)
    assert receiver.times(id_) == 1


@pytest.mark.parametrize(
    ("trouble", "answer", "want", "then"),
    [
        pytest.param(Trouble(back_bytes=0), TAKEN, Expected(204, "delivered", "its id could not be kept"), DUPLICATE, id="taken-cut"),
        pytest.param(Trouble(refuse=True), TAKEN, Expected(204, "delivered", "its id could not be kept"), IN_FLIGHT, id="taken-refused"),
        pytest.param(Trouble(mute=True), TAKEN, Expected(204, "delivered", "its id could not be kept"), IN_FLIGHT, id="taken-mute"),
        pytest.param(Trouble(back_bytes=0), FAILED, Expected(502, "app_error", "its id stays claimed"), DELIVERED, id="failed-cut"),
        pytest.param(Trouble(refuse=True), FAILED, Expected(502, "app_error", "its id stays claimed"), IN_FLIGHT, id="failed-refused"),
    ],
)  # fmt: skip
def test_a_table_that_goes_while_the_app_works(
    rig: TableRig, trouble: Trouble, answer: bytes, want: Expected, then: Expected
) -> None:
    """What the app said stands. It hears it again only if the lease says nothing else."""
    receiver, id_ = rig.receiver, rig.receiver.new_id()

    def take(conversation: Conversation) -> None:
        while (whole := conversation.request()) is not None:
            receiver.taken.append(whole)
            receiver.relay.suffer(trouble)
            conversation.send(answer)

    receiver.app.hang_up()
    receiver.app.script = take
    receiver.judge(id_, want)
    assert receiver.times(id_) == 1

    receiver.app.hang_up()
    receiver.app.script = receiver.take
    receiver.relay.suffer(CALM)
    receiver.judge(id_, then)
    if then == IN_FLIGHT:
        assert receiver.times(id_) == 1
        rig.end_lease(id_)
        receiver.judge(id_, DELIVERED)
    receiver.judge(id_, DUPLICATE)
    assert receiver.times(id_) == (1 if then == DUPLICATE else 2)
    receiver.judge(receiver.new_id(), DELIVERED)
