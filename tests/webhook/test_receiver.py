"""Through a real port: what is delivered, what is not, and what each sender is told."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.demo.aws import AwsClient
from sidecar.errors import RefreshResult, SourceFailed
from sidecar.webhook.dedupe import Claim, StoreFailed
from tests.webhook.app import NO_CONTENT, App, Behaviour, closing, silent, waiting
from tests.webhook.rig import PATH, Answer, Rig, read_answer, request
from tests.webhook.support import OTHER, SECRET, FakeSource, until

AWAY = ("away", "wait")
SVIX = {
    "webhook-id": "svix-id",
    "webhook-timestamp": "svix-timestamp",
    "webhook-signature": "svix-signature",
}


async def test_a_true_delivery_reaches_the_app() -> None:
    """Its bytes, its fields and its id; the sender gets 204."""
    body = b'{"type": "contact.created"}\r\n\xff\x00'
    async with Rig() as rig:
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
    async with Rig() as rig:
        fields = {SVIX[name]: text for name, text in rig.headers(b"{}").items()}
        fields["Content-Length"] = "2"

        answer = await rig.send(request(fields, b"{}"))

        assert answer.status == 204
        assert rig.app.seen[0].field("svix-id") == "msg_1"
        assert rig.app.seen[0].field("webhook-id") is None


async def test_what_speaks_for_the_sender_does_not_reach_the_app() -> None:
    """Credentials, cookies, forwarding fields, and spellings of ours."""
    dropped = {
        "Authorization": "Bearer x",
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
        "Sidecar-Webhook-Id": "msg_2",
        "webhook_id": "msg_2",
        "svix-id": "msg_2",
    }
    async with Rig() as rig:
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
    async with Rig() as rig:
        answer = await rig.post(body)

        assert answer.status == 204
        assert rig.app.seen[0].body == body


async def test_a_compressed_body_stays_compressed() -> None:
    """The signature is over the bytes as they came, and so is the delivery."""
    body = gzip.compress(b"{}" * 1000)
    async with Rig() as rig:
        answer = await rig.post(body, {"Content-Encoding": "gzip"})

        assert answer.status == 204
        assert rig.app.seen[0].body == body
        assert rig.app.seen[0].field("Content-Encoding") == "gzip"


async def test_a_body_in_chunks_arrives_with_its_length() -> None:
    """Chunks are the sender's way to send; the app gets one framing."""
    async with Rig() as rig:
        fields = {**rig.headers(b"hello world"), "Transfer-Encoding": "chunked"}
        chunks = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"

        answer = await rig.send(request(fields, chunks))

        assert answer.status == 204
        assert rig.app.seen[0].body == b"hello world"
        assert rig.app.seen[0].field("X-Trailer") is None


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "counted"])
async def test_a_body_one_byte_too_large_is_refused(chunked: bool) -> None:
    """By its announced length, or as soon as too much has come."""
    body = b"x" * 1025
    async with Rig(endpoint={"max_body_bytes": 1024}) as rig:
        fields = rig.headers(body)
        if chunked:
            fields["Transfer-Encoding"] = "chunked"
            body = b"401\r\n" + body + b"\r\n"
        else:
            fields["Content-Length"] = "1025"
            body = b""  # refused before any of it comes

        answer = await rig.send(request(fields, body))

        assert (answer.status, answer.code) == (413, "too_large")
        assert answer.fields["connection"] == "close"
        assert rig.app.seen == []
        assert rig.results == ["too_large"]


async def test_a_body_as_large_as_allowed_is_taken() -> None:
    """The limit is inclusive."""
    async with Rig(endpoint={"max_body_bytes": 1024}) as rig:
        assert (await rig.post(b"x" * 1024)).status == 204


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"webhook-id": ""}, id="empty-id"),
        pytest.param({"webhook-id": "msg.1"}, id="id-with-dot"),
        pytest.param({"webhook-id": "msg 1"}, id="id-with-space"),
        pytest.param({"webhook-id": "m" * 7000}, id="id-of-7-kB"),
        pytest.param({"webhook-id": "msg_\xe9"}, id="id-not-ascii"),
        pytest.param({"webhook-timestamp": "1.8e9"}, id="float"),
        pytest.param({"webhook-timestamp": "-1800000000"}, id="negative"),
        pytest.param({"webhook-timestamp": "01800000000"}, id="padded"),
        pytest.param({"webhook-timestamp": "1" * 20}, id="20-digits"),
        pytest.param({"webhook-signature": ""}, id="no-signatures"),
        pytest.param({"webhook-signature": "v1,A " * 1500}, id="1500-signatures"),
        pytest.param({"webhook-signature": "v1,__--"}, id="url-safe"),
        pytest.param({"Transfer-Encoding": "gzip, chunked"}, id="gzip-coding"),
        pytest.param({"X-Name": "caf\xe9"}, id="field-not-ascii"),
    ],
)
async def test_what_is_malformed_is_refused(changes: dict[str, str]) -> None:
    """400, one count, nothing to the app."""
    async with Rig() as rig:
        fields = {**rig.headers(b""), **changes}
        if "Transfer-Encoding" not in changes:
            fields["Content-Length"] = "0"

        answer = await rig.send(request(fields, b"0\r\n\r\n"[: 5 * len(fields) % 5]))

        assert (answer.status, answer.code) == (400, "malformed")
        assert rig.app.seen == []
        assert rig.results == ["malformed"]


async def test_a_repeated_field_is_malformed() -> None:
    """Even with the same value."""
    async with Rig() as rig:
        fields = [*rig.headers(b"").items(), ("webhook-id", "msg_1")]
        fields.append(("Content-Length", "0"))

        answer = await rig.send(request(fields, b""))

        assert answer.code == "malformed"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"POST /webhooks/inbox\r\n\r\n", 400, id="no-version"),
        pytest.param(b"hello\r\n\r\n", 400, id="not-http"),
        pytest.param(
            request({"Content-Length": "1", "Transfer-Encoding": "chunked"}, b""),
            400,
            id="two-framings",
        ),
        pytest.param(
            request([("Content-Length", "0"), ("Content-Length", "1")], b""),
            400,
            id="two-lengths",
        ),
        pytest.param(request({"X": "x" * 9000}, b""), 400, id="9-kB-field"),
        pytest.param(
            request([(f"X-{n}", "") for n in range(200)], b""), 400, id="200-fields"
        ),
        pytest.param(request({"Expect": "200-ok"}, b""), 417, id="other-expectation"),
    ],
)
async def test_what_is_not_http_is_refused_without_a_trace(
    data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And without a traceback in the log for everybody who sends garbage."""
    async with Rig() as rig:
        answer = await rig.send(data)

    assert answer.status == status
    assert "aiohttp" not in str(answer)
    assert rig.app.seen == []
    assert "Traceback" not in caplog.text


MUTATIONS: list[Callable[[bytearray, Random], object]] = [
    lambda data, chance: data.insert(
        chance.randrange(len(data)), chance.randrange(256)
    ),
    lambda data, chance: data.pop(chance.randrange(len(data))),
    lambda data, chance: data.__setitem__(
        chance.randrange(len(data)), chance.randrange(256)
    ),
    lambda data, chance: data.extend(data[chance.randrange(len(data)) :]),
]


async def test_hostile_bytes_are_answered_and_never_delivered() -> None:
    """Mutations of a true delivery: a refusal or a closed connection, never a 5xx."""
    chance = Random(5)
    statuses: Counter[int] = Counter()
    async with Rig(body_seconds=0.02, keepalive_seconds=0.1) as rig:
        true = request({**rig.headers(b"{}"), "Content-Length": "2"}, b"{}")
        for _ in range(400):
            data = bytearray(true)
            for _ in range(chance.randrange(1, 4)):
                chance.choice(MUTATIONS)(data, chance)
            try:
                statuses[(await rig.send(bytes(data))).status] += 1
            except (asyncio.IncompleteReadError, ConnectionError):
                statuses[0] += 1
        seen = {one.body for one in rig.app.seen}

    assert {status for status in statuses if status >= 500} == set()
    assert statuses[400] > 100
    # What was let in was true: the change was in a field that nobody signs.
    assert seen <= {b"{}"}


async def test_a_bad_signature_tells_the_sender_little_and_the_log_much() -> None:
    """The log has the reason in words, and the secrets that were tried."""
    async with Rig() as rig:
        with capture_logs() as lines:
            answer = await rig.post(secret=OTHER)

    assert (answer.status, answer.code) == (401, "bad_signature")
    assert "00000001" not in answer.body.decode()
    (line,) = [line for line in lines if line["event"] == "webhook"]
    assert line["log_level"] == "warning"
    assert line["id"] == "msg_1"
    assert line["result"] == "bad_signature"
    assert "well-formed and fresh, the body has 2 bytes" in line["reason"]
    assert "secrets tried: 00000001 (v1)" in line["reason"]
    assert SECRET[6:] not in str(lines)
    assert rig.results == ["bad_signature"]
    assert rig.counts["inbox"].ages == []


@pytest.mark.parametrize("offset", [-301, 301])
async def test_a_stale_delivery_is_refused(offset: int) -> None:
    """Both ways; the sender is told by how much, so that it can mend its clock."""
    async with Rig() as rig:
        answer = await rig.post(at=rig.clock() + offset)

        assert (answer.status, answer.code) == (400, "stale")
        assert "301 s" in json.loads(answer.body)["error"]["message"]
        assert rig.results == ["stale"]


async def test_a_replay_is_not_delivered() -> None:
    """The sender is told that we have it; the app hears nothing of it."""
    async with Rig() as rig:
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


async def test_an_id_is_not_taken_by_who_cannot_sign_it() -> None:
    """Else anybody could keep a delivery out by sending its id first."""
    async with Rig() as rig:
        await rig.post(b"forged", secret=OTHER)

        assert (await rig.post()).status == 204


async def test_an_id_in_flight_is_not_delivered_twice() -> None:
    """The second sender comes again when the first is through."""
    async with Rig(App(waiting)) as rig:
        first = asyncio.ensure_future(rig.post())
        await until(lambda: rig.app.seen)

        answer = await rig.post()

        assert (answer.status, answer.code) == (409, "in_flight")
        assert answer.fields["retry-after"] == "5"
        rig.app.release.set()
        assert (await first).status == 204
        assert len(rig.app.seen) == 1
        assert rig.results == ["in_flight", "delivered"]


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        pytest.param(
            b"HTTP/1.1 301 X\r\nLocation: /\r\n\r\n", 502, "app_error", id="301"
        ),
        pytest.param(b"HTTP/1.1 401 X\r\n\r\n", 502, "app_error", id="401"),
        pytest.param(b"HTTP/1.1 500 X\r\n\r\n", 502, "app_error", id="500"),
        pytest.param(closing, 502, "app_error", id="closes"),
        pytest.param(silent, 503, "app_unreachable", id="silent"),
    ],
)
async def test_what_the_app_does_not_take_is_delivered_again(
    behaviour: bytes | Behaviour, status: int, code: str
) -> None:
    """The claim is released: the sender's next attempt reaches the app."""
    async with Rig(App(behaviour), endpoint={"response_seconds": 0.1}) as rig:
        answer = await rig.post()
        rig.app.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

        again = await rig.post()

        assert (answer.status, answer.code) == (status, code)
        assert again.status == 204
        assert len(rig.app.seen) == 2
        assert rig.results == [code, "delivered"]


async def test_an_app_that_is_down_is_waited_for_by_the_sender() -> None:
    """503 and Retry-After; nothing is queued here."""
    async with Rig() as rig:
        await rig.app.__aexit__()

        answer = await rig.post()

        assert (answer.status, answer.code) == (503, "app_unreachable")
        assert answer.fields["retry-after"] == "5"
        assert "127.0.0.1" not in answer.body.decode()


async def test_a_secret_rotated_between_two_deliveries_costs_none() -> None:
    """A new secret is looked for when a signature matches none that we have."""
    async with Rig() as rig:
        await rig.post(id_="msg_1")
        rig.source.put(OTHER)

        answers = [
            await rig.post(id_="msg_2", secret=OTHER),
            await rig.post(id_="msg_3", secret=SECRET),
        ]

        assert [answer.status for answer in answers] == [204, 204]


async def test_a_retired_secret_is_refused() -> None:
    """As soon as the refresh no longer finds it."""
    async with Rig() as rig:
        rig.source.put(OTHER)
        del rig.source.stages["AWSPREVIOUS"]
        await rig.receiver.refresh()

        assert (await rig.post(secret=SECRET)).status == 401


async def test_without_a_secret_the_sender_comes_again() -> None:
    """Secrets Manager is away at the start: 503, and no delivery is lost."""
    source = FakeSource()
    source.failure = SourceFailed(RefreshResult.UNREACHABLE, "it is away", "wait")
    async with Rig(source=source, wait_for_secrets=False) as rig:
        await until(lambda: source.calls)
        with capture_logs() as lines:
            answer = await rig.post()

        assert (answer.status, answer.code) == (503, "secret_unavailable")
        assert answer.fields["retry-after"] == "5"
        assert lines[-1]["reason"] == "it is away; wait"
        assert not rig.receiver.ready
        assert rig.results == []
        source.failure = None
        await rig.receiver.refresh()
        assert (await rig.post()).status == 204


async def test_a_source_that_hangs_does_not_hold_a_bad_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sender waits a bounded time for a new secret to be looked for."""
    monkeypatch.setattr("sidecar.webhook.handler.LOOK_AGAIN_SECONDS", 0.05)
    async with Rig() as rig:
        rig.source.hold = asyncio.Event()

        assert (await rig.post(secret=OTHER)).status == 401


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/", id="root"),
        pytest.param("/webhooks", id="no-endpoint"),
        pytest.param("/webhooks/", id="empty-endpoint"),
        pytest.param("/webhooks/outbox", id="unknown-endpoint"),
        pytest.param("/webhooks/inbox/", id="slash-behind"),
        pytest.param("//webhooks/inbox", id="slash-before"),
        pytest.param("/webhooks/inbox?a=b", id="query"),
        pytest.param("/webhooks/%69nbox", id="encoded"),
        pytest.param("/webhooks/x/../inbox", id="dots"),
        pytest.param("/Webhooks/Inbox", id="other-case"),
        pytest.param("http://sidecar:8702/webhooks/inbox", id="absolute"),
        pytest.param("inbox", id="bare"),
        pytest.param("*", id="star"),
        pytest.param("/metrics", id="metrics"),
        pytest.param("/-/quit", id="control"),
        pytest.param("/contacts", id="proxy"),
    ],
)
async def test_nothing_else_is_on_this_port(path: str) -> None:
    """Only the exact target leads anywhere; 404 without a word."""
    async with Rig() as rig:
        answer = await rig.post(path=path)

        assert answer.status in {400, 404}
        assert answer.status == 400 or answer.body == b""
        assert rig.app.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_only_post_is_taken(method: str) -> None:
    """405, with what is allowed."""
    async with Rig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request({}, b"", method=method))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: POST\r\n" in head


async def test_a_slow_body_is_given_up() -> None:
    """408, and the connection is closed."""
    async with Rig(body_seconds=0.1) as rig:
        fields = {**rig.headers(b"12345"), "Content-Length": "5"}

        answer = await rig.send(request(fields, b"123"))

        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.fields["connection"] == "close"
        assert rig.app.seen == []


async def test_a_slow_head_is_given_up() -> None:
    """The connection is closed; there is no request to answer."""
    async with Rig(keepalive_seconds=0.1) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"POST /webhooks/inbox HTTP/1.1\r\nHost: ")

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_second_slow_head_is_given_up_too() -> None:
    """After an answer the time for the next head begins."""
    async with Rig(keepalive_seconds=0.2) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        fields = {**rig.headers(b""), "Content-Length": "0"}
        writer.write(request(fields, b""))
        assert (await read_answer(reader)).status == 204
        writer.write(b"POST /webhooks/inbox HTTP/1.1\r\nHost: ")

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_body_cut_short_is_not_delivered() -> None:
    """The sender went away in the middle."""
    async with Rig() as rig:
        fields = {**rig.headers(b"12345"), "Content-Length": "5"}
        _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(fields, b"123"))
        await writer.drain()
        writer.close()

        await until(lambda: rig.results)
        assert rig.results == ["malformed"]
        assert rig.app.seen == []


async def test_a_broken_chunk_is_not_delivered() -> None:
    """Nor is the connection used again."""
    async with Rig() as rig:
        fields = {**rig.headers(b"12345"), "Transfer-Encoding": "chunked"}

        answer = await rig.send(request(fields, b"zz\r\n12345\r\n0\r\n\r\n"))

        assert answer.status == 400
        assert rig.app.seen == []


async def test_a_sender_that_asks_first_is_told_to_go_on() -> None:
    """Expect: 100-continue is answered when the size is known to be right."""
    async with Rig() as rig:
        fields = {**rig.headers(b"{}"), "Content-Length": "2", "Expect": "100-continue"}
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request(fields, b""))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"{}")

        assert (await read_answer(reader)).status == 204
        writer.close()


async def test_a_sender_that_asks_first_is_told_that_it_is_too_much() -> None:
    """So it need not send it."""
    async with Rig(endpoint={"max_body_bytes": 10}) as rig:
        fields = {**rig.headers(b""), "Content-Length": "11", "Expect": "100-continue"}

        assert (await rig.send(request(fields, b""))).code == "too_large"


async def test_the_sum_of_all_bodies_is_bounded() -> None:
    """The sender that would go beyond it comes again; the others are delivered."""
    async with Rig(App(waiting), max_buffered_bytes=3000) as rig:
        first = asyncio.ensure_future(rig.post(b"x" * 2000))
        await until(lambda: rig.app.seen)

        answer = await rig.post(b"x" * 2000, id_="msg_2")

        assert (answer.status, answer.code) == (503, "busy")
        rig.app.release.set()
        assert (await first).status == 204
        assert (await rig.post(b"x" * 2000, id_="msg_2")).status == 204


async def test_connections_are_bounded() -> None:
    """One too many is told so and closed; when one goes, there is room."""
    async with Rig(max_connections=2) as rig:
        idle = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(2)]
        await until(lambda: rig.connections == 2)

        answer = await rig.send(b"")
        idle[0][1].close()
        await until(lambda: rig.connections == 1)

        assert (answer.status, answer.fields["retry-after"]) == (503, "1")
        assert (await rig.post()).status == 204
        idle[1][1].close()


async def test_deliveries_can_follow_on_one_connection() -> None:
    """Also when both were sent at once."""
    async with Rig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        for number in range(2):
            fields = rig.headers(b"{}", id_=f"msg_{number}")
            writer.write(request({**fields, "Content-Length": "2"}, b"{}"))

        answers = [await read_answer(reader), await read_answer(reader)]

        assert [answer.status for answer in answers] == [204, 204]
        writer.close()


async def test_an_unexpected_error_is_a_500_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log has the type and the place; the id is free again."""
    async with Rig() as rig:
        with monkeypatch.context() as patched, capture_logs() as lines:
            table: dict[str, int] = {}
            patched.setattr(
                "sidecar.webhook.delivery.AppClient.deliver",
                lambda *_: table[SECRET],
            )
            answer = await rig.post()

        assert (answer.status, answer.code) == (500, "internal")
        assert SECRET[6:] not in answer.body.decode()
        assert [line["event"] for line in lines] == ["webhook_failed", "webhook"]
        assert lines[1]["reason"] == "KeyError"
        assert (await rig.post()).status == 204


async def test_what_went_well_has_a_line_when_asked_for() -> None:
    """`[log].access = "all"`."""
    async with Rig(log_delivered=True) as rig:
        with capture_logs() as lines:
            await rig.post()

    assert [(one["result"], one["id"], one["secret"]) for one in lines] == [
        ("delivered", "msg_1", "00000001")
    ]


async def test_what_went_well_has_no_line_otherwise() -> None:
    """`[log].access = "errors"`, the default."""
    async with Rig() as rig:
        with capture_logs() as lines:
            await rig.post()

    assert lines == []


async def test_a_thousand_endpoints_share_a_secret() -> None:
    """One refresher, one source; each has its own ids and numbers."""
    names = ("inbox", *(f"inbox-{number}" for number in range(999)))
    async with Rig(names=names) as rig:
        for name in ("inbox", "inbox-0", "inbox-998"):
            assert (await rig.post(path=f"/webhooks/{name}")).status == 204

        assert rig.source.calls == ["describe", "AWSCURRENT"]
        assert rig.counts["inbox-998"].results == ["delivered"]
        assert rig.counts["inbox-5"].results == []


async def test_an_app_on_a_socket(tmp_path: Path) -> None:
    """`forward_to = "unix:/run/app.sock:/hooks"`."""
    async with Rig(App(path=str(tmp_path / "app.sock"))) as rig:
        assert (await rig.post()).status == 204
        assert rig.app.seen[0].line == "POST /hooks/flownally HTTP/1.1"


async def test_a_stop_lets_deliveries_finish() -> None:
    """The listener closes, what is under way is answered."""
    async with Rig(App(waiting)) as rig:
        post = asyncio.ensure_future(rig.post())
        await until(lambda: rig.app.seen)
        stopping = asyncio.ensure_future(rig.runner.cleanup())
        await asyncio.sleep(0.01)
        rig.app.release.set()

        assert (await post).status == 204
        await stopping


async def test_a_stop_that_cannot_wait_gives_the_id_back() -> None:
    """The delivery is cut off, and the sender's next attempt is let in."""
    async with Rig(App(silent)) as rig:
        rig.runner._shutdown_timeout = 0.01
        post = asyncio.ensure_future(rig.post())
        await until(lambda: rig.app.seen)
        window = rig.receiver.endpoints["inbox"].window

        await rig.runner.cleanup()

        await until(lambda: repr(window) == "MemoryWindow(0 claimed, 0 done)")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await post


async def test_a_full_memory_is_a_store_that_cannot_answer() -> None:
    """503, nothing to the app, and the remedy in the log."""
    async with Rig(max_ids=1) as rig:
        await rig.post()
        with capture_logs() as lines:
            answer = await rig.post(id_="msg_2")

        assert (answer.status, answer.code) == (503, "store_error")
        assert "use dedupe =" in lines[-1]["reason"]
        assert len(rig.app.seen) == 1
        assert rig.results == ["delivered", "store_error"]


@pytest.mark.parametrize(
    ("behaviour", "status", "result", "words"),
    [
        (NO_CONTENT, 204, "delivered", "its id could not be kept (away; wait)"),
        (closing, 502, "app_error", "; its id stays claimed (away; wait)"),
    ],
    ids=["delivered", "not-delivered"],
)
async def test_a_store_that_goes_away_meanwhile_does_not_change_the_answer(
    behaviour: bytes | Behaviour, status: int, result: str, words: str
) -> None:
    """What the app said stands: it has the delivery, or it has not."""

    async def away(_claim: Claim) -> None:
        raise StoreFailed(*AWAY)

    async with Rig(App(behaviour)) as rig:
        window: Any = rig.receiver.endpoints["inbox"].window
        window.done = window.release = away
        with capture_logs() as lines:
            answer = await rig.post()

    assert answer.status == status
    assert rig.results == [result]
    assert lines[-1]["log_level"] == "warning"
    assert lines[-1]["reason"].endswith(words)


@pytest.mark.usefixtures("credentials")
async def test_ids_in_a_table(moto: AwsClient, table: str) -> None:
    """`dedupe = "dynamodb:TABLE"`: two receivers, one delivery, every call counted."""
    options: dict[str, Any] = {
        "names": ("inbox", "outbox"),
        "endpoint": {"dedupe": f"dynamodb:{table}"},
        "region": "eu-west-1",
        "endpoint_url": moto.endpoint,
    }
    async with Rig(**options) as first, Rig(first.app, **options) as second:
        answers = [await first.post(), await second.post(), await first.post()]
        other = await second.post(path="/webhooks/outbox")

        assert [answer.status for answer in answers] == [204, 200, 200]
        assert other.status == 204
        assert len(first.app.seen) == 2
        assert set(first.aws) | set(second.aws) == {
            ("dynamodb", "PutItem", "ok"),
            ("dynamodb", "PutItem", "conflict"),
            ("dynamodb", "UpdateItem", "ok"),
        }


@pytest.mark.usefixtures("credentials")
async def test_a_table_that_is_away_fails_closed(moto: AwsClient) -> None:
    """Never deliver unclaimed: the sender comes again, and the app hears nothing."""
    async with Rig(
        endpoint={"dedupe": "dynamodb:no-such-table"},
        region="eu-west-1",
        endpoint_url=moto.endpoint,
    ) as rig:
        with capture_logs() as lines:
            answer = await rig.post()

        assert (answer.status, answer.code) == (503, "store_error")
        assert "create the table" in lines[-1]["reason"]
        assert "no-such-table" not in answer.body.decode()
        assert rig.app.seen == []


async def test_sources_are_closed_at_the_end() -> None:
    """Their threads and connections go with the receiver."""
    async with Rig() as rig:
        assert not rig.source.closed

    assert rig.source.closed


async def test_secrets_are_learned_by_the_redactor() -> None:
    """Before the first delivery."""
    async with Rig() as rig:
        assert [one.reveal() for one in rig.learned] == [SECRET, SECRET[6:]]


def test_the_path_of_an_endpoint_is_as_documented() -> None:
    """DESIGN, section 10."""
    assert PATH == "/webhooks/inbox"
