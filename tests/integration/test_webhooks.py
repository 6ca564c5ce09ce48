"""Real `sidecar run` processes, a real HTTP DynamoDB: what is true, and only once."""

import asyncio
import http.client
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import merge, wait_until
from tests.support.receiver_rig import PATH, read_answer, request
from tests.support.webhook_app import NO_CONTENT, App, silent, waiting
from tests.support.webhook_fakes import JOB, OTHER, SECRET, headers, make_table, until

if TYPE_CHECKING:
    from sidecar.emulator.aws import AwsClient
    from tests.support.processes import Settings, SidecarProcess

SECRET_ID = "prod/flownally/webhook"
CHANGED = "webhook_secrets_changed"
"""The event of a receiver's log when it has a secret."""
BODY = b'{"type": "contact.created"}'

Start = Callable[["Settings"], "SidecarProcess"]


@pytest.fixture(name="webhooks")
def _webhooks(moto: "AwsClient") -> "Settings":
    """Settings of a receiver without an upstream, and its secret in Secrets Manager."""
    moto.put_secret(SECRET_ID, SECRET)
    return {
        "job": {"name": JOB, "environment": "staging"},
        "webhooks": {"inbox": {"secret_id": SECRET_ID}},
        "webhook_listener": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
        "aws": {"region": "eu-west-1", "endpoint_url": moto.endpoint},
    }


def endpoint(settings: "Settings", app: App, **changes: Any) -> "Settings":
    """Settings that deliver to this app."""
    inbox = {"forward_to": app.url, **changes}
    return merge(settings, {"webhooks": {"inbox": inbox}})


def post(address: str, id_: str, secret: str = SECRET) -> int:
    """Send a delivery and return the status of the answer; 0 when there is none."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        fields = headers(BODY, id_, time.time(), secret)
        connection.request("POST", PATH, BODY, fields)
        return connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


async def send(receiver: "SidecarProcess", id_: str, secret: str = SECRET) -> int:
    """Send a delivery in a thread: the app of the test is in the loop."""
    address = await asyncio.to_thread(receiver.address, "webhooks")
    return await asyncio.to_thread(post, address, id_, secret)


async def started(
    start: Start, settings: "Settings", count: int
) -> list["SidecarProcess"]:
    """Start receivers and wait until each has its secret."""
    receivers = [start(settings) for _ in range(count)]
    for receiver in receivers:
        await asyncio.to_thread(receiver.wait_listening)
        await asyncio.to_thread(wait_until, lambda one=receiver: one.logs(CHANGED))
    return receivers


async def test_fifty_copies_at_four_receivers_are_one_delivery(
    moto: "AwsClient", webhooks: "Settings", sidecar_process: Start
) -> None:
    """The first one is delivered; the others get 409 or 200, and no error."""
    table = make_table(moto)

    async def slow(_app: App, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(NO_CONTENT)

    async with App(slow) as app:
        settings = endpoint(webhooks, app, dedupe=f"dynamodb:{table}")
        receivers = await started(sidecar_process, settings, 4)
        for _ in range(3):
            id_ = f"msg_{uuid.uuid4().hex}"
            copies = (send(receivers[number % 4], id_) for number in range(50))

            statuses = Counter(await asyncio.gather(*copies))

            assert statuses[204] == 1
            assert set(statuses) <= {200, 204, 409}
            assert [s.field("webhook-id") for s in app.seen].count(id_) == 1
            assert await send(receivers[0], id_) == 200


async def test_jobs_with_one_table_each_get_what_one_sender_tells_both(
    moto: "AwsClient", webhooks: "Settings", sidecar_process: Start
) -> None:
    """A sender has one id for all its endpoints: once for each job, not once at all."""
    other = merge(webhooks, {"job": {"name": "staging-billing-export"}})
    table = f"dynamodb:{make_table(moto)}"
    async with App() as app, App() as other_app:
        ours = endpoint(webhooks, app, dedupe=table)
        theirs = endpoint(other, other_app, dedupe=table)
        receivers = await started(sidecar_process, ours, 2)
        receivers += await started(sidecar_process, theirs, 1)

        assert [await send(one, "msg_1") for one in receivers] == [204, 200, 204]
        assert [len(app.seen), len(other_app.seen)] == [1, 1]


async def test_a_delivery_whose_receiver_was_killed_is_delivered_again_once(
    moto: "AwsClient", webhooks: "Settings", sidecar_process: Start
) -> None:
    """After the lease of the dead one, and not before; then never again."""
    table = make_table(moto)
    async with App(silent) as app:
        settings = endpoint(webhooks, app, dedupe=f"dynamodb:{table}")
        doomed, *others = await started(sidecar_process, settings, 3)
        first = asyncio.ensure_future(send(doomed, "msg_1"))
        await until(lambda: app.seen)

        doomed.send(signal.SIGKILL)

        assert await first == 0
        app.answer = NO_CONTENT
        assert [await send(other, "msg_1") for other in others] == [409, 409]
        assert len(app.seen) == 1
        await asyncio.to_thread(let_the_lease_run_out, moto, table)
        copies = (send(others[number % 2], "msg_1") for number in range(20))
        statuses = Counter(await asyncio.gather(*copies))
        assert statuses[204] == 1
        assert set(statuses) <= {200, 204, 409}
        assert len(app.seen) == 2


def let_the_lease_run_out(moto: "AwsClient", table: str) -> None:
    """Move the end of the lease into the past, instead of waiting for it."""
    key = {"id": {"S": f"{JOB}#inbox#msg_1"}}
    item = moto.dynamodb.get_item(TableName=table, Key=key)["Item"]
    assert item["state"] == {"S": "claimed"}
    ahead = float(item["expires"]["N"]) - time.time()
    assert 15 < ahead < 15 + 30 + 2
    moto.dynamodb.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET #e = :past",
        ExpressionAttributeNames={"#e": "expires"},
        ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
    )


async def test_a_sender_that_cuts_its_body_short_is_told(
    webhooks: "Settings", sidecar_process: Start
) -> None:
    """On the loop that the sidecar has in production, too."""
    async with App() as app:
        (receiver,) = await started(sidecar_process, endpoint(webhooks, app), 1)
        host, _, port = receiver.address("webhooks").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        fields = {**headers(BODY, at=time.time()), "Content-Length": "99"}
        writer.write(request(fields, BODY))
        await asyncio.sleep(0.2)
        writer.write_eof()

        assert (await read_answer(reader)).code == "malformed"
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert app.seen == []


async def test_a_stop_in_mid_delivery_loses_nothing(
    webhooks: "Settings", sidecar_process: Start
) -> None:
    """SIGTERM: what is under way is finished and answered, then exit 0."""
    async with App(waiting) as app:
        (receiver,) = await started(sidecar_process, endpoint(webhooks, app), 1)
        delivery = asyncio.ensure_future(send(receiver, "msg_1"))
        await until(lambda: app.seen)

        receiver.send(signal.SIGTERM)
        await until(lambda: receiver.logs("draining"))
        app.release.set()

        assert await delivery == 204
        assert await asyncio.to_thread(receiver.wait) == 0


async def test_a_stop_that_cannot_wait_gives_the_id_back(
    moto: "AwsClient", webhooks: "Settings", sidecar_process: Start
) -> None:
    """The drain is over before the app answers: another receiver need not wait."""
    table = make_table(moto)
    async with App(silent) as app:
        settings = endpoint(webhooks, app, dedupe=f"dynamodb:{table}")
        settings["drain"] = {"timeout_seconds": 1}
        first, second = await started(sidecar_process, settings, 2)
        delivery = asyncio.ensure_future(send(first, "msg_1"))
        await until(lambda: app.seen)

        first.send(signal.SIGTERM)

        assert await asyncio.to_thread(first.wait) == 0
        assert await delivery == 0
        app.answer = NO_CONTENT
        assert await send(second, "msg_1") == 204


async def test_a_rotation_of_the_secret_costs_no_delivery(
    moto: "AwsClient", webhooks: "Settings", sidecar_process: Start
) -> None:
    """Both while both are valid; the old one not when it is retired."""
    async with App() as app:
        (receiver,) = await started(sidecar_process, endpoint(webhooks, app), 1)
        old = moto.version(SECRET_ID, "AWSCURRENT")
        before = await send(receiver, "msg_1")
        await asyncio.to_thread(moto.rotate, SECRET_ID, OTHER)

        during = [
            await send(receiver, "msg_2", OTHER),
            await send(receiver, "msg_3", SECRET),
        ]
        await asyncio.to_thread(
            moto.secrets.update_secret_version_stage,
            SecretId=SECRET_ID,
            VersionStage="AWSPREVIOUS",
            RemoveFromVersionId=old,
        )
        await asyncio.to_thread(receiver.admin, "/-/reload", "POST")
        after = [
            await send(receiver, "msg_4", OTHER),
            await send(receiver, "msg_5", SECRET),
        ]

        assert [before, *during, *after] == [204, 204, 204, 204, 401]
        assert len(app.seen) == 4
        receiver.assert_never_shown(SECRET, OTHER)


async def test_what_became_of_each_is_on_the_metrics_and_in_the_log(
    webhooks: "Settings", sidecar_process: Start
) -> None:
    """Counts by endpoint and result; the log has the reasons; neither has a secret."""
    async with App() as app:
        (receiver,) = await started(sidecar_process, endpoint(webhooks, app), 1)
        for id_, secret in (("msg_1", SECRET), ("msg_1", SECRET), ("msg_2", OTHER)):
            await send(receiver, id_, secret)

    metrics = await asyncio.to_thread(receiver.metrics)
    counted = {
        labels["result"]: metrics.value("sidecar_webhooks_total", **labels)
        for labels in metrics.labels("sidecar_webhooks_total")
    }
    assert {name: count for name, count in counted.items() if count} == {
        "delivered": 1,
        "duplicate": 1,
        "bad_signature": 1,
    }
    assert metrics.value("sidecar_webhook_age_seconds_count", endpoint="inbox") == 2
    reasons = {line["result"]: line["reason"] for line in receiver.logs("webhook")}
    assert "secrets tried: " in reasons["bad_signature"]
    assert (
        "msg_1"
        not in (await asyncio.to_thread(receiver.admin, "/metrics")).body.decode()
    )
    receiver.assert_never_shown(SECRET, OTHER)


async def test_a_receiver_starts_before_its_secret_exists(
    moto: "AwsClient", webhooks: "Settings", sidecar_process: Start
) -> None:
    """503 until the secret is there, then deliveries; the process never ends for it."""
    async with App() as app:
        settings = endpoint(webhooks, app, secret_id="prod/flownally/later")
        receiver = sidecar_process(settings)
        await asyncio.to_thread(receiver.wait_listening)
        assert await send(receiver, "msg_1") == 503

        await asyncio.to_thread(moto.put_secret, "prod/flownally/later", SECRET)
        await asyncio.to_thread(receiver.admin, "/-/reload", "POST")

        assert await send(receiver, "msg_1") == 204
