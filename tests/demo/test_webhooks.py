"""The demo's webhooks against a real receiver."""

import asyncio

from sidecar.demo.webhooks import (
    DeliveryResult,
    WebhookApp,
    format_results,
    make_secret,
    send_deliveries,
)
from tests.support.receiver_rig import ReceiverRig
from tests.support.webhook_fakes import FakeSource


async def test_each_delivery_ends_as_expected() -> None:
    """Valid deliveries reach the app once; the sender of another one gets its code."""
    secret = make_secret()
    with WebhookApp() as app:
        async with ReceiverRig(
            source=FakeSource(secret), endpoint={"forward_to": app.url}
        ) as rig:
            address = f"127.0.0.1:{rig.port}"
            results = await asyncio.to_thread(
                send_deliveries, address, secret, app, rig.clock
            )

    assert all(one.as_expected for one in results), format_results(results)
    assert [one.code for one in results] == [
        *("", "", "bad_signature", "stale", "stale", "bad_signature", "", ""),
    ]
    assert len(app.received) == len(set(app.received)) == 3


def test_the_results_are_printed_in_columns() -> None:
    """One line each: the kind, the status, and whether the app received it."""
    results = (
        DeliveryResult("valid", 204, "", delivered=True, expected=(204, True)),
        DeliveryResult("replayed", 200, "", delivered=False, expected=(200, False)),
        DeliveryResult("stale", 400, "stale", delivered=False, expected=(204, True)),
    )

    assert format_results(results).splitlines() == [
        "  valid     204  delivered      -> service",
        "  replayed  200  duplicate",
        "  stale     400  stale",
    ]
    assert [one.as_expected for one in results] == [True, True, False]
