"""From settings to what the webhook receiver is told."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.assembly.upstreams import source_of
from sidecar.core.secrecy.secret import Secret
from sidecar.credential.sources.base import Source
from sidecar.metrics import Metrics
from sidecar.webhook.options import EndpointOptions, ReceiverOptions
from sidecar.webhook.receiver import Dependencies, WebhookReceiver

if TYPE_CHECKING:
    from sidecar.settings import Settings
    from sidecar.settings.models import WebhookSettings


def endpoint_of(name: str, webhook: WebhookSettings) -> EndpointOptions:
    """Return what the receiver is told of an endpoint."""
    return EndpointOptions(
        name=name,
        forward_to=webhook.forward_to,
        tolerance_seconds=webhook.tolerance_seconds,
        dedupe_seconds=webhook.dedupe_seconds,
        dedupe=webhook.dedupe,
        max_body_bytes=webhook.max_body_bytes,
        response_seconds=webhook.response_seconds,
        refresh_seconds=webhook.refresh_seconds,
        json_key=webhook.json_key,
    )


def receiver_of(
    settings: Settings,
    metrics: Metrics,
    hold: Callable[[str, tuple[Secret, ...]], None],
) -> WebhookReceiver:
    """
    Return the receiver of all endpoints; those with one secret share its source.

    Args:
        settings: All of them.
        metrics: Of the process.
        hold: Hears which secrets an owner has in use, before it uses a new one.
    """
    shared: dict[tuple[object, ...], Source] = {}
    sources: dict[str, Source] = {}
    for name, webhook in settings.webhooks.items():
        where = (webhook.secret_id, webhook.file, webhook.json_key)
        if where not in shared:
            shared[where] = source_of(webhook, settings.aws, metrics.aws)
        sources[name] = shared[where]

    dependencies = Dependencies(
        now=time.time,
        monotonic=time.monotonic,
        jitter=random.random,
        token=lambda: secrets.token_hex(8),
        metrics=metrics.webhook,
        aws=metrics.aws,
        # An upstream may have the same name, but none may have a dot in it.
        on_secrets=lambda name, held: hold(f"webhooks.{name}", held),
    )
    options = ReceiverOptions(
        endpoints=tuple(
            endpoint_of(name, webhook) for name, webhook in settings.webhooks.items()
        ),
        job=settings.job.name,
        region=settings.aws.region,
        endpoint_url=settings.aws.endpoint_url,
        log_delivered=settings.log.access == "all",
    )
    return WebhookReceiver(options, sources, dependencies)
