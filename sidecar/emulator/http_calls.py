"""HTTP calls to a process, and waiting for a condition: blocking, with timeouts."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

STEP_SECONDS: Final = 0.02

T = TypeVar("T")


class Overdue(Exception):
    """A condition did not become true in time, or the process ended before."""


def wait_until(
    condition: Callable[[], T | None],
    what: str = "the condition",
    seconds: float = 10.0,
) -> T:
    """Poll until `condition()` is true, and return what it returned; else fail."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            message = f"{what} did not become true within {seconds} s"
            raise Overdue(message)
        time.sleep(STEP_SECONDS)


@dataclass(frozen=True)
class HttpResponse:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    """Field names in lower case; the last one of repeated fields."""
    body: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


def call(
    address: str,
    target: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
) -> HttpResponse:
    """Make one HTTP call to `host:port` on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return HttpResponse(answer.status, fields, answer.read())
    finally:
        connection.close()


class ScrapedMetrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """Sum the samples of `name` that have these labels; none = 0."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> list[dict[str, str]]:
        """List the label sets of `name`."""
        return [s.labels for s in self._samples if s.name == name]
