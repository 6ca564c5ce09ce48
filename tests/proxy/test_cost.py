"""
What a call costs, counted and not timed: the same figures on every machine.

The bounds are a fifth above what was counted when they were written. A change that needs
more must say what it is worth, and raise them; `python -m benchmarks.hotpath` gives the
microseconds.
"""

import gc
import sys
from types import FrameType

import pytest

from tests.support.memory_transports import ANSWER, REQUESTS, make

CALLS = 50


@pytest.mark.parametrize(
    ("name", "python", "builtin"),
    [("bare", 24, 20), ("client", 24, 20), ("post", 31, 27)],
)
def test_a_call_takes_few_function_calls(name: str, python: int, builtin: int) -> None:
    """Count the Python and built-in functions of one call after a warm-up."""
    client, connection = make()
    counts = {"call": 0, "c_call": 0}

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        if event in counts:
            counts[event] += 1

    def run() -> None:
        for _ in range(CALLS):
            client.data_received(REQUESTS[name])
            connection.data_received(ANSWER)

    run()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)

    assert counts["call"] / CALLS <= python
    assert counts["c_call"] / CALLS <= builtin


@pytest.mark.parametrize("name", REQUESTS)
def test_a_call_leaves_nothing_behind(name: str) -> None:
    """Calls leave no reference cycle, and memory does not grow."""
    client, connection = make()

    def run(calls: int) -> None:
        for _ in range(calls):
            client.data_received(REQUESTS[name])
            connection.data_received(ANSWER)

    run(10)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        run(1000)
        after = sys.getallocatedblocks()
        garbage = gc.collect()
    finally:
        gc.enable()

    assert after - before < 50
    assert garbage == 0
