"""
The price of one call in Python alone: both protocols, no socket, no kernel.

    .venv/bin/python -m benchmarks.hotpath [--profile]

Feeds a request into the service's protocol and an answer into the API's, with transports
that drop what is written, and prints the least time of many short rounds: a figure that
hardly depends on what else the machine does. What the kernel and TLS cost comes on top
and is the same for everybody.
"""

import argparse
import asyncio
import cProfile
import pstats
import time
from collections.abc import Callable
from functools import partial

from tests.support.memory_transports import ANSWER, REQUESTS, make

ROUNDS = 400
CALLS = 100


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    for name, request in REQUESTS.items():
        calls = partial(make_calls, *make(), request)
        calls()
        best = min(timed(calls) for _ in range(ROUNDS)) / CALLS
        print(f"{name:8} {best * 1e6:6.2f} us per call")
        if options.profile:
            profile = cProfile.Profile()
            for _ in range(50):
                profile.runcall(calls)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def make_calls(
    service: asyncio.Protocol, connection: asyncio.Protocol, request: bytes
) -> None:
    """Make some calls."""
    for _ in range(CALLS):
        service.data_received(request)
        connection.data_received(ANSWER)


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that `work` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
