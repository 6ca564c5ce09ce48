"""
All metrics of the sidecar, in a registry of their own.

The app makes one `Metrics` and gives each part its own: `upstream()` to a proxy,
`credential()` to a credential manager, `webhook()` to a receiver. Names, types and labels
are a contract: dashboards and alerts are written against them.
"""

import asyncio
import platform
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sidecar.metrics.collector import CallsCollector, ProcessNumbers
from sidecar.metrics.hot import (
    ANY_OPERATION,
    METHODS,
    OTHER_METHOD,
    SIDECAR,
    UPSTREAM,
    Buckets,
    OperationStats,
    UpstreamStats,
)
from sidecar.metrics.instruments import (
    AWS_OPERATIONS,
    AWS_OTHER,
    AWS_RESULTS,
    AWS_SERVICES,
    WEBHOOK_RESULTS,
    CredentialInstruments,
    CredentialMetrics,
    WebhookInstruments,
    WebhookMetrics,
)

__all__ = [
    "ANY_OPERATION",
    "METHODS",
    "OTHER_METHOD",
    "SIDECAR",
    "UPSTREAM",
    "WEBHOOK_RESULTS",
    "Buckets",
    "CredentialMetrics",
    "Metrics",
    "OperationStats",
    "UpstreamStats",
    "WebhookMetrics",
]


class Metrics:
    """The registry and its metrics."""

    def __init__(self, version: str) -> None:
        # For the whole process: a `_created` series per child doubles a scrape, and
        # no dashboard uses it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs is untyped
        self.registry = CollectorRegistry()
        self._upstreams: dict[str, UpstreamStats] = {}
        self._log_redactions = 0
        self.registry.register(
            CallsCollector(self._upstreams, lambda: self._log_redactions)
        )
        self._credentials = CredentialInstruments(self.registry)
        self._webhooks = WebhookInstruments(self.registry)
        self._endpoints: dict[str, WebhookMetrics] = {}
        self._aws = Counter(
            "sidecar_aws_requests",
            "Requests to AWS, by result.",
            ("service", "operation", "result"),
            registry=self.registry,
        )
        build = Gauge(
            "sidecar_build_info",
            "1; the labels name the version.",
            ("version", "python"),
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)
        self._process = ProcessNumbers()
        self.registry.register(self._process)

    def upstream(self, name: str, operations: Sequence[str] = ()) -> UpstreamStats:
        """Return the numbers of an upstream; `operations` are labels of the settings."""
        if name not in self._upstreams:
            self._upstreams[name] = UpstreamStats(operations)
        return self._upstreams[name]

    def credential(self, upstream: str) -> CredentialMetrics:
        """Return the metrics of an upstream's key; its first state is `missing`."""
        return CredentialMetrics(self._credentials, upstream)

    def webhook(self, endpoint: str) -> WebhookMetrics:
        """Return the metrics of a webhook endpoint, always the same object."""
        if endpoint not in self._endpoints:
            self._endpoints[endpoint] = WebhookMetrics(self._webhooks, endpoint)
        return self._endpoints[endpoint]

    def aws(self, service: str, operation: str, result: str) -> None:
        """
        Count a request to AWS. The thread that boto3 runs in may call this.

        Names outside the closed sets count as `other`.
        """
        self._aws.labels(
            service if service in AWS_SERVICES else AWS_OTHER,
            operation if operation in AWS_OPERATIONS else AWS_OTHER,
            result if result in AWS_RESULTS else AWS_OTHER,
        ).inc()

    def log_redacted(self, count: int) -> None:
        """Count secrets that the redactor masked in the log."""
        self._log_redactions += count

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """
        Return the text of a scrape and its content type, for an `Accept` header.

        Some hundred series take milliseconds, so calls may run between two families.
        """
        await asyncio.to_thread(self._process.refresh)
        encode, content_type = choose_encoder(accept)
        pieces = []
        for family in self.registry.collect():
            pieces.append(encode(_Only(family)).removesuffix(_END))
            await asyncio.sleep(0)
        if content_type.startswith(_OPENMETRICS):
            pieces.append(_END)
        return b"".join(pieces), content_type


# An exposition has one EOF, at its end (OpenMetrics 1.0).
_END: Final = b"# EOF\n"
_OPENMETRICS: Final = "application/openmetrics-text"


class _Only(Collector):
    """Holds one family: the encoders of prometheus-client take a registry."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """Return the family."""
        return (self._family,)
