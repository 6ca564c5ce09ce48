"""What /proc says, read from a made-up one: trees, threads, and processes that end."""

import os
from pathlib import Path

import pytest

from benchmarks import measure


def process(
    proc: Path, pid: int, used: dict[int, int], children: str = "", pss: int = 0
) -> None:
    """Write what the kernel would of one process; `used` is by thread."""
    for thread, nanoseconds in used.items():
        directory = proc / str(pid) / "task" / str(thread)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "schedstat").write_text(f"{nanoseconds} 123 4\n")
        (directory / "children").write_text(children if thread == pid else "")
    ticks = 10 * pid
    stat = f"{pid} (a) name) S 1 1 1 0 -1 4 0 0 0 0 {ticks} 1 2 3 20 0 1 0 5 6"
    (proc / str(pid) / "stat").write_text(stat)
    rollup = f"00400000-7ff rollup\nRss: 999 kB\nPss:   {pss} kB\nPss_Dirty: 1 kB\n"
    (proc / str(pid) / "smaps_rollup").write_text(rollup)


@pytest.fixture(name="proc")
def _proc(tmp_path: Path) -> Path:
    """A process 1 with two threads and a child 2, which has a child 3 that ended."""
    process(tmp_path, 1, {1: 5_000_000, 11: 1_000_000}, "2 ", pss=100)
    process(tmp_path, 2, {2: 2_000_000}, "3 ", pss=28)
    return tmp_path


def test_the_tree_has_children_of_children(proc: Path) -> None:
    """What ended meanwhile is listed, and does no harm."""
    assert sorted(measure.tree(1, proc)) == [1, 2, 3]


def test_cpu_is_by_thread(proc: Path) -> None:
    """Each thread of each process that lives."""
    assert measure.cpu(1, proc) == {
        (1, 1): 5_000_000,
        (1, 11): 1_000_000,
        (2, 2): 2_000_000,
    }


def test_a_thread_that_began_counts_whole_and_one_that_ended_not_at_all() -> None:
    """A difference of sums would turn negative when a thread ends."""
    before = {(1, 1): 1_000, (1, 2): 9_000}
    after = {(1, 1): 3_000, (1, 3): 5_000}

    assert measure.spent_us(before, after) == 7.0


def test_a_start_counts_what_ended(proc: Path) -> None:
    """Own time and that of ended children, in the kernel's ticks."""
    expected = (10 + 1 + 2 + 3 + 20 + 1 + 2 + 3) / measure.TICKS

    assert measure.cpu_seconds(1, proc) == pytest.approx(expected)


def test_memory_is_that_of_the_tree(proc: Path) -> None:
    """Proportional, so that adding up counts no page twice."""
    assert measure.pss_bytes(1, proc) == 128 * 1024


def test_the_real_proc_is_read_as_well() -> None:
    """The format is this kernel's, too."""
    me = os.getpid()

    assert measure.cpu_seconds(me) > 0
    assert sum(measure.cpu(me).values()) > 0
    assert measure.pss_bytes(me) > 2**20
