"""
Faults of processes and machines: stopped, out of descriptors, a full disk, other clocks.

And SIGTERM in each phase of a call: what is under way is finished, what is new is not
begun, and the exit code is 0.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.emulator.sidecar_process import PROGRAM
from tests.support.attack_rig import HOST, AttackRig, attacked, limits
from tests.support.processes import (
    UPSTREAM,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import (
    OK,
    Conversation,
    RawApi,
    RawClient,
    file_settings,
)

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
POST: Final = b"POST /contacts HTTP/1.1\r\n%bContent-Length: 5\r\n\r\nhello" % HOST
PERFECT: Final = 200

# An API in another process, which can be stopped: it answers each call with `ok`.
API: Final = """
import socket, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(sock):
    while sock.recv(65536):
        sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def count(pid: int, what: str) -> int:
    """Count the open descriptors (`fd`) or the threads (`task`) of a process."""
    return len(list(Path(f"/proc/{pid}/{what}").iterdir()))


def status_of(address: str) -> tuple[int, str]:
    """Make a call and return what became of it."""
    with RawClient(address) as client:
        client.send(GET)
        seen = client.answer()
    return seen.status, seen.code


def test_an_api_that_is_stopped(tmp_path: Path) -> None:
    """Stop it by kill -STOP: calls end with 504 in their time; after -CONT they are well."""
    with subprocess.Popen(
        [sys.executable, "-c", API], stdout=subprocess.PIPE, text=True
    ) as api:
        assert api.stdout is not None
        port = api.stdout.readline().strip()
        settings = file_settings(tmp_path, f"http://127.0.0.1:{port}/v1")
        process = SidecarProcess(
            tmp_path / "sidecar", merge(settings, limits(response_seconds=0.5))
        )
        try:
            process.wait_ready()
            assert status_of(process.address()) == (200, "")
            api.send_signal(signal.SIGSTOP)
            os.waitpid(api.pid, os.WUNTRACED)  # until it has stopped
            for _ in range(3):
                assert status_of(process.address()) == (504, "upstream_timeout")
            assert process.admin("/readyz").status == PERFECT
            api.send_signal(signal.SIGCONT)
            assert status_of(process.address()) == (200, "")
        finally:
            process.close()
            api.kill()


@pytest.fixture(name="rig")
def _rig(tmp_path: Path) -> Iterator[AttackRig]:
    """A sidecar of this test alone."""
    with attacked(tmp_path, {"log": {"access": "all"}}) as rig:
        yield rig


def test_descriptors_run_out_and_come_back(rig: AttackRig) -> None:
    """The process neither spins nor ends, and refusals are counted."""
    pid = rig.process.pid
    used = count(pid, "fd")
    few = used + 10
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
    clients = [RawClient(rig.address) for _ in range(40)]
    wait_until(lambda: rig.process.logs("accept_failed"), "the lack to be told")
    # A call on a connection that was taken needs a descriptor for the API, too.
    clients[0].send(GET)
    seen = clients[0].answer()
    assert seen.status in {200, 502}
    for client in clients:
        client.sock.close()

    def well() -> bool:
        try:
            return status_of(rig.address) == (200, "")
        except (OSError, AssertionError):
            return False

    wait_until(well, "a healthy call")
    assert len(rig.process.logs("accept_failed")) < 20, "it spins"


def test_a_full_disk_for_the_log(rig: AttackRig) -> None:
    """Lines are lost; calls are not."""
    pid = rig.process.pid
    size = len(rig.process.output().encode())
    # Writes beyond this fail with EFBIG, as with ENOSPC on a disk that is full.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for _ in range(20):
        assert status_of(rig.address) == (200, "")
    assert len(rig.process.output().encode()) == size

    resource.prlimit(
        pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    assert status_of(rig.address) == (200, "")
    wait_until(lambda: rig.process.logs("call"), "lines again")


def test_a_reader_of_the_log_that_is_gone(tmp_path: Path) -> None:
    """A closed pipe for standard error does not end the process."""
    with RawApi() as api:
        path = tmp_path / "s"
        changes = {
            "upstreams": {UPSTREAM: {"listen": f"unix:{path}"}},
            "log": {"access": "all"},
        }
        settings = merge(file_settings(tmp_path, api.base_url), changes)
        pipe = tmp_path / "stderr"
        os.mkfifo(pipe)
        program = ["sh", "-c", 'exec "$@" 2> "$0"', str(pipe), *PROGRAM]
        process = SidecarProcess(tmp_path / "sidecar", settings, program=program)
        try:
            with pipe.open("rb") as reader:
                assert reader.readline()
            wait_until(path.exists, "the socket")

            def well() -> bool:
                try:
                    return status_of(f"unix:{path}") == (200, "")
                except OSError:
                    return False

            wait_until(well, "a call")
            assert status_of(f"unix:{path}") == (200, "")
            process.send(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.close()


# The wall clock of this process can be moved by writing seconds into a file.
CLOCK: Final = """
import sys, time
from pathlib import Path
moved, real = Path(sys.argv.pop(1)), time.time
time.time = lambda: real() + float(moved.read_text())
from sidecar.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("step", [86_400.0, -86_400.0], ids=["ahead", "back"])
def test_the_wall_clock_steps(tmp_path: Path, step: float) -> None:
    """A day ahead or back costs no call; the key is looked at anew."""
    moved = tmp_path / "moved"
    moved.write_text("0")
    with RawApi() as api:
        settings = file_settings(tmp_path, api.base_url)
        program = [sys.executable, "-c", CLOCK, str(moved)]
        process = SidecarProcess(tmp_path / "sidecar", settings, program=program)
        try:
            process.wait_ready()
            assert status_of(process.address()) == (200, "")
            moved.write_text(str(step))
            for _ in range(5):
                assert status_of(process.address()) == (200, "")
            wait_until(lambda: process.logs("clock_jumped"), "the jump", 15)
            status = process.status()["upstreams"][UPSTREAM]
            assert status["state"] == "fresh"
            assert status_of(process.address()) == (200, "")
            process.send(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.close()


class Gate:
    """An API that answers when it is let."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, conversation: Conversation) -> None:
        """Wait before the last part of the answer."""
        if conversation.request() is None:
            return
        for part in self.parts[:-1]:
            conversation.send(part)
        self.reached.set()
        self.opened.wait(20)
        conversation.send(self.parts[-1])


def closed(address: str) -> bool:
    """Return whether no process listens any more."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("parts", "sent", "late"),
    [
        pytest.param((OK,), GET, b"", id="waiting-for-the-answer"),
        pytest.param((OK[:20], OK[20:]), GET, b"", id="in-the-answers-head"),
        pytest.param((OK[:-1], OK[-1:]), GET, b"", id="in-the-answer"),
        pytest.param((OK,), POST[:-3], POST[-3:], id="in-the-body"),
    ],
)
def test_sigterm_in_a_call(
    rig: AttackRig, parts: tuple[bytes, ...], sent: bytes, late: bytes
) -> None:
    """The call is finished, its connection closed, new ones are not taken."""
    gate = Gate(*parts)
    rig.api.script = gate
    with RawClient(rig.address) as client:
        client.send(sent)
        if late:
            wait_until(lambda: rig.process.metrics().value("sidecar_inflight_requests"))
        else:
            assert gate.reached.wait(10)
        rig.process.send(signal.SIGTERM)
        wait_until(lambda: closed(rig.address), "the listener to be closed")
        client.send(late)
        gate.opened.set()
        seen = client.answer()
        assert (seen.status, seen.body, seen.whole) == (200, b"ok", True)
        assert client.read() == b""

    assert rig.process.wait() == 0


@pytest.mark.parametrize(
    "sent", [b"", GET[:20], GET], ids=["silent", "in-a-head", "between-calls"]
)
def test_sigterm_between_calls(rig: AttackRig, sent: bytes) -> None:
    """Idle connections are closed at once, without waiting."""
    with RawClient(rig.address) as client:
        client.send(sent)
        if sent == GET:
            assert client.answer().status == PERFECT
        rig.process.send(signal.SIGTERM)
        client.send(b"") if sent != GET[:20] else client.send(GET[20:])
        client.rest()

    assert rig.process.wait() == 0


def test_sigterm_before_the_first_key(tmp_path: Path) -> None:
    """A process that waits for its key ends as well."""
    with RawApi() as api:
        settings = file_settings(tmp_path, api.base_url)
        (tmp_path / "key").unlink()
        process = SidecarProcess(tmp_path / "sidecar", settings)
        try:
            process.wait_listening()
            with RawClient(process.address()) as client:
                client.send(GET)
                wait_until(lambda: process.metrics().value("sidecar_inflight_requests"))
                process.send(signal.SIGTERM)
                seen = client.answer()
            assert (seen.status, seen.code) == (503, "credential_unavailable")
            assert process.wait() == 0
        finally:
            process.close()
