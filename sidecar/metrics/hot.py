"""
Numbers counted on every call: plain ints, read by `CallsCollector` at scrape time.

Rule 1: nothing here knows prometheus-client. One of its children costs about 0.5 us
per `inc()` (a lock and two attribute chains), and a call touches six numbers.
Rule 2: the event loop's thread is the only writer, so no lock is needed.
Rule 3: labels stay bounded. Operations come from the settings, methods from `METHODS`,
reasons from `Code`; a status code outside 100 to 599 becomes `other`.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sidecar.errors import Code

UPSTREAM: Final = "upstream"
SIDECAR: Final = "sidecar"
ANY_OPERATION: Final = "*"

OTHER_METHOD: Final = "OTHER"
METHODS: Final[Mapping[bytes, str]] = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
"""Method as on the wire -> label: `METHODS.get(method, OTHER_METHOD)`."""

OTHER_CODE: Final = 0
"""Replaces a status code outside 100 to 599; exported as `other`."""

KEYS: Final = 8
"""Keys whose calls are counted: the present one and those of a year of rotations."""

CONNECTION_STATES: Final = ("idle", "active", "connecting")

REQUEST_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Seconds of a whole call: from a fast API in the same zone to the 60 s limit."""

OVERHEAD_BOUNDS: Final = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0, 5.0),
)
"""Seconds that the sidecar adds: 50 us is a good call, 5 s the wait for a first key."""

# An operation has at most seven methods and some dozens of codes. An API that invents
# codes must not fill the memory (precedent: Envoy's stat limits).
_MAX_SERIES_PER_OPERATION: Final = 512


class Buckets:
    """A histogram of plain ints."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        """Upper bounds, inclusive, in seconds; +Inf is implied."""
        self.counts = [0] * (len(self.bounds) + 1)
        """Observations per bucket, not cumulated."""
        self.total = 0.0
        """The sum of all observations in seconds."""

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """Return pairs of upper bound and observations up to it; the last is +Inf."""
        pairs = []
        running = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            pairs.append((bound, running))
        return pairs


class OperationStats:
    """The numbers of one operation of one upstream."""

    __slots__ = ("auth_failures", "overhead", "requests", "seconds")

    def __init__(self, overhead: Buckets) -> None:
        self.requests: dict[tuple[str, int, str], int] = {}
        """(method label, status code, origin) -> calls."""
        self.auth_failures = {401: 0, 403: 0}
        """The API's own 401s and 403s that the service received."""
        self.seconds = Buckets(REQUEST_BOUNDS)
        self.overhead = overhead
        """The operations of an upstream share it."""

    def answered(
        self,
        method: str,
        code: int,
        origin: str,
        seconds: float,
        overhead: float | None = None,
    ) -> None:
        """
        Count one answered call.

        Args:
            method: A label out of `METHODS`, or `OTHER_METHOD`.
            code: The status code that the service received.
            origin: `UPSTREAM` for a response of the API, `SIDECAR` for one of the sidecar.
            seconds: The duration of the whole call.
            overhead: The sidecar's part of it; None if the sidecar made the response.
        """
        try:
            self.requests[method, code, origin] += 1
        except KeyError:
            self._first(method, code, origin)
        if code in self.auth_failures and origin == UPSTREAM:
            self.auth_failures[code] += 1
        # Buckets.observe, inlined: a function call costs a tenth of the budget of a call.
        buckets = self.seconds
        buckets.counts[bisect_left(REQUEST_BOUNDS, seconds)] += 1
        buckets.total += seconds
        if overhead is not None:
            buckets = self.overhead
            buckets.counts[bisect_left(OVERHEAD_BOUNDS, overhead)] += 1
            buckets.total += overhead

    def _first(self, method: str, code: int, origin: str) -> None:
        """Start a series, or count an unknown code or method as `other`."""
        if not 100 <= code <= 599 or len(self.requests) >= _MAX_SERIES_PER_OPERATION:  # noqa: PLR2004 - the range of RFC 9110, 15
            code = OTHER_CODE
        if method.encode() not in METHODS:
            method = OTHER_METHOD
        key = (method, code, origin)
        self.requests[key] = self.requests.get(key, 0) + 1


class UpstreamStats:
    """The numbers of one upstream."""

    __slots__ = (
        *("by_key", "connections", "inflight", "operations", "overhead", "recovered"),
        *("redactions", "rejections"),
    )

    def __init__(self, operations: Sequence[str]) -> None:
        self.inflight = 0
        """Calls whose response is not complete."""
        self.overhead = Buckets(OVERHEAD_BOUNDS)
        self.operations = {
            label: OperationStats(self.overhead)
            for label in (*operations, ANY_OPERATION)
        }
        self.rejections: dict[Code, int] = dict.fromkeys(Code, 0)
        self.recovered = {"replay": 0, "rollback": 0}
        """401s that the service never received, by how they were recovered."""
        self.redactions = 0
        """Keys masked in responses of the API."""
        self.by_key: dict[str, int] = {}
        """Fingerprint of a key -> calls that carried it, for the last `KEYS` keys."""
        self.connections: Callable[[], Mapping[str, int]] = dict
        """State of `CONNECTION_STATES` -> connections to the API; set by the pool."""

    def operation(self, label: str) -> OperationStats:
        """Return the numbers of an operation, or of `*` for a label not in the settings."""
        return self.operations.get(label) or self.operations[ANY_OPERATION]

    def count_key(self, fingerprint: str) -> None:
        """Start to count the calls of a key; the oldest of more than `KEYS` is dropped."""
        if fingerprint not in self.by_key:
            if len(self.by_key) >= KEYS:
                del self.by_key[next(iter(self.by_key))]
            self.by_key[fingerprint] = 0

    def answers(self) -> dict[str, int]:
        """Return the API's responses by the classes of the status page."""
        counts = {"2xx": 0, "401": 0, "403": 0, "other": 0}
        for stats in self.operations.values():
            for (_, code, origin), number in stats.requests.items():
                if origin == UPSTREAM:
                    counts[_answer_class(code)] += number
        return counts


def _answer_class(code: int) -> str:
    """Return the class of a status code."""
    if code in (401, 403):
        return str(code)
    return "2xx" if 200 <= code <= 299 else "other"  # noqa: PLR2004 - the range of RFC 9110, 15.3
