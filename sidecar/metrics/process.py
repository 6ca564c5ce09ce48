"""The process itself: CPU, memory and descriptors, as prometheus-client names them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector


class ProcessNumbers(Collector):
    """
    The last values of `/proc`; `refresh` reads them.

    Files are read in `refresh` and never in `collect`, so that a scrape can leave the
    reading to a thread: the event loop does not wait for a file.
    """

    def __init__(self) -> None:
        self._families: list[Metric] = []
        self._source: Collector | None = None

    def refresh(self) -> None:
        """Read the files. Other systems than Linux have none, and no numbers."""
        if self._source is None:
            # A registry of its own: the constructor registers itself, which collects.
            self._source = ProcessCollector(registry=CollectorRegistry())
        self._families = list(self._source.collect())

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not known before the first `refresh`."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The numbers of the last `refresh`."""
        return self._families
