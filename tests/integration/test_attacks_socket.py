"""
Who may use the key over a Unix socket: peer credentials, modes, and whose socket it is.

On TCP any local process can make calls; here the kernel says who calls (unix(7),
SO_PEERCRED), and a caller cannot say anything else.
"""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.integration.test_hardening import as_user
from tests.support.processes import (
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import RawApi, RawClient, file_settings

GET: Final = b"GET /contacts HTTP/1.1\r\nHost: %b\r\n\r\n"
FRIEND, STRANGER = 61_001, 61_002
needs_two_users: Final = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be two users"
)

CALL: Final = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(10)
try:
    sock.connect(sys.argv[1])
    sock.sendall(b"GET /contacts HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    print(sock.recv(65536).decode().partition("\\r\\n")[0])
except OSError as error:
    print(type(error).__name__)
"""


def call_as(uid: int, path: Path) -> str:
    """Make a call as another user; return its status line or the error's name."""
    command = as_user(sys.executable, "-c", CALL, str(path))
    command = [part.replace("61234", str(uid)) for part in command]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@contextmanager
def listening(
    tmp_path: Path, path: Path, changes: Settings | None = None
) -> Iterator[tuple[SidecarProcess, RawApi]]:
    """Run a sidecar on a socket."""
    with RawApi() as api:
        upstream = {"listen": f"unix:{path}", **(changes or {})}
        settings = merge(
            file_settings(tmp_path, api.base_url), {"upstreams": {UPSTREAM: upstream}}
        )
        process = SidecarProcess(tmp_path / "sidecar", settings)
        try:
            process.wait_ready()
            yield process, api
        finally:
            process.close()


@needs_two_users
def test_only_the_users_named_are_served(tmp_path: Path, directory: Path) -> None:
    """Other users are disconnected before a byte is read; that holds for root, too."""
    path = directory / "s"
    with listening(tmp_path, path, {"allow_uids": [FRIEND]}) as (process, api):
        assert call_as(FRIEND, path) == "HTTP/1.1 200 OK"
        before = len(api.received)

        assert call_as(STRANGER, path) in {
            "",
            "ConnectionResetError",
            "BrokenPipeError",
        }
        with RawClient(f"unix:{path}") as client:
            client.send(GET % b"localhost")
            assert client.rest() == b""

        assert len(api.received) == before
        told = [line["uid"] for line in process.logs("peer_refused")]
        assert sorted(told) == [0, STRANGER]


@needs_two_users
def test_without_a_list_the_files_mode_keeps_others_out(
    tmp_path: Path, directory: Path
) -> None:
    """The socket is the owner's alone."""
    path = directory / "s"
    with listening(tmp_path, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert call_as(STRANGER, path) == "PermissionError"
        assert call_as(0, path) == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", b"200"),
        (b"", b"200"),
        (b"%2Frun%2Fsidecar%2Fs", b"200"),
        (b"api.example", b"421"),
    ],
    ids=["loopback", "empty", "the-path", "public-name"],
)
def test_the_host_of_a_socket(
    tmp_path: Path, directory: Path, host: bytes, status: bytes
) -> None:
    """Clients of a socket send its path or no host; a public name is refused."""
    path = directory / "s"
    with listening(tmp_path, path), RawClient(f"unix:{path}") as client:
        client.send(GET % host)
        client.answer()
        assert client.raw.startswith(b"HTTP/1.1 " + status)


def stale(path: Path) -> None:
    """Leave a socket without a listener, as a killed process does."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def regular(path: Path) -> None:
    """Leave a file of another program."""
    path.write_text("precious")


@pytest.mark.parametrize(
    ("leave", "starts"), [(stale, True), (regular, False)], ids=["stale", "file"]
)
def test_what_is_in_the_way(
    tmp_path: Path, directory: Path, leave: Callable[[Path], None], starts: bool
) -> None:
    """A dead socket is replaced; anything else is left alone, and told of."""
    path = directory / "s"
    leave(path)
    if starts:
        with listening(tmp_path, path), RawClient(f"unix:{path}") as client:
            client.send(GET % b"localhost")
            assert client.answer().status == 200
        return
    upstream = {"upstreams": {UPSTREAM: {"listen": f"unix:{path}"}}}
    settings = merge(file_settings(tmp_path, "https://api.example/v1"), upstream)
    process = SidecarProcess(tmp_path / "sidecar", settings)
    try:
        assert process.wait() == 2
        assert f"upstreams.{UPSTREAM}.listen" in process.output()
    finally:
        process.close()
    assert path.read_text() == "precious"


def test_a_socket_in_use_is_not_taken_over(tmp_path: Path, directory: Path) -> None:
    """A second sidecar ends; the first one serves on."""
    path = directory / "s"
    with listening(tmp_path, path):
        upstream = {"upstreams": {UPSTREAM: {"listen": f"unix:{path}"}}}
        settings = merge(file_settings(tmp_path, "https://api.example/v1"), upstream)
        second = SidecarProcess(tmp_path / "second", settings)
        try:
            assert second.wait() == 2
        finally:
            second.close()
        wait_until(path.is_socket)
        with RawClient(f"unix:{path}") as client:
            client.send(GET % b"localhost")
            assert client.answer().status == 200
