"""The command line, and what surrounds a measurement: processes, outcomes."""

import sys
from pathlib import Path

import pytest

from benchmarks import bench, tools
from benchmarks.openloop import Outcome
from benchmarks.parts.base import Plan
from benchmarks.parts.latency import percentiles
from benchmarks.parts.revocation import became, first_line
from benchmarks.process import (
    Cpu,
    NotStarted,
    Running,
    pinned,
    running,
    status,
    wait_answer,
)
from sidecar.emulator.http_calls import wait_until


def test_everything_is_measured_and_written_unless_told_otherwise() -> None:
    """`make bench` alone renews the files."""
    args = bench.parse([])

    assert args.write
    assert list(args.parts) == [*bench.PARTS, bench.FLEET]
    assert bench.plan_of(args) == Plan()


@pytest.mark.parametrize(
    "arguments",
    [["--quick"], ["--parts", "costs"], ["--only", "ours"], ["--shapes", "c1,c32"]],
    ids=lambda arguments: arguments[0],
)
def test_less_than_everything_writes_nothing(arguments: list[str]) -> None:
    """Figures that were tried must not take the place of measured ones."""
    assert not bench.parse(arguments).write


def test_a_whole_part_may_be_written_anew() -> None:
    """But not some of its rows: the files would lose the others."""
    assert bench.parse(["--parts", "costs", "--write"]).write
    with pytest.raises(SystemExit):
        bench.parse(["--only", "ours", "--write"])


def test_options_change_the_plan() -> None:
    """And leave the rest of it."""
    args = bench.parse(
        ["--only", "ours,envoy", "--shapes", "c1", "--rounds", "5", "--seconds", "2"]
    )
    plan = bench.plan_of(args)

    assert [peer.name for peer in plan.chosen()] == ["ours", "envoy"]
    assert (plan.shapes, plan.rounds, plan.seconds) == (("c1",), 5, 2)
    assert plan.rates == Plan().rates


def test_quick_is_quick() -> None:
    """Every part, once, for a second."""
    plan = bench.plan_of(bench.parse(["--quick"]))

    assert (plan.rounds, plan.seconds, plan.rate_seconds) == (1, 1, 1)
    assert plan.peers == Plan().peers


@pytest.mark.parametrize("option", ["--parts", "--only", "--shapes"])
def test_a_misspelt_name_is_an_error(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which, and what there is."""
    with pytest.raises(SystemExit):
        bench.parse([option, "nginks"])

    assert "unknown: nginks; known: " in capsys.readouterr().err


def test_percentiles_count_failures() -> None:
    """Microseconds; a failure is a call, too."""
    calls = [Outcome(n, n / 1000, 200) for n in range(1000)] + [Outcome(0, 9.0, 401)]
    row = percentiles(calls)

    assert (row["calls"], row["failed"]) == (1001, 1)
    assert row["p50"] == pytest.approx(500e3)
    assert row["p99"] == pytest.approx(990e3)
    assert row["p999"] == pytest.approx(999e3)
    assert percentiles([])["p50"] == 0.0


def test_what_became_of_calls_around_a_revocation() -> None:
    """Failures are counted, timed and put into bins from the revocation on."""
    calls = [Outcome(at / 10, 0.01, 401 if 10 <= at < 20 else 200) for at in range(30)]
    row = became(calls, 1.0)

    assert (row["calls"], row["failed"]) == (30, 10)
    assert row["failing_seconds"] == pytest.approx(0.9)
    assert dict(row["timeline"]) == {
        -1.0: 0,
        -0.5: 0,
        0.0: 100,
        0.5: 100,
        1.0: 0,
        1.5: 0,
    }
    assert became([], 1.0)["failing_seconds"] == 0.0


def test_a_process_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    """The end of its log says why."""
    command = [sys.executable, "-c", "import sys; sys.exit('no such option')"]
    with running(command, tmp_path / "log") as process:
        process.process.wait()
        with pytest.raises(NotStarted, match="no such option"):
            wait_answer(1, "/", process)

    assert status(1, "/") == 0


def test_a_process_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """Even one that does not listen to reason in its children."""
    script = "import subprocess, sys, json; c = subprocess.Popen(['sleep', '1000'])\n"
    script += "print(json.dumps({'child': c.pid}), flush=True); c.wait()"
    process = Running([sys.executable, "-c", script], tmp_path / "log")
    child = first_line(process)["child"]

    process.stop()

    assert process.process.poll() is not None
    state = Path(f"/proc/{child}/stat")
    # A killed process may run for a moment before the kernel ends it.
    wait_until(lambda: not state.exists() or ") Z " in state.read_text(), "its end")


def test_on_one_cpu_nothing_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """On two, each part has its own."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    proxy, load = pinned(Cpu.PROXY, ["a"]), pinned(Cpu.LOAD, ["a"])

    assert proxy == ["taskset", "-c", "0", "a"]
    assert load == ["a"]


def test_without_root_a_missing_tool_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the package that has it."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(tools.Missing, match=r"haproxy nginx-light"):
        tools.ensure(["nginx", "haproxy"], with_envoy=False)


def test_a_step_that_fails_says_what_it_said() -> None:
    """The end of its output, with the command."""
    with pytest.raises(tools.Missing, match="no network"):
        tools.run(sys.executable, "-c", "import sys; sys.exit('no network')")


def test_the_machine_is_told() -> None:
    """Where figures come from."""
    assert set(tools.machine()) == {"processor", "CPUs", "memory", "kernel"}
    assert tools.number_in(sys.executable, "--version").count(".") == 2
