"""
Overwrites what freed memory still holds of a key.

Python cannot wipe a `str`, and a key that was let go lies in freed memory until something
else is written there: an answer of AWS, a header line that was sent. So the process
searches its own writable memory for the value, and overwrites it where it finds it.

Rule 1: only values that nobody needs any more; `keep` names the addresses that do.
Rule 2: memory is read and written by system calls on our own process (process_vm_readv(2)),
which fail where a pointer would crash: another thread may give memory back meanwhile.
Rule 3: a step takes about a millisecond, and between two of them the loop may run.
Where a sandbox forbids the calls nothing is wiped, and the caller is told.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

STEP: Final = 1 << 20
"""Bytes that are searched at a time."""

SHORTEST: Final = 16
"""Bytes. A shorter value is no secret, and might stand in memory by chance."""

# PyDLL holds the interpreter's lock: no Python code runs between finding and writing.
_LIBC: Final = ctypes.PyDLL(None, use_errno=True)


class _Span(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def address_of(text: str) -> int:
    """Return where the characters of an ASCII string are in memory (CPython)."""
    return id(text) + sys.getsizeof(text) - len(text) - 1


def wipe(values: Sequence[str], keep: Sequence[str] = ()) -> Iterator[int]:
    """
    Overwrite values wherever they are in this process, step by step.

    The strings that are passed in are overwritten as well, unless they are kept.

    Args:
        values: ASCII; shorter ones than `SHORTEST` are left alone.
        keep: Objects that are still in use.

    Yields:
        How many places each step has overwritten; -1, once, if it is not possible.
    """
    # Halves, because the whole would find and overwrite itself in the search.
    needles = [
        (value[: len(value) // 2].encode(), value[len(value) // 2 :].encode())
        for value in values
        if len(value) >= SHORTEST
    ]
    kept = frozenset(address_of(text) for text in keep)
    longest = max((len(a) + len(b) for a, b in needles), default=0)
    if not needles:
        return
    buffer = bytearray(STEP + longest)
    mine = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    skipped = range(mine - longest, mine + len(buffer))
    for start, end in _writable():
        # Steps overlap, so that a value across their border is found, too.
        for at in range(start, end, STEP):
            size = min(len(buffer), end - at)
            done = _copy(_LIBC.process_vm_readv, mine, at, size)
            if done < 0 and not _readable(buffer):
                yield -1
                return
            places = _places(buffer, max(done, 0), needles)
            yield sum(
                _overwrite(at + offset, length)
                for offset, length in places
                if at + offset not in kept and at + offset not in skipped
            )
    buffer[:] = bytes(len(buffer))


def _places(
    buffer: bytearray, size: int, needles: Sequence[tuple[bytes, bytes]]
) -> list[tuple[int, int]]:
    """Find the values in what was read: where, and how long."""
    found = []
    for first, second in needles:
        at = buffer.find(first, 0, size)
        while at >= 0:
            middle = at + len(first)
            if buffer[middle : middle + len(second)] == second:
                found.append((at, len(first) + len(second)))
            at = buffer.find(first, at + 1, size)
    return found


def _writable() -> list[tuple[int, int]]:
    """Return the spans of our own memory that can be written."""
    spans = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, _ = line.split(maxsplit=2)
        if mode.startswith("rw") and " [v" not in line:  # not the kernel's own
            start, _, end = span.partition("-")
            spans.append((int(start, 16), int(end, 16)))
    return spans


def _copy(call: object, local: int, remote: int, size: int) -> int:
    """Read or write our own memory by a system call; -1: it is not there."""
    here, there = _Span(local, size), _Span(remote, size)
    done: int = call(  # type: ignore[operator]  # ctypes tells no types
        os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0
    )
    return done


def _overwrite(address: int, length: int) -> int:
    """Write zeros; return 1 if it was done."""
    zeros = ctypes.create_string_buffer(length)
    done = _copy(_LIBC.process_vm_writev, ctypes.addressof(zeros), address, length)
    return int(done == length)


def _readable(buffer: bytearray) -> bool:
    """Tell whether the calls are allowed at all: what we hold ourselves can be read."""
    target = ctypes.create_string_buffer(1)
    mine = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return _copy(_LIBC.process_vm_readv, ctypes.addressof(target), mine, 1) == 1
