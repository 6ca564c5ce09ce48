"""Calls in the background, as a service would make them."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sidecar.emulator.http_calls import call


@contextmanager
def traffic(
    address: str, targets: Sequence[str] = ("/contacts",), pause: float = 0.02
) -> Iterator[Counter[int]]:
    """Call these targets in turn until the end; gives the counts by status."""
    counts: Counter[int] = Counter()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for target in targets:
                counts[call(address, target).status] += 1
                stop.wait(pause)

    thread = threading.Thread(target=work, name="traffic")
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()
