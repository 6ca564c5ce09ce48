"""The exposition: names, types and labels that dashboards are written against."""

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.core.keylife.messages import State
from sidecar.errors import Code, RefreshResult
from sidecar.metrics import (
    SIDECAR,
    UPSTREAM,
    WEBHOOK_RESULTS,
    Metrics,
)

TEXT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"

# The contract: name -> (type, labels).
CONTRACT = {
    "sidecar_requests_total": (
        "counter",
        {"upstream", "operation", "method", "code", "origin"},
    ),
    "sidecar_auth_failures_total": ("counter", {"upstream", "operation", "code"}),
    "sidecar_recovered_401_total": ("counter", {"upstream", "how"}),
    "sidecar_request_seconds": ("histogram", {"upstream", "operation"}),
    "sidecar_overhead_seconds": ("histogram", {"upstream"}),
    "sidecar_inflight_requests": ("gauge", {"upstream"}),
    "sidecar_upstream_connections": ("gauge", {"upstream", "state"}),
    "sidecar_rejections_total": ("counter", {"upstream", "reason"}),
    "sidecar_credential_info": ("gauge", {"upstream", "source", "fingerprint"}),
    "sidecar_credential_state": ("gauge", {"upstream", "state"}),
    "sidecar_credential_unexpected_events_total": ("counter", {"upstream"}),
    "sidecar_credential_since_timestamp_seconds": ("gauge", {"upstream"}),
    "sidecar_credential_created_timestamp_seconds": ("gauge", {"upstream"}),
    "sidecar_credential_refreshed_timestamp_seconds": ("gauge", {"upstream"}),
    "sidecar_credential_rotate_before_timestamp_seconds": ("gauge", {"upstream"}),
    "sidecar_credential_refreshes_total": ("counter", {"upstream", "result"}),
    "sidecar_credential_cutovers_total": ("counter", {"upstream", "result"}),
    "sidecar_credential_cutover_seconds": ("histogram", {"upstream"}),
    "sidecar_aws_requests_total": ("counter", {"service", "operation", "result"}),
    "sidecar_redactions_total": ("counter", {"sink"}),
    "sidecar_webhooks_total": ("counter", {"endpoint", "result"}),
    "sidecar_webhook_seconds": ("histogram", {"endpoint"}),
    "sidecar_webhook_age_seconds": ("histogram", {"endpoint"}),
    "sidecar_build_info": ("gauge", {"version", "python"}),
}

Labels = dict[str, str]


def used() -> Metrics:
    """Return metrics in which every family has a series."""
    metrics = Metrics("1.2.3")
    upstream = metrics.upstream("flownally", ["/contacts", "/contacts/{id}"])
    upstream.connections = lambda: {"idle": 3, "active": 1}
    operation = upstream.operation("/contacts")
    operation.answered("GET", 200, UPSTREAM, 0.004, 0.0001)
    operation.answered("POST", 403, UPSTREAM, 0.004, 0.0001)
    operation.answered("GET", 503, SIDECAR, 5.0)
    upstream.rejections[Code.CREDENTIAL_UNAVAILABLE] += 1
    credential = metrics.credential("flownally")
    credential.state("fresh")
    credential.info("secrets_manager", "0a1b2c3d")
    credential.since(1_700_000_000)
    credential.created(1_600_000_000)
    credential.refreshed(1_700_000_100)
    credential.rotate_before(1_800_000_000)
    credential.refresh(RefreshResult.CHANGED)
    credential.cutover("promoted", 2.5)
    inbox = metrics.webhook("inbox")
    inbox.result("delivered")
    inbox.seconds(0.02)
    inbox.age(1.5)
    metrics.aws("secretsmanager", "DescribeSecret", "ok")
    metrics.log_redacted(2)
    return metrics


def scraped(metrics: Metrics, accept: str) -> tuple[bytes, str]:
    """Return the text of a scrape."""
    return asyncio.run(metrics.exposition(accept))


def families(metrics: Metrics, accept: str = TEXT) -> Iterable[Metric]:
    """Return the families that a scraper reads."""
    body, content_type = scraped(metrics, accept)
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    return list(parse(body.decode()))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample, or None if it is not exported."""
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_names_types_and_labels_are_the_contract(accept: str) -> None:
    """The sidecar exports the families of the contract and no others."""
    seen = {}
    for family in families(used(), accept):
        total = "_total" if family.type == "counter" else ""
        labels = {name for sample in family.samples for name in sample.labels}
        seen[family.name + total] = (family.type, labels - {"le"})

    ours = {name: what for name, what in seen.items() if name.startswith("sidecar_")}
    assert ours == CONTRACT
    assert "process_resident_memory_bytes" in seen


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS, "", "*/*", "nonsense,,;q=x"])
def test_there_are_no_created_series(accept: str) -> None:
    """They would double a scrape, and no dashboard uses them."""
    body, _ = scraped(used(), accept)

    assert b"_created" not in body.replace(b"sidecar_credential_created", b"")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param(TEXT, "text/plain; version=0.0.4", id="text"),
        pytest.param("", "text/plain; version=0.0.4", id="no-preference"),
        pytest.param(OPENMETRICS, "application/openmetrics-text", id="openmetrics"),
    ],
)
def test_the_scraper_chooses_the_format(accept: str, content_type: str) -> None:
    """Content negotiation by the `Accept` header."""
    assert scraped(used(), accept)[1].startswith(content_type)


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian: prometheus)",
)
@pytest.mark.parametrize("metrics", [Metrics("1"), used()], ids=["idle", "used"])
def test_promtool_finds_nothing(metrics: Metrics) -> None:
    """
    `promtool check metrics` is silent.

    It reads the text format only; OpenMetrics goes through a strict parser above.
    """
    body, _ = scraped(metrics, TEXT)

    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=body,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_numbers_of_the_process_are_of_this_scrape() -> None:
    """Memory, CPU and descriptors; a second scrape reads again."""
    metrics = Metrics("1")
    scraped(metrics, TEXT)
    before = value(metrics, "process_open_fds")
    with Path(os.devnull).open():
        scraped(metrics, TEXT)
        during = value(metrics, "process_open_fds")

    assert before is not None
    assert during == before + 1
    assert value(metrics, "process_cpu_seconds_total") is not None


async def test_a_scrape_gives_way_to_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes during a scrape does not wait for its end."""

    async def at_once(*_: object) -> None:
        # Else as many upstreams come as there are turns while a thread reads /proc.
        pass

    metrics = used()
    monkeypatch.setattr("sidecar.metrics.asyncio.to_thread", at_once)
    turns = 0

    async def call() -> None:
        nonlocal turns
        while True:
            turns += 1
            metrics.upstream(f"new{turns}")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        calls = group.create_task(call())
        await metrics.exposition(OPENMETRICS)
        calls.cancel()

    assert turns >= len(CONTRACT)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS])
def test_pieces_make_the_same_as_a_whole(accept: str) -> None:
    """The scrape is the same as one by prometheus-client."""
    metrics = used()
    body, content_type = scraped(metrics, accept)

    encode, whole_type = choose_encoder(accept)

    assert (body, content_type) == (encode(metrics.registry), whole_type)


def test_401_and_403_exist_before_the_first_call() -> None:
    """The rate of a series needs a 0 before the first event."""
    metrics = Metrics("1")
    metrics.upstream("flownally", ["/contacts"])

    for operation in ("/contacts", "*"):
        for code in ("401", "403"):
            labels = {"upstream": "flownally", "operation": operation, "code": code}
            assert value(metrics, "sidecar_auth_failures_total", **labels) == 0


def test_hot_numbers_are_exported_unchanged() -> None:
    """A scrape reads the present numbers."""
    metrics = used()
    labels = {"upstream": "flownally", "operation": "/contacts"}

    post = {"method": "POST", "code": "403", "origin": UPSTREAM}
    assert value(metrics, "sidecar_requests_total", **labels, **post) == 1
    assert value(metrics, "sidecar_auth_failures_total", **labels, code="403") == 1
    assert value(metrics, "sidecar_request_seconds_count", **labels) == 3
    assert value(metrics, "sidecar_request_seconds_bucket", **labels, le="0.005") == 2
    assert value(metrics, "sidecar_overhead_seconds_count", upstream="flownally") == 2
    reason = {"upstream": "flownally", "reason": "credential_unavailable"}
    assert value(metrics, "sidecar_rejections_total", **reason) == 1


def test_an_unknown_status_code_is_exported_as_other() -> None:
    """Codes outside the standard share one series."""
    metrics = Metrics("1")
    operation = metrics.upstream("flownally").operation("*")

    operation.answered("GET", 999, UPSTREAM, 0.1)

    labels = {"upstream": "flownally", "operation": "*", "method": "GET"}
    labels |= {"code": "other", "origin": UPSTREAM}
    assert value(metrics, "sidecar_requests_total", **labels) == 1


@pytest.mark.parametrize(
    ("state", "number"), [("idle", 3), ("active", 1), ("connecting", 0), ("odd", None)]
)
def test_connections_are_exported_by_state(state: str, number: int | None) -> None:
    """States that the pool does not name are 0; a name outside the set is dropped."""
    metrics = Metrics("1")
    metrics.upstream("flownally").connections = lambda: {
        "idle": 3,
        "active": 1,
        "odd": 7,
    }

    labels = {"upstream": "flownally", "state": state}
    assert value(metrics, "sidecar_upstream_connections", **labels) == number


def test_redactions_are_summed_by_sink() -> None:
    """Lines of the log, and answers of every upstream."""
    metrics = Metrics("1")
    metrics.log_redacted(2)
    metrics.log_redacted(3)
    metrics.upstream("one").redactions = 1
    metrics.upstream("two").redactions = 10

    assert value(metrics, "sidecar_redactions_total", sink="log") == 5
    assert value(metrics, "sidecar_redactions_total", sink="response") == 11


def test_an_upstream_has_one_set_of_numbers() -> None:
    """A second request returns the same object."""
    metrics = Metrics("1")

    assert metrics.upstream("one", ["/a"]) is metrics.upstream("one")


@pytest.mark.parametrize("state", tuple(State))
def test_exactly_one_state_is_one(state: str) -> None:
    """The others are 0, not absent."""
    metrics = Metrics("1")
    credential = metrics.credential("flownally")

    credential.state(state)

    seen = {
        name: value(
            metrics, "sidecar_credential_state", upstream="flownally", state=name
        )
        for name in tuple(State)
    }
    assert seen == {name: float(name == state) for name in tuple(State)}


def test_a_credential_is_missing_at_first() -> None:
    """The state has a series before the first refresh."""
    metrics = Metrics("1")
    metrics.credential("flownally")

    labels = {"upstream": "flownally", "state": "missing"}
    assert value(metrics, "sidecar_credential_state", **labels) == 1
    assert value(metrics, "sidecar_credential_since_timestamp_seconds") is None


def test_the_series_of_an_old_key_is_removed() -> None:
    """Two fingerprints at 1 would mean that two keys are in use."""
    metrics = Metrics("1")
    credential = metrics.credential("flownally")
    other = metrics.credential("other")
    other.info("file", "ffffffff")

    for fingerprint in ("11111111", "22222222", "22222222"):
        credential.info("secrets_manager", fingerprint)

    info = next(f for f in families(metrics) if f.name == "sidecar_credential_info")
    assert sorted(sample.labels["fingerprint"] for sample in info.samples) == [
        "22222222",
        "ffffffff",
    ]


def test_an_unknown_time_has_no_series() -> None:
    """A 0 would mean 1970; an absent series means unknown."""
    metrics = Metrics("1")
    credential = metrics.credential("flownally")
    name = "sidecar_credential_created_timestamp_seconds"

    credential.created(None)
    assert value(metrics, name, upstream="flownally") is None

    credential.created(1_600_000_000)
    assert value(metrics, name, upstream="flownally") == 1_600_000_000

    credential.created(None)
    assert value(metrics, name, upstream="flownally") is None


def test_a_cutover_without_a_known_age_is_counted_but_not_timed() -> None:
    """A rejected candidate never came into use."""
    metrics = Metrics("1")
    credential = metrics.credential("flownally")

    credential.cutover("rejected")
    credential.cutover("promoted", -3.0)

    labels = {"upstream": "flownally"}
    count = "sidecar_credential_cutovers_total"
    assert value(metrics, count, **labels, result="rejected") == 1
    assert value(metrics, count, **labels, result="restored") == 0
    assert value(metrics, "sidecar_credential_cutover_seconds_count", **labels) == 1
    # The clocks of AWS and of this host differ: a negative age is no age.
    assert value(metrics, "sidecar_credential_cutover_seconds_sum", **labels) == 0


def test_names_outside_the_closed_sets_make_no_label() -> None:
    """They raise, or count as `other`."""
    metrics = Metrics("1")
    credential = metrics.credential("flownally")
    with pytest.raises(ValueError, match="dubious"):
        credential.state("dubious")
    with pytest.raises(ValueError, match="dubious"):
        credential.cutover("dubious")
    with pytest.raises(KeyError):
        metrics.webhook("inbox").result("dubious")

    for number in range(1000):
        metrics.aws(f"s{number}", f"Op{number}", f"r{number}")

    labels = {"service": "other", "operation": "other", "result": "other"}
    assert value(metrics, "sidecar_aws_requests_total", **labels) == 1000


def test_every_result_of_a_webhook_exists_from_the_start() -> None:
    """An alert can use the rate of bad signatures before the first one."""
    metrics = Metrics("1")
    inbox = metrics.webhook("inbox")
    inbox.age(-5)

    for result in WEBHOOK_RESULTS:
        labels = {"endpoint": "inbox", "result": result}
        assert value(metrics, "sidecar_webhooks_total", **labels) == 0
    assert value(metrics, "sidecar_webhook_age_seconds_sum", endpoint="inbox") == 0
    inbox.result("stale")
    assert {name for name, count in inbox.counts.items() if count} == {"stale"}


def test_aws_requests_are_counted_from_other_threads() -> None:
    """boto3 runs in another thread; no count is lost."""
    metrics = Metrics("1")

    def look() -> None:
        for _ in range(500):
            metrics.aws("secretsmanager", "DescribeSecret", "throttled")

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    labels = {"service": "secretsmanager", "operation": "DescribeSecret"}
    labels["result"] = "throttled"
    assert value(metrics, "sidecar_aws_requests_total", **labels) == 2000


def test_two_registries_are_independent() -> None:
    """Each `Metrics` has its own instruments."""
    first, second = used(), Metrics("9")

    assert value(second, "sidecar_build_info", version="1.2.3") is None
    assert first.registry is not second.registry
