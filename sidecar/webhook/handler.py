"""
Handles one request on the webhook listener.

Rule 1: only the exact target `POST /webhooks/<endpoint>` is served.
Rule 2: the order is size, form, time, signature, claim, delivery. Before the signature
is verified, nothing costs more than a hash, and no id is claimed.
Rule 3: nothing is queued. The sender gets its answer after the app's answer, and the
sender's retries are the queue.
Rule 4: every request ends in one `WebhookOutcome`: one answer, one count, one log line.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from sidecar.core.webhooks.verification import (
    Delivery,
    Rejection,
    WebhookRejected,
    verify,
)
from sidecar.log import get_logger
from sidecar.settings.tables import WebhookSettings
from sidecar.webhook.body import Bodies, BodyRefused
from sidecar.webhook.dedupe import Claim, ClaimRefusal, StoreFailed, Window
from sidecar.webhook.delivery import AppClient, AppFailed, AppUnreachable, Target
from sidecar.webhook.fields import ForwardedFields
from sidecar.webhook.outcome import COUNTED, WebhookOutcome, WebhookResult, answer
from sidecar.webhook.secrets import WebhookSecrets

EXTRA_REFRESH_SECONDS: Final = 2
"""How long a delivery waits for a refresh that may find a new secret."""

if TYPE_CHECKING:
    from sidecar.metrics import WebhookMetrics

PREFIX: Final = "/webhooks/"

_SUCCESS: Final = range(200, 300)
# These results are expected: senders retry.
_ROUTINE: Final = frozenset(
    {WebhookResult.DELIVERED, WebhookResult.DUPLICATE, WebhookResult.IN_FLIGHT}
)

_log = get_logger("sidecar.webhook")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint with its secrets, its window and its metrics."""

    name: str
    settings: WebhookSettings
    target: Target
    secrets: WebhookSecrets
    window: Window
    metrics: "WebhookMetrics"


@dataclass(slots=True)
class Handler:
    """Answers every request on the webhook listener."""

    endpoints: Mapping[str, Endpoint]
    """By request target: `/webhooks/<name>`."""
    app: AppClient
    bodies: Bodies
    now: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    log_delivered: bool = False
    _fields: ForwardedFields = field(default_factory=ForwardedFields, init=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        # The raw target is compared, without decoding, so that it is unambiguous.
        endpoint = self.endpoints.get(request.raw_path)
        if endpoint is None:
            return web.Response(status=404, headers={"Server": "sidecar"})
        if request.method != "POST":
            headers = {"Allow": "POST", "Server": "sidecar"}
            return web.Response(status=405, headers=headers)
        started = self.monotonic()
        outcome = await self._outcome_of(endpoint, request)
        self._report(endpoint, outcome, self.monotonic() - started, request.remote)
        return answer(outcome)

    async def _outcome_of(
        self, endpoint: Endpoint, request: web.Request
    ) -> WebhookOutcome:
        """Receive a delivery; every exception becomes an outcome here."""
        try:
            limit = endpoint.settings.max_body_bytes
            async with self.bodies.read(request, limit) as body:
                return await self._receive(endpoint, request, body)
        except BodyRefused as refused:
            return WebhookOutcome(refused.result, refused.detail)
        except WebhookRejected as rejected:
            return WebhookOutcome(
                WebhookResult(rejected.reason), rejected.detail, rejected.id
            )
        except Exception as error:  # noqa: BLE001  (the last handler: a bug is a 500)
            _log.error("webhook_failed", exc_info=error)  # by type and place
            return WebhookOutcome(WebhookResult.INTERNAL, type(error).__name__)

    async def _receive(
        self, endpoint: Endpoint, request: web.Request, body: bytes
    ) -> WebhookOutcome:
        """Verify a delivery, claim its id, deliver it."""
        if not endpoint.secrets.keys:
            reason = endpoint.secrets.last_error or "no secret yet"
            return WebhookOutcome(WebhookResult.SECRET_UNAVAILABLE, reason)
        delivery = await self._verify(endpoint, request, body)
        fields = self._fields.of(request.raw_headers, delivery)
        try:
            claim = await endpoint.window.claim(delivery.id)
        except StoreFailed as failed:
            return _outcome(WebhookResult.STORE_ERROR, str(failed), delivery)
        if isinstance(claim, ClaimRefusal):
            return _outcome(WebhookResult(claim), "", delivery)
        try:
            result, detail = await self._deliver(endpoint, fields, body)
        except BaseException:
            # A shutdown cancels the task, or there is a bug: release without waiting.
            endpoint.window.abandon(claim)
            raise
        detail += await _settle(endpoint.window, claim, result)
        return _outcome(result, detail, delivery)

    async def _verify(
        self, endpoint: Endpoint, request: web.Request, body: bytes
    ) -> Delivery:
        """Verify; if no secret matches, refresh the secrets and verify once more."""
        try:
            return self._verify_now(endpoint, request, body)
        except WebhookRejected as rejected:
            if rejected.reason is not Rejection.BAD_SIGNATURE:
                raise
            if not await _refresh_extra(endpoint.secrets):
                raise
        return self._verify_now(endpoint, request, body)

    def _verify_now(
        self, endpoint: Endpoint, request: web.Request, body: bytes
    ) -> Delivery:
        return verify(
            request.raw_headers,
            body,
            endpoint.secrets.keys,
            now=self.now(),
            tolerance_seconds=endpoint.settings.tolerance_seconds,
        )

    async def _deliver(
        self, endpoint: Endpoint, fields: list[tuple[str, str]], body: bytes
    ) -> tuple[WebhookResult, str]:
        try:
            status = await self.app.deliver(
                endpoint.target, fields, body, endpoint.settings.response_seconds
            )
        except AppUnreachable as unreachable:
            return WebhookResult.APP_UNREACHABLE, str(unreachable)
        except AppFailed as failed:
            return WebhookResult.APP_ERROR, str(failed)
        if status in _SUCCESS:
            return WebhookResult.DELIVERED, ""
        return WebhookResult.APP_ERROR, f"the app answered {status}"

    def _report(
        self,
        endpoint: Endpoint,
        outcome: WebhookOutcome,
        seconds: float,
        remote: str | None,
    ) -> None:
        """Update the metrics and write the log line."""
        result = outcome.result
        if result in COUNTED:
            endpoint.metrics.result(result)
        endpoint.metrics.seconds(seconds)
        if outcome.age_seconds is not None:
            endpoint.metrics.age(outcome.age_seconds)
        routine = result in _ROUTINE and not outcome.detail
        if result is WebhookResult.DELIVERED and routine and not self.log_delivered:
            return
        write = _log.info if routine else _log.warning
        write(
            "webhook",
            endpoint=endpoint.name,
            result=result.value,
            id=outcome.id,
            reason=outcome.detail,
            # Not named "secret": the log masks every field of that name.
            fingerprint=outcome.secret,
            seconds=round(seconds, 4),
            remote=remote,
        )


def _outcome(result: WebhookResult, detail: str, delivery: Delivery) -> WebhookOutcome:
    return WebhookOutcome(
        result, detail, delivery.id, delivery.age_seconds, delivery.fingerprint
    )


async def _settle(window: Window, claim: Claim, result: WebhookResult) -> str:
    """Mark a claim done or release it; return the failure for the log, if any."""
    delivered = result is WebhookResult.DELIVERED
    try:
        await (window.done(claim) if delivered else window.release(claim))
    except StoreFailed as failed:
        # The app's answer stands. A delivered id must not be sent again; a claim that
        # was not released expires.
        left = "its id could not be kept" if delivered else "; its id stays claimed"
        return f"{left} ({failed})"
    return ""


async def _refresh_extra(secrets: WebhookSecrets) -> bool:
    """Refresh the secrets within the time limit; return True if the keys changed."""
    try:
        async with asyncio.timeout(EXTRA_REFRESH_SECONDS):
            return await secrets.refresh_extra()
    except TimeoutError:
        return False
