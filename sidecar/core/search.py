"""
Looking for bytes in many bytes, at the speed of memory.

`bytes.find` skips by the last byte of the needle only, and falls to 1 ns a byte where the
data is made of the needle's own letters (digits of hex, base64). The C library's memmem(3)
goes by pairs of bytes and does not fall. Measured over 256 KiB and four needles: JSON
168 us and 37 us, hex 184 and 68, base64 120 and 66; a call costs 1 us more.
"""

import ctypes
from collections.abc import Callable
from typing import Final

LARGE: Final = 8192
"""Bytes from which `holds` is faster than `bytes.partition`."""


def _memmem() -> Callable[[bytes, int, bytes, int], int | None] | None:
    """Return the C library's search; None where there is none."""
    try:
        search = ctypes.CDLL(None).memmem
    except (OSError, AttributeError):
        return None
    search.restype = ctypes.c_void_p
    # c_char_p hands over the bytes where they are; their length is told beside.
    search.argtypes = [ctypes.c_char_p, ctypes.c_size_t] * 2
    found: Callable[[bytes, int, bytes, int], int | None] = search
    return found


_SEARCH: Final = _memmem()


def holds(data: bytes, needle: bytes) -> bool:
    """Say whether `needle` is in `data`; made for `data` of `LARGE` bytes and more."""
    if _SEARCH is None:
        return bool(data.partition(needle)[1])
    return _SEARCH(data, len(data), needle, len(needle)) is not None
