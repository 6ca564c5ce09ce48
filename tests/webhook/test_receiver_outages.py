"""Through a real port: the app, the store or the source of secrets is away."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.emulator.aws import AwsClient
from sidecar.errors import RefreshResult, SourceFailed
from sidecar.settings.tables import AwsSettings
from sidecar.webhook.dedupe import Claim, StoreFailed
from tests.support.receiver_rig import ReceiverRig
from tests.support.webhook_app import (
    NO_CONTENT,
    App,
    Behaviour,
    closing,
    silent,
    waiting,
)
from tests.support.webhook_fakes import OTHER, SECRET, FakeSource, until

AWAY = ("away", "wait")


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
    async with ReceiverRig(App(behaviour), endpoint={"response_seconds": 0.1}) as rig:
        answer = await rig.post()
        rig.app.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

        again = await rig.post()

        assert (answer.status, answer.code) == (status, code)
        assert again.status == 204
        assert len(rig.app.seen) == 2
        assert rig.results == [code, "delivered"]


async def test_an_app_that_is_down_is_waited_for_by_the_sender() -> None:
    """503 and Retry-After; nothing is queued here."""
    async with ReceiverRig() as rig:
        await rig.app.__aexit__()

        answer = await rig.post()

        assert (answer.status, answer.code) == (503, "app_unreachable")
        assert answer.fields["retry-after"] == "5"
        assert "127.0.0.1" not in answer.body.decode()


async def test_a_secret_rotated_between_two_deliveries_costs_none() -> None:
    """A new secret is looked for when a signature matches none that we have."""
    async with ReceiverRig() as rig:
        await rig.post(id_="msg_1")
        rig.source.put(OTHER)

        answers = [
            await rig.post(id_="msg_2", secret=OTHER),
            await rig.post(id_="msg_3", secret=SECRET),
        ]

        assert [answer.status for answer in answers] == [204, 204]


async def test_without_a_secret_the_sender_comes_again() -> None:
    """Secrets Manager is away at the start: 503, and no delivery is lost."""
    source = FakeSource()
    source.failure = SourceFailed(RefreshResult.UNREACHABLE, "it is away", "wait")
    async with ReceiverRig(source=source, wait_for_secrets=False) as rig:
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
    monkeypatch.setattr("sidecar.webhook.handler.EXTRA_REFRESH_SECONDS", 0.05)
    async with ReceiverRig() as rig:
        rig.source.hold = asyncio.Event()

        assert (await rig.post(secret=OTHER)).status == 401


async def test_an_unexpected_error_is_a_500_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log has the type and the place; the id is free again."""
    async with ReceiverRig() as rig:
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


async def test_a_stop_lets_deliveries_finish() -> None:
    """The listener closes, what is under way is answered."""
    async with ReceiverRig(App(waiting)) as rig:
        post = asyncio.ensure_future(rig.post())
        await until(lambda: rig.app.seen)
        stopping = asyncio.ensure_future(rig.runner.cleanup())
        await until(lambda: not rig.runner.sites)
        rig.app.release.set()

        assert (await post).status == 204
        await stopping


async def test_a_stop_that_cannot_wait_gives_the_id_back() -> None:
    """The delivery is cut off, and the sender's next attempt is let in."""
    async with ReceiverRig(App(silent)) as rig:
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
    async with ReceiverRig(max_ids=1) as rig:
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

    async with ReceiverRig(App(behaviour)) as rig:
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
        "aws": AwsSettings(region="eu-west-1", endpoint_url=moto.endpoint),
    }
    async with (
        ReceiverRig(**options) as first,
        ReceiverRig(first.app, **options) as second,
    ):
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
    async with ReceiverRig(
        endpoint={"dedupe": "dynamodb:no-such-table"},
        aws=AwsSettings(region="eu-west-1", endpoint_url=moto.endpoint),
    ) as rig:
        with capture_logs() as lines:
            answer = await rig.post()

        assert (answer.status, answer.code) == (503, "store_error")
        assert "create the table" in lines[-1]["reason"]
        assert "no-such-table" not in answer.body.decode()
        assert rig.app.seen == []


async def test_sources_are_closed_at_the_end() -> None:
    """Their threads and connections go with the receiver."""
    async with ReceiverRig() as rig:
        assert not rig.source.closed

    assert rig.source.closed
