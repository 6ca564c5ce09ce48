"""
Processes that are measured: each has a CPU of its own, a log, and an end.

The proxy is alone on CPU 0; the upstream and the load share CPU 1. What a proxy can do
is then what one core can do, and nothing of it is spent on the load.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
STEP_SECONDS: Final = 0.02
HOST: Final = "127.0.0.1"


class Cpu(IntEnum):
    """The CPU of each part of a measurement."""

    PROXY = 0
    LOAD = 1


class NotStarted(Exception):
    """A process did not come up."""

    def __init__(self, running: "Running") -> None:
        super().__init__(running)
        self.running = running

    def __str__(self) -> str:
        return f"{self.running.command[0]} does not answer: {self.running.tail()}"


def pinned(cpu: Cpu, command: Sequence[str]) -> list[str]:
    """Return the command that runs another on one CPU; on a single CPU, itself."""
    if cpu not in os.sched_getaffinity(0):
        return list(command)
    return ["taskset", "-c", str(int(cpu)), *command]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Running:
    """A process and its log; ended by `stop`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cpu: Cpu = Cpu.PROXY,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                pinned(cpu, command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                # Ctrl-C is for the one who started us, who stops it in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id: `taskset` becomes the command."""
        return self.process.pid

    def must_run(self) -> None:
        """Raise `NotStarted` when the process has ended."""
        if self.process.poll() is not None:
            raise NotStarted(self)

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-600:]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """End the process and everything it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
                return


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    cpu: Cpu = Cpu.PROXY,
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run a process while the context is open."""
    process = Running(command, log, cpu=cpu, env=env)
    try:
        yield process
    finally:
        process.stop()


def wait_answer(port: int, path: str, process: Running) -> None:
    """Wait until a GET is answered with 200. Raises `NotStarted`."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        process.must_run()
        if status(port, path) == http.client.OK:
            return
        time.sleep(STEP_SECONDS)
    raise NotStarted(process)


def status(port: int, path: str, seconds: float = 10.0) -> int:
    """Make one call; returns its status, 0 when there was no answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return answer.status
    finally:
        connection.close()
