"""Whether a value is overwritten wherever it is in this process, and nothing else."""

import ctypes
from pathlib import Path

import pytest

from sidecar import memory
from sidecar.memory import address_of, wipe


def made(seed: int) -> str:
    """Make a value that stands in no constant of this file."""
    return "".join(chr(97 + (seed * 7 + n * n) % 26) for n in range(40))


def at(address: int, length: int) -> bytes:
    """Read our own memory."""
    return ctypes.string_at(address, length)


def test_every_copy_is_overwritten_but_those_that_are_kept() -> None:
    """In strings, bytes, buffers, and in the middle of something larger."""
    value, kept = made(1), made(1)
    other = made(2)
    buffer = bytearray(b"before " + value.encode() + b" after")
    header = b"Authorization: Bearer " + value.encode()

    assert sum(wipe([value], keep=[kept])) >= 3

    assert buffer == b"before " + bytes(40) + b" after"
    assert header == b"Authorization: Bearer " + bytes(40)
    assert at(address_of(kept), 40).decode() == kept == made(1)
    assert value == "\0" * 40
    assert other == made(2)


def test_freed_memory_is_overwritten() -> None:
    """That is what it is for."""
    value = made(3)
    large = value.encode() * 1000
    address = ctypes.cast(ctypes.c_char_p(large), ctypes.c_void_p).value
    assert address is not None
    del large

    assert sum(wipe([value])) > 0
    assert sum(wipe([made(3)])) <= 1, "only the value that was asked for"


def test_what_lies_across_two_steps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The borders of the search are not borders of the memory."""
    value = made(4)
    large = bytearray((b"-" * 61 + value.encode()) * 200)
    monkeypatch.setattr(memory, "STEP", 4096)
    spans = [
        (start, end)
        for start, end in memory._writable()
        if start <= ctypes.addressof(ctypes.c_char.from_buffer(large)) < end
    ]
    monkeypatch.setattr(memory, "_writable", lambda: spans)

    assert sum(wipe([value], keep=[value])) >= 200
    assert value.encode() not in large


def test_a_short_value_is_left_alone() -> None:
    """It might stand anywhere by chance."""
    assert list(wipe(["short"])) == []
    assert list(wipe([])) == []


def test_memory_that_went_away_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may give some back between the map and the look."""
    monkeypatch.setattr(memory, "_writable", lambda: [(4096, 8192)])

    assert list(wipe([made(5)])) == [0]


def test_a_sandbox_that_forbids_it_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and nothing is done."""
    monkeypatch.setattr(memory, "_copy", lambda *_: -1)

    assert list(wipe([made(6)])) == [-1]


def test_the_kernels_own_pages_are_left_out() -> None:
    """They cannot be read in this way."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    kernels = {int(line.partition("-")[0], 16) for line in lines if "[v" in line}

    assert kernels.isdisjoint(start for start, _ in memory._writable())
