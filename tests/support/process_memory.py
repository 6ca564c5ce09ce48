"""The memory of another process, as root sees it: where a value is found in it."""

import os
from pathlib import Path
from typing import Final

import pytest

STEP: Final = 1 << 22
CAP_SYS_PTRACE: Final = 19


def may_look() -> bool:
    """Tell whether we may read the memory of a process that is not dumpable."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_PTRACE & 1)
    return False


needs_root: Final = pytest.mark.skipif(
    not may_look(), reason="needs CAP_SYS_PTRACE, as root has"
)


def found(pid: int, *values: bytes) -> dict[bytes, list[str]]:
    """Find values in the writable memory of a process: where each of them stands."""
    places: dict[bytes, list[str]] = {value: [] for value in values}
    longest = max(map(len, values))
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, *_, name = [*line.split(maxsplit=5), ""][:6]
            if not mode.startswith("rw") or name.startswith("[v"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            seam = b""
            while start < end:
                try:
                    data = os.pread(memory.fileno(), min(STEP, end - start), start)
                except OSError:
                    break
                text = seam + data
                for value in values:
                    at = text.find(value)
                    while at >= 0:
                        where = start - len(seam) + at
                        places[value].append(f"{where:x} {name}".strip())
                        at = text.find(value, at + 1)
                seam = text[1 - longest :]
                start += len(data)
    return places
