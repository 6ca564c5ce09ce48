"""The plain numbers of the hot path."""

import math
from bisect import bisect_left

import pytest
from hypothesis import given, strategies as st

from sidecar.errors import Code
from sidecar.metrics import METHODS, OTHER_METHOD, SIDECAR, UPSTREAM, Buckets
from sidecar.metrics.hot import (
    KEYS,
    OVERHEAD_BOUNDS,
    REQUEST_BOUNDS,
    OperationStats,
    UpstreamStats,
)

BOUNDS = (0.1, 1.0)


def stats() -> OperationStats:
    """Return the numbers of an operation without calls."""
    return UpstreamStats(["/contacts"]).operation("/contacts")


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        pytest.param(0.05, 0, id="inside"),
        pytest.param(0.1, 0, id="a-bound-is-inclusive"),
        pytest.param(0.11, 1, id="above-a-bound"),
        pytest.param(9.0, 2, id="beyond-the-last"),
        pytest.param(0.0, 0, id="zero"),
        pytest.param(-0.1, 0, id="a-clock-that-went-back"),
    ],
)
def test_a_duration_falls_into_the_bucket_of_its_bound(
    seconds: float, bucket: int
) -> None:
    """Prometheus reads `le` as "less or equal"."""
    buckets = Buckets(BOUNDS)

    buckets.observe(seconds)

    assert buckets.counts.index(1) == bucket
    assert buckets.total == seconds


@given(st.lists(st.floats(0, 100)))
def test_cumulated_buckets_grow_and_end_with_every_observation(
    durations: list[float],
) -> None:
    """The exported histogram is well-formed whatever was observed."""
    buckets = Buckets(REQUEST_BOUNDS)
    for seconds in durations:
        buckets.observe(seconds)

    pairs = buckets.cumulated()

    numbers = [number for _, number in pairs]
    assert numbers == sorted(numbers)
    assert pairs[-1] == (math.inf, len(durations))
    assert buckets.total == pytest.approx(sum(durations))


@pytest.mark.parametrize("bounds", [REQUEST_BOUNDS, OVERHEAD_BOUNDS])
def test_bounds_rise(bounds: tuple[float, ...]) -> None:
    """`bisect` needs sorted bounds, Prometheus distinct ones."""
    assert list(bounds) == sorted(set(bounds))


def test_an_answer_is_counted_under_method_code_and_origin() -> None:
    """The same answer twice is one series with the number two."""
    operation = stats()

    operation.answered("GET", 200, UPSTREAM, 0.004, 0.0001)
    operation.answered("GET", 200, UPSTREAM, 0.004, 0.0001)
    operation.answered("GET", 503, SIDECAR, 2.0)

    assert operation.requests == {
        ("GET", 200, UPSTREAM): 2,
        ("GET", 503, SIDECAR): 1,
    }
    assert operation.seconds.counts[bisect_left(REQUEST_BOUNDS, 0.004)] == 2
    assert operation.seconds.counts[bisect_left(REQUEST_BOUNDS, 2.0)] == 1
    assert operation.seconds.total == pytest.approx(2.008)


def test_responses_of_the_sidecar_have_no_overhead() -> None:
    """A rejection would lower the overhead: it is not forwarded."""
    upstream = UpstreamStats(["/contacts"])

    upstream.operation("/contacts").answered("GET", 200, UPSTREAM, 0.1, 0.0002)
    upstream.operation("*").answered("GET", 400, SIDECAR, 0.1)

    assert sum(upstream.overhead.counts) == 1
    assert upstream.overhead.total == 0.0002


@pytest.mark.parametrize(
    ("code", "origin", "counted"),
    [
        pytest.param(401, UPSTREAM, {401: 1, 403: 0}, id="not-accepted"),
        pytest.param(403, UPSTREAM, {401: 0, 403: 1}, id="not-allowed"),
        pytest.param(404, UPSTREAM, {401: 0, 403: 0}, id="absent-or-not-visible"),
        pytest.param(200, UPSTREAM, {401: 0, 403: 0}, id="fine"),
        pytest.param(401, SIDECAR, {401: 0, 403: 0}, id="never-our-own"),
    ],
)
def test_401_and_403_are_counted_separately(
    code: int, origin: str, counted: dict[int, int]
) -> None:
    """Only answers of the API count, each under its own code, both present at 0."""
    operation = stats()

    operation.answered("GET", code, origin, 0.1)

    assert operation.auth_failures == counted


@pytest.mark.parametrize(
    ("method", "label"),
    [
        pytest.param(b"GET", "GET", id="known"),
        pytest.param(b"PROPFIND", OTHER_METHOD, id="registered-but-rare"),
        pytest.param(b"get", OTHER_METHOD, id="methods-are-case-sensitive"),
        pytest.param(b"\xff", OTHER_METHOD, id="not-ascii"),
    ],
)
def test_methods_outside_the_list_share_one_label(method: bytes, label: str) -> None:
    """A service cannot fill the memory with new methods."""
    assert METHODS.get(method, OTHER_METHOD) == label


def test_unknown_methods_and_codes_make_no_series() -> None:
    """Ten thousand of them are two series."""
    operation = stats()

    for number in range(10_000):
        operation.answered(f"M{number}", 200, UPSTREAM, 0.1)
        operation.answered("GET", 600 + number, UPSTREAM, 0.1)

    assert operation.requests == {
        (OTHER_METHOD, 200, UPSTREAM): 10_000,
        ("GET", 0, UPSTREAM): 10_000,
    }


def test_an_api_with_many_codes_does_not_fill_the_memory() -> None:
    """After a limit, a new code is counted as `other`."""
    operation = stats()
    methods = [*METHODS.values(), OTHER_METHOD]

    for code in range(100, 600):
        for method in methods:
            operation.answered(method, code, UPSTREAM, 0.1)

    assert len(operation.requests) <= 512 + len(methods)
    assert sum(operation.requests.values()) == 500 * len(methods)


def test_an_unknown_operation_is_counted_as_any() -> None:
    """A label never comes from a request."""
    upstream = UpstreamStats(["/contacts"])

    assert upstream.operation("/contacts") is upstream.operations["/contacts"]
    assert upstream.operation("/invented") is upstream.operations["*"]
    assert set(upstream.operations) == {"/contacts", "*"}


def test_every_reason_is_there_from_the_start() -> None:
    """A series that appears with its first event has no rate for it."""
    upstream = UpstreamStats([])

    assert upstream.rejections == dict.fromkeys(Code, 0)
    assert upstream.recovered == {"replay": 0, "rollback": 0}
    assert upstream.connections() == {}


def test_answers_are_summed_for_people() -> None:
    """The status page shows four columns over all operations."""
    upstream = UpstreamStats(["/contacts"])
    for label in ("/contacts", "*"):
        for code in (200, 204, 301, 401, 403, 403, 404, 500, 700):
            upstream.operation(label).answered("GET", code, UPSTREAM, 0.1)
        upstream.operation(label).answered("GET", 503, SIDECAR, 0.1)

    assert upstream.answers() == {"2xx": 4, "401": 2, "403": 4, "other": 8}


def test_the_calls_of_few_keys_are_counted() -> None:
    """Only the newest keys are counted."""
    counted = UpstreamStats(())
    for number in range(KEYS + 3):
        counted.count_key(f"key-{number}")
        counted.by_key[f"key-{number}"] += 1
    counted.count_key("key-5")

    assert len(counted.by_key) == KEYS
    assert counted.by_key["key-5"] == 1
    assert "key-0" not in counted.by_key
