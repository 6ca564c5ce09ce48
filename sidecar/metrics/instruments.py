"""Numbers that change a few times a minute at most: prometheus-client instruments."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sidecar.errors import RefreshResult

CREDENTIAL_STATES: Final = (
    *("missing", "fresh", "stale", "rejected", "rolled_back", "refused", "expired"),
)
CUTOVERS: Final = ("promoted", "rejected", "rolled_back", "restored")
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
    """The families about keys, shared by every upstream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(
                f"sidecar_credential_{name}",
                text,
                ("upstream", *labels),
                registry=registry,
            )

        self.info = gauge(
            "info", "1 for the key in use; older keys have no series.", *_INFO_LABELS
        )
        self.state = gauge("state", "1 for the state the credential is in.", "state")
        self.since = gauge(
            "since_timestamp_seconds", "When the key in use came into use."
        )
        self.created = gauge(
            "created_timestamp_seconds", "When the source created the key in use."
        )
        self.refreshed = gauge(
            "refreshed_timestamp_seconds", "The last refresh that the source answered."
        )
        self.rotate_before = gauge(
            "rotate_before_timestamp_seconds", "When the key in use becomes too old."
        )
        self.refreshes = Counter(
            "sidecar_credential_refreshes",
            "Refreshes from the source, by result.",
            ("upstream", "result"),
            registry=registry,
        )
        self.unexpected_events = Counter(
            "sidecar_credential_unexpected_events",
            "Events that the rules for credentials did not expect; each is a defect.",
            ("upstream",),
            registry=registry,
        )
        self.cutovers = Counter(
            "sidecar_credential_cutovers",
            "Changes of the key in use, by how they ended.",
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
    """The numbers about the key of one upstream. Timestamps are Unix seconds."""

    def __init__(self, instruments: CredentialInstruments, upstream: str) -> None:
        self._all = instruments
        self._upstream = upstream
        self._info: tuple[str, str] | None = None
        self.state("missing")
        for result in RefreshResult:
            instruments.refreshes.labels(upstream, result.value)
        for cutover in CUTOVERS:
            instruments.cutovers.labels(upstream, cutover)
        instruments.cutover_seconds.labels(upstream)
        instruments.unexpected_events.labels(upstream)

    def state(self, state: str) -> None:
        """Set the series of this state to 1 and those of the others to 0."""
        if state not in CREDENTIAL_STATES:
            raise ValueError(state)
        for name in CREDENTIAL_STATES:
            self._all.state.labels(self._upstream, name).set(name == state)

    def info(self, source: str, fingerprint: str) -> None:
        """Name the key in use and forget the series of the one before."""
        if self._info == (source, fingerprint):
            return
        if self._info is not None:
            self._all.info.remove(self._upstream, *self._info)
        self._info = (source, fingerprint)
        self._all.info.labels(self._upstream, source, fingerprint).set(1)

    def since(self, timestamp: float) -> None:
        """The key in use came into use at this time."""
        self._all.since.labels(self._upstream).set(timestamp)

    def created(self, timestamp: float | None) -> None:
        """The source created the key in use at this time; None when it is unknown."""
        self._set(self._all.created, timestamp)

    def refreshed(self, timestamp: float) -> None:
        """The source answered the last refresh at this time."""
        self._all.refreshed.labels(self._upstream).set(timestamp)

    def rotate_before(self, timestamp: float | None) -> None:
        """The key in use becomes too old at this time; None without a schedule."""
        self._set(self._all.rotate_before, timestamp)

    def refresh(self, result: RefreshResult) -> None:
        """Count a refresh."""
        self._all.refreshes.labels(self._upstream, result.value).inc()

    def unexpected_event(self) -> None:
        """Count an event that the rules did not expect."""
        self._all.unexpected_events.labels(self._upstream).inc()

    def cutover(self, result: str, seconds: float | None = None) -> None:
        """Count a change of keys; `seconds` from the key's creation to its use."""
        if result not in CUTOVERS:
            raise ValueError(result)
        self._all.cutovers.labels(self._upstream, result).inc()
        if seconds is not None:
            self._all.cutover_seconds.labels(self._upstream).observe(max(seconds, 0.0))

    def _set(self, gauge: Gauge, value: float | None) -> None:
        """Set a gauge that has a series only while its value is known."""
        gauge.labels(self._upstream)
        if value is None:
            gauge.remove(self._upstream)
        else:
            gauge.labels(self._upstream).set(value)


class WebhookInstruments:
    """The families about webhooks, shared by every endpoint."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.results = Counter(
            "sidecar_webhooks",
            "Deliveries, by how they ended.",
            ("endpoint", "result"),
            registry=registry,
        )
        self.seconds = Histogram(
            "sidecar_webhook_seconds",
            "From the head of a delivery to our answer.",
            ("endpoint",),
            buckets=_DELIVERY_BOUNDS,
            registry=registry,
        )
        self.age = Histogram(
            "sidecar_webhook_age_seconds",
            "From the sender's timestamp to our receipt.",
            ("endpoint",),
            buckets=_AGE_BOUNDS,
            registry=registry,
        )


class WebhookMetrics:
    """The numbers of one webhook endpoint."""

    def __init__(self, instruments: WebhookInstruments, endpoint: str) -> None:
        self._results = {
            name: instruments.results.labels(endpoint, name) for name in WEBHOOK_RESULTS
        }
        self._seconds = instruments.seconds.labels(endpoint)
        self._age = instruments.age.labels(endpoint)
        self.counts = dict.fromkeys(WEBHOOK_RESULTS, 0)
        """The same numbers for the status page."""

    def result(self, name: str) -> None:
        """Count a delivery under one of `WEBHOOK_RESULTS`."""
        self._results[name].inc()
        self.counts[name] += 1

    def seconds(self, seconds: float) -> None:
        """Observe how long a delivery took here."""
        self._seconds.observe(seconds)

    def age(self, seconds: float) -> None:
        """Observe how old a delivery was; a sender's clock may be ahead of ours."""
        self._age.observe(max(seconds, 0.0))
