"""Through a real port: true deliveries reach the app as they came, and only once."""

import asyncio
import gzip
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.receiver_rig import Answer, ReceiverRig, read_answer, request
from tests.support.webhook_app import App, waiting
from tests.support.webhook_fakes import SECRET, until

SVIX = {
    "webhook-id": "svix-id",
    "webhook-timestamp": "svix-timestamp",
    "webhook-signature": "svix-signature",
}


async def test_a_true_delivery_reaches_the_app() -> None:
    """Its bytes, its fields and its id; the sender gets 204."""
    body = b'{"type": "contact.created"}\r\n\xff\x00'
    async with ReceiverRig() as rig:
        answer = await rig.post(body, {"Content-Type": "application/json"})

        (seen,) = rig.app.seen
    assert answer == Answer(204, {**answer.fields, "server": "sidecar"}, b"")
    assert seen.body == body
    assert seen.line == "POST /hooks/flownally HTTP/1.1"
    assert seen.field("Content-Type") == "application/json"
    assert seen.field("Sidecar-Webhook-Id") == seen.field("webhook-id") == "msg_1"
    assert seen.field("webhook-signature") == rig.headers(body)["webhook-signature"]
    assert rig.results == ["delivered"]
    assert (rig.counts["inbox"].ages, rig.counts["inbox"].durations) == ([0], [0])


async def test_the_older_names_reach_the_app_as_they_came() -> None:
    """`svix-*` fields are verified and forwarded, and nothing is invented."""
    async with ReceiverRig() as rig:
        fields = {SVIX[name]: text for name, text in rig.headers(b"{}").items()}
        fields["Content-Length"] = "2"

        answer = await rig.send(request(fields, b"{}"))

        assert answer.status == 204
        assert rig.app.seen[0].field("svix-id") == "msg_1"
        assert rig.app.seen[0].field("webhook-id") is None


async def test_what_speaks_for_the_sender_does_not_reach_the_app() -> None:
    """Credentials, cookies, forwarding fields, and encodings of ours."""
    dropped = {
        "Authorization": "Bearer x",
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
        "Sidecar-Webhook-Id": "msg_2",
        "webhook_id": "msg_2",
        "svix-id": "msg_2",
    }
    async with ReceiverRig() as rig:
        await rig.post(fields=dropped)

        names = {name.lower() for name, _ in rig.app.seen[0].fields}
    assert names == {
        *("host", "content-length", "sidecar-webhook-id"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param(b"{}\r\n", id="crlf-behind"),
        pytest.param(bytes(range(256)), id="every-byte"),
        pytest.param(b"x" * 1_048_576, id="1-MiB"),
    ],
)
async def test_the_exact_bytes_are_verified_and_delivered(body: bytes) -> None:
    """Whatever they are, up to the limit."""
    async with ReceiverRig() as rig:
        answer = await rig.post(body)

        assert answer.status == 204
        assert rig.app.seen[0].body == body


async def test_a_compressed_body_stays_compressed() -> None:
    """The signature is over the bytes as they came, and so is the delivery."""
    body = gzip.compress(b"{}" * 1000)
    async with ReceiverRig() as rig:
        answer = await rig.post(body, {"Content-Encoding": "gzip"})

        assert answer.status == 204
        assert rig.app.seen[0].body == body
        assert rig.app.seen[0].field("Content-Encoding") == "gzip"


async def test_a_body_in_chunks_arrives_with_its_length() -> None:
    """Chunks are the sender's way to send; the app gets one framing."""
    async with ReceiverRig() as rig:
        fields = {**rig.headers(b"hello world"), "Transfer-Encoding": "chunked"}
        chunks = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"

        answer = await rig.send(request(fields, chunks))

        assert answer.status == 204
        assert rig.app.seen[0].body == b"hello world"
        assert rig.app.seen[0].field("X-Trailer") is None


async def test_a_replay_is_not_delivered() -> None:
    """The sender is told that we have it; the app hears nothing of it."""
    async with ReceiverRig() as rig:
        await rig.post()
        with capture_logs() as lines:
            answer = await rig.post()

        assert answer.status == 200
        assert answer.fields["x-sidecar-duplicate"] == "1"
        assert len(rig.app.seen) == 1
        assert rig.results == ["delivered", "duplicate"]
        assert [(one["log_level"], one["result"]) for one in lines] == [
            ("info", "duplicate")
        ]


async def test_an_id_in_flight_is_not_delivered_twice() -> None:
    """The second sender comes again when the first is through."""
    async with ReceiverRig(App(waiting)) as rig:
        first = asyncio.ensure_future(rig.post())
        await until(lambda: rig.app.seen)

        answer = await rig.post()

        assert (answer.status, answer.code) == (409, "in_flight")
        assert answer.fields["retry-after"] == "5"
        rig.app.release.set()
        assert (await first).status == 204
        assert len(rig.app.seen) == 1
        assert rig.results == ["in_flight", "delivered"]


async def test_deliveries_can_follow_on_one_connection() -> None:
    """Also when both were sent at once."""
    async with ReceiverRig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        for number in range(2):
            fields = rig.headers(b"{}", id_=f"msg_{number}")
            writer.write(request({**fields, "Content-Length": "2"}, b"{}"))

        answers = [await read_answer(reader), await read_answer(reader)]

        assert [answer.status for answer in answers] == [204, 204]
        writer.close()


async def test_what_went_well_has_a_line_when_asked_for() -> None:
    """`[log].access = "all"`."""
    async with ReceiverRig(log_delivered=True) as rig:
        with capture_logs() as lines:
            await rig.post()

    assert [(one["result"], one["id"], one["fingerprint"]) for one in lines] == [
        ("delivered", "msg_1", "00000001")
    ]


async def test_what_went_well_has_no_line_otherwise() -> None:
    """`[log].access = "errors"`, the default."""
    async with ReceiverRig() as rig:
        with capture_logs() as lines:
            await rig.post()

    assert lines == []


async def test_an_app_on_a_socket(tmp_path: Path) -> None:
    """`forward_to = "unix:/run/app.sock:/hooks"`."""
    async with ReceiverRig(App(path=str(tmp_path / "app.sock"))) as rig:
        assert (await rig.post()).status == 204
        assert rig.app.seen[0].line == "POST /hooks/flownally HTTP/1.1"


async def test_secrets_are_learned_by_the_redactor() -> None:
    """Before the first delivery."""
    async with ReceiverRig() as rig:
        assert [one.reveal() for one in rig.learned] == [SECRET[6:]]
