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


class Result(StrEnum):
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


COUNTED: Final = frozenset(list(Result)[:10])
"""The results that `sidecar_webhooks_total` has series for."""

STATUS: Final = MappingProxyType(
    {
        Result.DELIVERED: 204,
        Result.DUPLICATE: 200,
        Result.IN_FLIGHT: 409,
        Result.BAD_SIGNATURE: 401,
        Result.STALE: 400,
        Result.MALFORMED: 400,
        Result.TOO_LARGE: 413,
        Result.APP_ERROR: 502,
        Result.APP_UNREACHABLE: 503,
        Result.STORE_ERROR: 503,
        Result.REQUEST_TIMEOUT: 408,
        Result.SECRET_UNAVAILABLE: 503,
        Result.BUSY: 503,
        Result.INTERNAL: 500,
    }
)

RETRY_AFTER_SECONDS: Final = MappingProxyType(
    {
        Result.IN_FLIGHT: 5,  # the first retry of Standard Webhooks senders
        Result.APP_UNREACHABLE: 5,
        Result.STORE_ERROR: 5,
        Result.SECRET_UNAVAILABLE: 5,
        Result.BUSY: 1,
    }
)

# After these the rest of the request is not read: its connection is of no more use.
_CLOSING: Final = frozenset(
    {Result.TOO_LARGE, Result.REQUEST_TIMEOUT, Result.BUSY, Result.INTERNAL}
)

_SENTENCES: Final = MappingProxyType(
    {
        Result.IN_FLIGHT: "this id is being delivered; try again",
        Result.BAD_SIGNATURE: "no signature is of a secret that is valid here",
        Result.TOO_LARGE: "the body is larger than this endpoint takes",
        Result.APP_ERROR: "the service did not accept the delivery; try again",
        Result.APP_UNREACHABLE: "the service is away; try again",
        Result.STORE_ERROR: "cannot tell whether this was delivered; try again",
        Result.REQUEST_TIMEOUT: "the body did not come in time",
        Result.SECRET_UNAVAILABLE: "not ready to verify; try again",
        Result.BUSY: "too much is under way; try again",
        Result.INTERNAL: "unexpected error",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one delivery ended."""

    result: Result
    detail: str = ""
    """In plain words, for our log."""
    id: str = ""
    age_seconds: float | None = None
    """Of a true delivery only: an untrue one's stamp is whatever its sender likes."""
    secret: str = ""
    """Fingerprint of the secret that verified it."""


def answer(outcome: Outcome) -> web.Response:
    """Make the answer to the sender."""
    result = outcome.result
    headers = {"Server": "sidecar"}  # not our versions, to anybody who asks
    if result is Result.DELIVERED:
        return web.Response(status=STATUS[result], headers=headers)
    if result is Result.DUPLICATE:
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
