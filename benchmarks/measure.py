"""
What a process costs, read from /proc.

CPU is the scheduler's own count in nanoseconds (`schedstat`): it hardly depends on what
else the machine does, so it is the figure to compare. Memory is PSS: pages that several
processes share are counted once.
"""

import os
import re
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
PSS: Final = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
TICKS: Final = os.sysconf("SC_CLK_TCK")

Snapshot = dict[tuple[int, int], int]
"""(process, thread) -> nanoseconds on a CPU."""


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """List a process and all its living descendants."""
    found, todo = [], [pid]
    while todo:
        process = todo.pop()
        found.append(process)
        for children in proc.glob(f"{process}/task/*/children"):
            todo += map(int, _read(children).split())
    return found


def cpu(pid: int, proc: Path = PROC) -> Snapshot:
    """Read what each thread of a tree of processes has used."""
    used = {}
    for process in tree(pid, proc):
        for file in proc.glob(f"{process}/task/*/schedstat"):
            fields = _read(file).split()
            if fields:
                used[process, int(file.parent.name)] = int(fields[0])
    return used


def spent_us(before: Snapshot, after: Snapshot) -> float:
    """Add up the microseconds between two snapshots; threads that ended are lost."""
    return sum(now - before.get(thread, 0) for thread, now in after.items()) / 1e3


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """
    Read what a process has used since its start, with all that it started.

    Children and threads that ended count, too (`proc(5)`: utime, stime, cutime and
    cstime), which is what a start costs; to a hundredth of a second.
    """
    ticks = 0
    for process in tree(pid, proc):
        fields = _read(proc / str(process) / "stat").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def pss_bytes(pid: int, proc: Path = PROC) -> int:
    """Read the memory of a tree of processes."""
    files = (proc / str(process) / "smaps_rollup" for process in tree(pid, proc))
    found = (PSS.search(_read(file)) for file in files)
    return sum(int(match[1]) * 1024 for match in found if match)


def _read(file: Path) -> str:
    """Read a file; empty when its process has ended."""
    try:
        return file.read_text()
    except OSError:
        return ""
