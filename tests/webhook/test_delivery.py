"""How a delivery reaches the app, and what counts as the app having it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.webhook.delivery import AppClient, AppFailed, AppUnreachable, Target
from tests.support.webhook_app import App, Behaviour, closing, resetting, silent
from tests.support.webhook_fakes import until

FIELDS = [("Content-Type", "application/json"), ("Sidecar-Webhook-Id", "msg_1")]


@pytest.fixture(name="client")
async def _client() -> AsyncIterator[AppClient]:
    async with AppClient() as client:
        yield client


async def deliver(
    client: AppClient, app: App, body: bytes = b"{}", seconds: float = 5
) -> int:
    """Deliver to an app."""
    return await client.deliver(Target.parse(app.url), FIELDS, body, seconds)


async def test_the_app_gets_the_fields_and_the_bytes(client: AppClient) -> None:
    """Ours and no others: aiohttp adds Host and Content-Length only."""
    body = b"\xff\x00\xef\xbb\xbf{}\r\n"
    async with App() as app:
        status = await deliver(client, app, body)

    (seen,) = app.seen
    assert status == 204
    assert seen.line == "POST /hooks/flownally HTTP/1.1"
    assert seen.body == body
    assert sorted(seen.fields) == sorted(
        [
            *FIELDS,
            ("Host", f"127.0.0.1:{app.port}"),
            ("Content-Length", str(len(body))),
        ]
    )


async def test_an_app_on_a_unix_socket(client: AppClient, tmp_path: Path) -> None:
    """Without a port that others on the machine could reach."""
    async with App(path=str(tmp_path / "app.sock")) as app:
        assert await deliver(client, app) == 204

    assert app.seen[0].line == "POST /hooks/flownally HTTP/1.1"


@pytest.mark.parametrize(
    ("text", "url", "socket"),
    [
        ("http://127.0.0.1:3000/a%2Fb//c", "http://127.0.0.1:3000/a%2Fb//c", ""),
        ("http://[::1]:3000", "http://[::1]:3000", ""),
        ("unix:/run/app.sock:/hooks", "http://localhost/hooks", "/run/app.sock"),
        ("unix:/run/app.sock", "http://localhost/", "/run/app.sock"),
    ],
)
def test_targets_are_read_as_the_settings_write_them(
    text: str, url: str, socket: str
) -> None:
    """The path leaves byte for byte."""
    target = Target.parse(text)

    assert (str(target.url), target.socket) == (url, socket)


async def test_a_target_without_a_path_is_the_root(client: AppClient) -> None:
    """As a browser would read it."""
    async with App() as app:
        target = Target.parse(f"http://127.0.0.1:{app.port}")
        await client.deliver(target, FIELDS, b"", 5)

    assert app.seen[0].line == "POST / HTTP/1.1"


@pytest.mark.parametrize("size", [0, 1, 1_048_576, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(client: AppClient, size: int) -> None:
    """With their length, never chunked."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with App() as app:
        await deliver(client, app, body)

    assert app.seen[0].body == body
    gc.collect()


@pytest.mark.parametrize("status", [200, 201, 202, 301, 302, 307, 401, 404, 410, 500])
async def test_the_apps_status_is_returned(client: AppClient, status: int) -> None:
    """Redirects are not followed and errors not raised."""
    answer = (
        f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\n"
        "Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
    )
    async with App(answer.encode()) as app:
        assert await deliver(client, app) == status
        await deliver(client, app)

    assert len(app.seen) == 2
    assert app.seen[1].field("Cookie") is None


async def test_connections_are_used_again(client: AppClient) -> None:
    """A small answer is read to its end, so that its connection lives."""
    async with App(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes") as app:
        for _ in range(5):
            await deliver(client, app)

    assert app.connections == 1


async def test_an_answer_that_never_ends_costs_its_connection(
    client: AppClient,
) -> None:
    """Its status stands; its body is of no interest."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 200_000
    async with App(answer) as app:
        assert await deliver(client, app) == 200
        await deliver(client, app)

    assert app.connections == 2


@pytest.mark.parametrize(
    "framing",
    ["", "Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"],
    ids=["until-close", "with-length", "chunked"],
)
async def test_an_answer_whose_body_does_not_come_counts_at_once(
    client: AppClient, framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head said 2xx; the sender does not wait for what nobody reads."""
    monkeypatch.setattr("sidecar.webhook.delivery.DRAIN_SECONDS", 0.01)
    async with App(f"HTTP/1.1 200 OK\r\n{framing}\r\n".encode()) as app:
        assert await deliver(client, app) == 200
        await deliver(client, app)

    assert app.connections == 2


async def test_an_answer_in_chunks_keeps_its_connection(client: AppClient) -> None:
    """As Node sends it."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    async with App(answer) as app:
        await deliver(client, app)
        await deliver(client, app)

    assert app.connections == 1


async def test_a_cut_answer_body_does_not_change_the_status(client: AppClient) -> None:
    """The app said 2xx: it has the delivery."""

    async def cut(_app: App, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    async with App(cut) as app:
        assert await deliver(client, app) == 200


async def test_a_compressed_answer_is_not_unpacked(client: AppClient) -> None:
    """It is not looked at, so it cannot be a bomb."""
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n!!!!"
    )
    async with App(answer) as app:
        assert await deliver(client, app) == 200


async def test_an_app_that_is_down_is_unreachable(client: AppClient) -> None:
    """Nobody listens on its port."""
    async with App() as app:
        pass

    with pytest.raises(AppUnreachable, match="cannot be reached"):
        await deliver(client, app)


async def test_a_socket_that_is_missing_is_unreachable(
    client: AppClient, tmp_path: Path
) -> None:
    """The app has not started yet."""
    target = Target.parse(f"unix:{tmp_path / 'no.sock'}")

    with pytest.raises(AppUnreachable, match="cannot be reached"):
        await client.deliver(target, FIELDS, b"", 5)


async def test_an_app_that_does_not_answer_is_given_up(client: AppClient) -> None:
    """And its connection closed, so that it can notice."""
    async with App(silent) as app:
        with pytest.raises(AppUnreachable, match=r"within 0\.05 s"):
            await deliver(client, app, seconds=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(closing, id="closes"),
        pytest.param(resetting, id="resets"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="not-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", id="nul-in-a-field"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="status-of-four-digits"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n", id="long"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="length-of-letters"
        ),
    ],
)
async def test_what_is_no_answer_is_an_error_of_the_app(
    client: AppClient, answer: bytes | Behaviour
) -> None:
    """It took the delivery, and nobody knows what it did with it."""
    async with App(answer) as app:
        with pytest.raises(AppFailed, match="gave no HTTP answer") as caught:
            await deliver(client, app)

    assert caught.value.__suppress_context__
    assert "msg_1" not in str(caught.value)


async def test_a_delivery_is_never_sent_twice(client: AppClient) -> None:
    """Not even when an idle connection turns out to be dead: the app may have it."""
    async with App() as app:
        await deliver(client, app)
        app.answer = closing
        with pytest.raises(AppFailed):
            await deliver(client, app)

    assert len(app.seen) == 2


async def test_proxy_variables_do_not_apply(
    client: AppClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is on this machine, whatever the environment says."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with App() as app:
        assert await deliver(client, app) == 204


async def test_a_cancelled_delivery_lets_go_of_its_connection(
    client: AppClient,
) -> None:
    """As when the receiver is stopped."""
    async with App(silent) as app:
        task = asyncio.ensure_future(deliver(client, app))
        await until(lambda: app.seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
