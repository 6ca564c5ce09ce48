"""
How a delivery ended, what the sender is told and what the log says.

The sender is the internet: it learns the code, one sentence, and whether to come again.
Everything else (which secrets were tried, what the app answered) is for our log.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiohttp import web


class WebhookResult(StrEnum):
    """How a delivery ended: the metric label and the code in the answer."""

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
    # Not in the metric's list: they say nothing about a delivery, but about us.
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

# After these the rest of the request is not read: its connection is of no more use.
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
        WebhookResult.BAD_SIGNATURE: "no signature is of a secret that is valid here",
        WebhookResult.TOO_LARGE: "the body is larger than this endpoint takes",
        WebhookResult.APP_ERROR: "the service did not accept the delivery; try again",
        WebhookResult.APP_UNREACHABLE: "the service is away; try again",
        WebhookResult.STORE_ERROR: "cannot tell whether this was delivered; try again",
        WebhookResult.REQUEST_TIMEOUT: "the body did not come in time",
        WebhookResult.SECRET_UNAVAILABLE: "not ready to verify; try again",
        WebhookResult.BUSY: "too much is under way; try again",
        WebhookResult.INTERNAL: "unexpected error",
    }
)


@dataclass(frozen=True, slots=True)
class WebhookOutcome:
    """How one delivery ended."""

    result: WebhookResult
    detail: str = ""
    """In plain words, for our log."""
    id: str = ""
    age_seconds: float | None = None
    """Of a true delivery only: an untrue one's stamp is whatever its sender likes."""
    secret: str = ""
    """Fingerprint of the secret that verified it."""


def answer(outcome: WebhookOutcome) -> web.Response:
    """Make the answer to the sender."""
    result = outcome.result
    headers = {"Server": "sidecar"}  # not our versions, to anybody who asks
    if result is WebhookResult.DELIVERED:
        return web.Response(status=STATUS[result], headers=headers)
    if result is WebhookResult.DUPLICATE:
        headers["X-Sidecar-Duplicate"] = "1"
        return web.Response(status=STATUS[result], headers=headers)
    headers["X-Sidecar-Error"] = result
    if result in RETRY_AFTER_SECONDS:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS[result])
    # What is wrong with a sender's own header or clock helps nobody but the sender.
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
