"""
A server that makes new keys while calls are under way: renegotiation, key updates.

`openssl s_server` does both at a command. The records of it come where an answer is
expected and ask for an answer of ours, whether we were about to write or not.
"""

import fcntl
import subprocess
import termios
import threading
from pathlib import Path
from typing import Final, Self

import pytest

from sidecar.emulator.ca import Certificate
from tests.support.attack_rig import HOST, limits
from tests.support.processes import UPSTREAM, SidecarProcess, merge, wait_until
from tests.support.raw_http import KEY, RawClient, file_settings

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
BODY: Final = b"0123456789"
PIECES: Final = [b"HTTP/1.1 200 ", b"OK\r\nContent-Length: 10\r\n\r\n01234", b"56789"]


class OpensslServer:
    """`openssl s_server`: prints what it hears, sends what it reads; a context manager."""

    def __init__(self, certificate: Certificate, version: str) -> None:
        self._process = subprocess.Popen(
            [
                *("openssl", "s_server", "-accept", "127.0.0.1:0", version),
                *("-cert", str(certificate.certificate_file)),
                *("-key", str(certificate.key_file)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._heard = b""
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read(4096):
            self._heard += data

    @property
    def port(self) -> int:
        """Where it listens, as soon as it says so."""

        def find() -> int | None:
            _, found, after = self._heard.partition(b"ACCEPT 127.0.0.1:")
            return int(after.split()[0]) if found and b"\n" in after else None

        return wait_until(find, "the port")

    @property
    def connections(self) -> int:
        """How many handshakes it has seen, but for later ones of a connection."""
        return self._heard.count(b"CIPHER is ")

    def send(self, data: bytes) -> None:
        """Send to the client, in one piece; a first letter may be a command."""
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(data)
        left = bytearray(4)

        def taken() -> bool:
            fcntl.ioctl(pipe, termios.FIONREAD, left)
            return not any(left)

        wait_until(taken, "the server to read")

    def wait_calls(self, count: int) -> None:
        """Wait until it has heard so many calls, whole."""
        wait_until(lambda: self._heard.count(b"\r\n\r\n") >= count, "a call")

    def command(self, letter: str) -> None:
        """Make it do something; what is sent next is sent after that."""
        self.send(f"{letter}\n".encode())

    def quit(self) -> int:
        """End it in order; returns how often it made new keys, which it tells at last."""
        self.command("Q")
        self._process.wait(10)
        self._reader.join()
        return self._heard.count(b"SSL_do_handshake -> 1")

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


COMMANDS: Final = [
    pytest.param("-tls1_2", "r", id="renegotiation"),
    pytest.param("-tls1_2", "R", id="renegotiation-with-our-certificate"),
    pytest.param("-tls1_3", "k", id="key-update"),
    pytest.param("-tls1_3", "K", id="key-update-of-both-sides"),
]


@pytest.mark.parametrize(("version", "letter"), COMMANDS)
def test_new_keys_in_every_phase(
    certificate: Certificate, tmp_path: Path, version: str, letter: str
) -> None:
    """Before an answer, within its head and its body, and between two calls."""
    with OpensslServer(certificate, version) as server:
        base = file_settings(tmp_path, f"https://127.0.0.1:{server.port}/v1")
        trust = {"upstreams": {UPSTREAM: {"ca_file": str(certificate.ca_file)}}}
        fast = merge(limits(response_seconds=10, idle_seconds=10), trust)
        process = SidecarProcess(tmp_path / "sidecar", merge(base, fast))
        try:
            process.wait_ready()
            with RawClient(process.address()) as client:
                for calls in (1, 2):
                    client.send(GET)
                    server.wait_calls(calls)
                    for piece in PIECES:
                        server.command(letter)
                        server.send(piece)
                    server.command(letter)
                    seen = client.answer()
                    assert (seen.status, seen.code, seen.body) == (200, "", BODY)
                    assert seen.whole
            assert server.connections == 1, "the connection is kept"
            assert server.quit() == 2 * (len(PIECES) + 1)
            assert process.logs("internal_error") == []
            process.assert_never_shown(KEY)
        finally:
            process.close()
