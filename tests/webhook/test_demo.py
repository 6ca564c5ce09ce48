"""The demo's webhooks: each kind of delivery has its fate, before a real receiver."""

import asyncio

from sidecar.demo.webhooks import DeliveryResult, WebhookApp, make_secret, show, table
from tests.support.receiver_rig import Rig
from tests.support.webhook_fakes import FakeSource


async def test_each_kind_of_delivery_has_its_fate() -> None:
    """The good ones reach the app, once; the others do not, and the sender learns why."""
    secret = make_secret()
    with WebhookApp() as app:
        async with Rig(
            source=FakeSource(secret), endpoint={"forward_to": app.url}
        ) as rig:
            address = f"127.0.0.1:{rig.port}"
            fates = await asyncio.to_thread(show, address, secret, app, rig.clock)

    assert all(fate.right for fate in fates), table(fates)
    assert [fate.code for fate in fates] == [
        *("", "", "bad_signature", "stale", "stale", "bad_signature", "", ""),
    ]
    assert len(app.received) == len(set(app.received)) == 3


def test_the_table_is_for_people() -> None:
    """One line each: what it was, the answer, whether the app has it."""
    fates = (
        DeliveryResult("good", 204, "", delivered=True, expected=(204, True)),
        DeliveryResult("replayed", 200, "", delivered=False, expected=(200, False)),
        DeliveryResult("stale", 400, "stale", delivered=False, expected=(204, True)),
    )

    assert table(fates).splitlines() == [
        "  good      204  delivered      -> the app",
        "  replayed  200  known already",
        "  stale     400  stale",
    ]
    assert [fate.right for fate in fates] == [True, True, False]
