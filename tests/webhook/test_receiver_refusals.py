"""Through a real port: what is untrue or malformed is refused, and its sender told."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from structlog.testing import capture_logs

from tests.support.receiver_rig import PATH, ReceiverRig, request
from tests.support.webhook_fakes import OTHER, SECRET

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
    async with ReceiverRig() as rig:
        fields = {**rig.headers(b""), **changes}
        if "Transfer-Encoding" not in changes:
            fields["Content-Length"] = "0"

        answer = await rig.send(request(fields, b"0\r\n\r\n"[: 5 * len(fields) % 5]))

        assert (answer.status, answer.code) == (400, "malformed")
        assert rig.app.seen == []
        assert rig.results == ["malformed"]


async def test_a_repeated_field_is_malformed() -> None:
    """Even with the same value."""
    async with ReceiverRig() as rig:
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
    async with ReceiverRig() as rig:
        answer = await rig.send(data)

    assert answer.status == status
    assert "aiohttp" not in str(answer)
    assert rig.app.seen == []
    assert "Traceback" not in caplog.text


async def test_hostile_bytes_are_answered_and_never_delivered() -> None:
    """Mutations of a true delivery: a refusal or a closed connection, never a 5xx."""
    chance = Random(5)
    statuses: Counter[int] = Counter()
    async with ReceiverRig(body_seconds=0.02, keepalive_seconds=0.1) as rig:
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
    async with ReceiverRig() as rig:
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
    async with ReceiverRig() as rig:
        answer = await rig.post(at=rig.clock() + offset)

        assert (answer.status, answer.code) == (400, "stale")
        assert "301 s" in json.loads(answer.body)["error"]["message"]
        assert rig.results == ["stale"]


async def test_an_id_is_not_taken_by_who_cannot_sign_it() -> None:
    """Else anybody could keep a delivery out by sending its id first."""
    async with ReceiverRig() as rig:
        await rig.post(b"forged", secret=OTHER)

        assert (await rig.post()).status == 204


async def test_a_retired_secret_is_refused() -> None:
    """As soon as the refresh no longer finds it."""
    async with ReceiverRig() as rig:
        rig.source.put(OTHER)
        del rig.source.stages["AWSPREVIOUS"]
        await rig.receiver.refresh()

        assert (await rig.post(secret=SECRET)).status == 401


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
    async with ReceiverRig() as rig:
        answer = await rig.post(path=path)

        assert answer.status in {400, 404}
        assert answer.status == 400 or answer.body == b""
        assert rig.app.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_only_post_is_taken(method: str) -> None:
    """405, with what is allowed."""
    async with ReceiverRig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(request({}, b"", method=method))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: POST\r\n" in head


def test_the_path_of_an_endpoint_is_as_documented() -> None:
    """DESIGN, section 10."""
    assert PATH == "/webhooks/inbox"
