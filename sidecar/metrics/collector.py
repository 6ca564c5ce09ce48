"""
The collectors: they make Prometheus families at scrape time.

`CallsCollector` reads the plain numbers of the hot path, `ProcessNumbers` reads `/proc`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sidecar.metrics.hot import (
    CONNECTION_STATES,
    OTHER_CODE,
    Buckets,
    UpstreamStats,
)


class CallsCollector(Collector):
    """
    Exports the numbers of the hot path.

    No family gets a `created` time, so there are no `_created` series.
    """

    def __init__(
        self,
        upstreams: Mapping[str, UpstreamStats],
        log_redactions: Callable[[], int],
    ) -> None:
        self._upstreams = upstreams
        self._log_redactions = log_redactions

    def describe(self) -> list[Metric]:
        """Return the families without samples, for the registration."""
        return [*_operations({}), *_upstreams({}), _redactions(0, {})]

    def collect(self) -> Iterator[Metric]:
        """Return the families with all samples."""
        yield from _operations(self._upstreams)
        yield from _upstreams(self._upstreams)
        yield _redactions(self._log_redactions(), self._upstreams)


def _operations(upstreams: Mapping[str, UpstreamStats]) -> list[Metric]:
    """Return the families that have an `operation` label."""
    requests = CounterMetricFamily(
        "sidecar_requests",
        "Calls of the service, by the origin of the response.",
        labels=["upstream", "operation", "method", "code", "origin"],
    )
    failures = CounterMetricFamily(
        "sidecar_auth_failures",
        "401 (the key is not accepted) and 403 (the key is valid, the operation is not"
        " allowed) responses of the API, as the service received them.",
        labels=["upstream", "operation", "code"],
    )
    seconds = HistogramMetricFamily(
        "sidecar_request_seconds",
        "Duration of a call, from the request head to the end of the response.",
        labels=["upstream", "operation"],
    )
    for name, upstream in upstreams.items():
        for label, stats in upstream.operations.items():
            for (method, code, origin), number in stats.requests.items():
                status = "other" if code == OTHER_CODE else str(code)
                requests.add_metric([name, label, method, status, origin], number)
            for code, number in stats.auth_failures.items():
                failures.add_metric([name, label, str(code)], number)
            _add(seconds, [name, label], stats.seconds)
    return [requests, failures, seconds]


def _upstreams(upstreams: Mapping[str, UpstreamStats]) -> list[Metric]:
    """Return the other families that have an `upstream` label."""
    recovered = CounterMetricFamily(
        "sidecar_recovered_401",
        "401 responses that the service never received, because the call was replayed.",
        labels=["upstream", "how"],
    )
    overhead = HistogramMetricFamily(
        "sidecar_overhead_seconds",
        "The part of a call's duration that the sidecar adds.",
        labels=["upstream"],
    )
    inflight = GaugeMetricFamily(
        "sidecar_inflight_requests",
        "Calls whose response is not complete.",
        labels=["upstream"],
    )
    connections = GaugeMetricFamily(
        "sidecar_upstream_connections",
        "Connections to the API, by state.",
        labels=["upstream", "state"],
    )
    rejections = CounterMetricFamily(
        "sidecar_rejections",
        "Calls that the sidecar answered with an error, by error code.",
        labels=["upstream", "reason"],
    )
    for name, upstream in upstreams.items():
        for how, number in upstream.recovered.items():
            recovered.add_metric([name, how], number)
        _add(overhead, [name], upstream.overhead)
        inflight.add_metric([name], upstream.inflight)
        states = upstream.connections()
        for state in CONNECTION_STATES:
            connections.add_metric([name, state], states.get(state, 0))
        for reason, number in upstream.rejections.items():
            rejections.add_metric([name, reason.value], number)
    return [recovered, overhead, inflight, connections, rejections]


def _redactions(log: int, upstreams: Mapping[str, UpstreamStats]) -> Metric:
    """Return the count of secrets masked in the log and in responses of the API."""
    family = CounterMetricFamily(
        "sidecar_redactions",
        "Secrets masked, by where they were found.",
        labels=["sink"],
    )
    family.add_metric(["log"], log)
    family.add_metric(["response"], sum(one.redactions for one in upstreams.values()))
    return family


def _add(family: HistogramMetricFamily, labels: list[str], buckets: Buckets) -> None:
    """Add one histogram to its family."""
    pairs = [
        ("+Inf" if le == math.inf else repr(le), number)
        for le, number in buckets.cumulated()
    ]
    family.add_metric(labels, pairs, buckets.total)


class ProcessNumbers(Collector):
    """
    Exports CPU, memory and descriptors of the process, as prometheus-client names them.

    `refresh` reads the files, `collect` does not: a scrape runs `refresh` in a thread, so
    the event loop does not wait for a file.
    """

    def __init__(self) -> None:
        self._families: list[Metric] = []
        self._source: Collector | None = None

    def refresh(self) -> None:
        """Read the files of `/proc`; other systems than Linux have none."""
        if self._source is None:
            # It registers itself when it is created, and the registration collects.
            self._source = ProcessCollector(registry=CollectorRegistry())
        self._families = list(self._source.collect())

    def describe(self) -> Iterable[Metric]:
        """Return nothing: no family is known before the first `refresh`."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the families of the last `refresh`."""
        return self._families
