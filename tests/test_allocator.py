"""Freed memory stays with the process, counted by the kernel itself."""

import ctypes
import subprocess
import sys

import pytest

from sidecar import allocator

FAULTS = """
import resource
from sidecar.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        # As four connections do: read records, join them, let go of all.
        held = [b"".join([bytes(16384)] * 16) for _ in range(4)]
        held.clear()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
assert keep_freed_memory()
faults()
print(first, faults())
"""


def has_mallopt() -> bool:
    """Tell whether the C library is glibc."""
    return hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif("not has_mallopt()", reason="the C library is not glibc")
def test_pieces_of_a_large_answer_cost_no_page_faults() -> None:
    """Without the limits it is more than one page for each piece."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())

    assert before > 10_000
    assert after < 100


def test_a_c_library_without_limits_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As musl: the sidecar runs, and large answers cost more."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())

    assert not allocator.keep_freed_memory()
