"""
Every number that the sidecar exports, in a registry of its own.

`Metrics` is made once by the app and handed out in parts: `upstream()` to a proxy,
`credential()` to a credential manager, `webhook()` to a receiver. Names, types and labels are part
of our contract: dashboards and alerts are written against them.
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

from sidecar.metrics.collector import CallsCollector
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
    CREDENTIAL_STATES,
    CUTOVERS,
    WEBHOOK_RESULTS,
    CredentialInstruments,
    CredentialMetrics,
    WebhookInstruments,
    WebhookMetrics,
)
from sidecar.metrics.process import ProcessNumbers

__all__ = [
    "ANY_OPERATION",
    "CREDENTIAL_STATES",
    "CUTOVERS",
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
    """The registry and everything in it."""

    def __init__(self, version: str) -> None:
        # For the whole process: a `_created` series per child doubles a scrape and
        # tells nothing that a dashboard asks for.
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
            "Requests to AWS, by how they ended.",
            ("service", "operation", "result"),
            registry=self.registry,
        )
        build = Gauge(
            "sidecar_build_info",
            "1; the labels tell what runs.",
            ("version", "python"),
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)
        self._process = ProcessNumbers()
        self.registry.register(self._process)

    def upstream(self, name: str, operations: Sequence[str] = ()) -> UpstreamStats:
        """The numbers of one upstream; `operations` are the labels in the settings."""
        stats = self._upstreams.get(name)
        if stats is None:
            stats = self._upstreams[name] = UpstreamStats(operations)
        return stats

    def credential(self, upstream: str) -> CredentialMetrics:
        """The numbers about the key of one upstream; `missing` until told otherwise."""
        return CredentialMetrics(self._credentials, upstream)

    def webhook(self, endpoint: str) -> WebhookMetrics:
        """The numbers of one webhook endpoint, the same object for the same endpoint."""
        if endpoint not in self._endpoints:
            self._endpoints[endpoint] = WebhookMetrics(self._webhooks, endpoint)
        return self._endpoints[endpoint]

    def aws(self, service: str, operation: str, result: str) -> None:
        """
        Count one request to AWS; safe from the thread that boto3 runs in.

        A name outside the closed sets is counted as `other`.
        """
        self._aws.labels(
            service if service in AWS_SERVICES else AWS_OTHER,
            operation if operation in AWS_OPERATIONS else AWS_OTHER,
            result if result in AWS_RESULTS else AWS_OTHER,
        ).inc()

    def log_redacted(self, count: int) -> None:
        """Count secrets that the redactor masked in a line of the log."""
        self._log_redactions += count

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """
        The text for a scrape and its content type, as the `Accept` header asks.

        Gives way to calls between two families: some hundred series take milliseconds.
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


# OpenMetrics 1.0: the exposition ends with EOF, and only once.
_END: Final = b"# EOF\n"
_OPENMETRICS: Final = "application/openmetrics-text"


class _Only(Collector):
    """One family, as encoders want it."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """The family."""
        return (self._family,)
