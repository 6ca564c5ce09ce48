"""
The results of a delivery and the sender's answer for each.

The sender may be anyone on the internet. It gets the code, one sentence, and whether to
retry. Everything else (the secrets tried, the app's answer) goes to the log only.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiohttp import web


class WebhookResult(StrEnum):
    """The result of a delivery: the metric label and the code in the answer."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    IN_FLIGHT = "in_flight"
    BAD_SIGNATURE = "bad_signature"
    STALE = "stale"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    APP_ERROR = "app_error"
    APP_UNREACHABLE = "app_unreachable"
    STORE_ERROR = "store_error"
    # Not counted by the metric: they concern the receiver, not a delivery.
    REQUEST_TIMEOUT = "request_timeout"
    SECRET_UNAVAILABLE = "secret_unavailable"  # noqa: S105  (a code, no secret)
    BUSY = "busy"
    INTERNAL = "internal"


COUNTED: Final = frozenset(list(WebhookResult)[:10])
"""The results that `sidecar_webhooks_total` has series for."""

STATUS: Final = MappingProxyType(
    {
        WebhookResult.DELIVERED: 204,
        WebhookResult.DUPLICATE: 200,
        WebhookResult.IN_FLIGHT: 409,
        WebhookResult.BAD_SIGNATURE: 401,
        WebhookResult.STALE: 400,
        WebhookResult.MALFORMED: 400,
        WebhookResult.TOO_LARGE: 413,
        WebhookResult.APP_ERROR: 502,
        WebhookResult.APP_UNREACHABLE: 503,
        WebhookResult.STORE_ERROR: 503,
        WebhookResult.REQUEST_TIMEOUT: 408,
        WebhookResult.SECRET_UNAVAILABLE: 503,
        WebhookResult.BUSY: 503,
        WebhookResult.INTERNAL: 500,
    }
)

RETRY_AFTER_SECONDS: Final = MappingProxyType(
    {
        WebhookResult.IN_FLIGHT: 5,  # the first retry of Standard Webhooks senders
        WebhookResult.APP_UNREACHABLE: 5,
        WebhookResult.STORE_ERROR: 5,
        WebhookResult.SECRET_UNAVAILABLE: 5,
        WebhookResult.BUSY: 1,
    }
)

# After these the rest of the request is not read, so the connection is closed.
_CLOSING: Final = frozenset(
    {
        WebhookResult.TOO_LARGE,
        WebhookResult.REQUEST_TIMEOUT,
        WebhookResult.BUSY,
        WebhookResult.INTERNAL,
    }
)

_SENTENCES: Final = MappingProxyType(
    {
        WebhookResult.IN_FLIGHT: "this id is being delivered; try again",
        WebhookResult.BAD_SIGNATURE: "no signature matches a valid secret",
        WebhookResult.TOO_LARGE: "the body is larger than this endpoint allows",
        WebhookResult.APP_ERROR: "the service did not accept the delivery; try again",
        WebhookResult.APP_UNREACHABLE: "the service is unavailable; try again",
        WebhookResult.STORE_ERROR: "the store of delivered ids is unavailable; try again",
        WebhookResult.REQUEST_TIMEOUT: "the body did not arrive in time",
        WebhookResult.SECRET_UNAVAILABLE: "no secret is available to verify with; try again",
        WebhookResult.BUSY: "the receiver is busy; try again",
        WebhookResult.INTERNAL: "unexpected error",
    }
)


@dataclass(frozen=True, slots=True)
class WebhookOutcome:
    """The result of one delivery, with details."""

    result: WebhookResult
    detail: str = ""
    """The reason, for the log."""
    id: str = ""
    age_seconds: float | None = None
    """Only of a verified delivery: other timestamps are not trustworthy."""
    secret: str = ""
    """Fingerprint of the secret that verified it."""


def answer(outcome: WebhookOutcome) -> web.Response:
    """Make the answer to the sender."""
    result = outcome.result
    headers = {"Server": "sidecar"}  # hides the versions of Python and aiohttp
    if result is WebhookResult.DELIVERED:
        return web.Response(status=STATUS[result], headers=headers)
    if result is WebhookResult.DUPLICATE:
        headers["X-Sidecar-Duplicate"] = "1"
        return web.Response(status=STATUS[result], headers=headers)
    headers["X-Sidecar-Error"] = result
    if result in RETRY_AFTER_SECONDS:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS[result])
    # Details about the sender's own header fields or clock reveal nothing about us.
    sentence = _SENTENCES.get(result, outcome.detail)
    response = web.Response(
        status=STATUS[result],
        body=json.dumps({"error": {"code": result, "message": sentence}}).encode(),
        content_type="application/json",
        headers=headers,
    )
    if result in _CLOSING:
        response.force_close()
    return response
