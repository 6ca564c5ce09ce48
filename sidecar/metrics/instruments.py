"""Metrics that change at most a few times a minute: prometheus-client instruments."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sidecar.core.keylife.messages import Cutover, State
from sidecar.errors import RefreshResult

WEBHOOK_RESULTS: Final = (
    *("delivered", "duplicate", "in_flight", "bad_signature", "stale", "malformed"),
    *("too_large", "app_error", "app_unreachable", "store_error"),
)
AWS_OTHER: Final = "other"
AWS_SERVICES: Final = frozenset({"secretsmanager", "dynamodb", "sts"})
AWS_OPERATIONS: Final = frozenset(
    {
        *("DescribeSecret", "GetSecretValue", "PutSecretValue", "TagResource"),
        *("UpdateSecretVersionStage", "ListSecretVersionIds", "GetCallerIdentity"),
        *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "DescribeTable"),
    }
)
AWS_RESULTS: Final = frozenset({"ok", "conflict", *RefreshResult})

# A cutover is bounded by the refresh interval (300 s by default) plus the probe; the
# long tail is a candidate that the API does not know yet.
_CUTOVER_BOUNDS: Final = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600)
_DELIVERY_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# Standard Webhooks senders retry for up to about 75 hours.
_AGE_BOUNDS: Final = (0.5, 1, 5, 30, 60, 300, 1800, 7200, 36000, 86400, 345600)


class CredentialInstruments:
    """The families about keys, for all upstreams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(
                f"sidecar_credential_{name}",
                text,
                ("upstream", *labels),
                registry=registry,
            )

        self.info = gauge(
            "info",
            "1 for the key in use; the series of an old key is removed.",
            *_INFO_LABELS,
        )
        self.state = gauge(
            "state", "1 for the present state of the credential.", "state"
        )
        self.since = gauge(
            "since_timestamp_seconds", "When the key in use came into use."
        )
        self.created = gauge(
            "created_timestamp_seconds", "When the source created the key in use."
        )
        self.refreshed = gauge(
            "refreshed_timestamp_seconds", "When the source last answered a refresh."
        )
        self.rotate_before = gauge(
            "rotate_before_timestamp_seconds", "When the key in use should be replaced."
        )
        self.unexpected_events = Counter(
            "sidecar_credential_unexpected_events",
            "Events of the key life that the rules do not expect; the sidecar carries on.",
            ("upstream",),
            registry=registry,
        )
        self.refreshes = Counter(
            "sidecar_credential_refreshes",
            "Refreshes from the source, by result.",
            ("upstream", "result"),
            registry=registry,
        )
        self.cutovers = Counter(
            "sidecar_credential_cutovers",
            "Changes of the key in use, by result.",
            ("upstream", "result"),
            registry=registry,
        )
        self.cutover_seconds = Histogram(
            "sidecar_credential_cutover_seconds",
            "From the creation of a new key to its use.",
            ("upstream",),
            buckets=_CUTOVER_BOUNDS,
            registry=registry,
        )


_INFO_LABELS: Final = ("source", "fingerprint")


class CredentialMetrics:
    """The metrics of one upstream's key. Timestamps are Unix seconds."""

    def __init__(self, instruments: CredentialInstruments, upstream: str) -> None:
        self._all = instruments
        self._upstream = upstream
        self._info: tuple[str, str] | None = None
        self.state("missing")
        instruments.unexpected_events.labels(upstream)
        for result in RefreshResult:
            instruments.refreshes.labels(upstream, result.value)
        for cutover in Cutover:
            instruments.cutovers.labels(upstream, cutover.value)
        instruments.cutover_seconds.labels(upstream)

    def state(self, state: str) -> None:
        """Set the series of this state to 1 and those of the others to 0."""
        wanted = State(state)
        for one in State:
            self._all.state.labels(self._upstream, one.value).set(one is wanted)

    def unexpected_event(self) -> None:
        """Count an event of the key life that the rules do not expect."""
        self._all.unexpected_events.labels(self._upstream).inc()

    def info(self, source: str, fingerprint: str) -> None:
        """Set the key in use, and remove the series of the previous one."""
        if self._info == (source, fingerprint):
            return
        if self._info is not None:
            self._all.info.remove(self._upstream, *self._info)
        self._info = (source, fingerprint)
        self._all.info.labels(self._upstream, source, fingerprint).set(1)

    def since(self, timestamp: float) -> None:
        """Set when the key in use came into use."""
        self._all.since.labels(self._upstream).set(timestamp)

    def created(self, timestamp: float | None) -> None:
        """Set when the source created the key in use; None if unknown."""
        self._set(self._all.created, timestamp)

    def refreshed(self, timestamp: float) -> None:
        """Set when the source last answered a refresh."""
        self._all.refreshed.labels(self._upstream).set(timestamp)

    def rotate_before(self, timestamp: float | None) -> None:
        """Set when the key in use should be replaced; None without a schedule."""
        self._set(self._all.rotate_before, timestamp)

    def refresh(self, result: RefreshResult) -> None:
        """Count a refresh."""
        self._all.refreshes.labels(self._upstream, result.value).inc()

    def cutover(self, result: str, seconds: float | None = None) -> None:
        """Count a cutover; `seconds` from the key's creation to its use."""
        self._all.cutovers.labels(self._upstream, Cutover(result).value).inc()
        if seconds is not None:
            self._all.cutover_seconds.labels(self._upstream).observe(max(seconds, 0.0))

    def _set(self, gauge: Gauge, value: float | None) -> None:
        """Set a gauge that has a series only while its value is known."""
        gauge.labels(self._upstream).set(value or 0.0)
        if value is None:
            gauge.remove(self._upstream)


class WebhookInstruments:
    """The families about webhooks, for all endpoints."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.results = Counter(
            "sidecar_webhooks",
            "Deliveries, by result.",
            ("endpoint", "result"),
            registry=registry,
        )
        self.seconds = Histogram(
            "sidecar_webhook_seconds",
            "From the request head of a delivery to the response.",
            ("endpoint",),
            buckets=_DELIVERY_BOUNDS,
            registry=registry,
        )
        self.age = Histogram(
            "sidecar_webhook_age_seconds",
            "From the sender's timestamp to the receipt.",
            ("endpoint",),
            buckets=_AGE_BOUNDS,
            registry=registry,
        )


class WebhookMetrics:
    """The metrics of one webhook endpoint."""

    def __init__(self, instruments: WebhookInstruments, endpoint: str) -> None:
        self._results = {
            name: instruments.results.labels(endpoint, name) for name in WEBHOOK_RESULTS
        }
        self._seconds = instruments.seconds.labels(endpoint)
        self._age = instruments.age.labels(endpoint)
        self.counts = dict.fromkeys(WEBHOOK_RESULTS, 0)
        """The same numbers for the status page."""

    def result(self, name: str) -> None:
        """Count a delivery with one of `WEBHOOK_RESULTS`."""
        self._results[name].inc()
        self.counts[name] += 1

    def seconds(self, seconds: float) -> None:
        """Observe the duration of a delivery."""
        self._seconds.observe(seconds)

    def age(self, seconds: float) -> None:
        """Observe the age of a delivery; the sender's clock may be ahead of this one."""
        self._age.observe(max(seconds, 0.0))
