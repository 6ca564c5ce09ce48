"""One call over real sockets: what is sent, and every way to get no answer."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.emulator.ca import Certificate
from sidecar.http_client import (
    MAX_ANSWER_BYTES,
    Fault,
    HttpClient,
    NoAnswer,
    ReceivedResponse,
)

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Peer:
    """Answers each connection with the same bytes, and keeps what came."""

    def __init__(self, answer: bytes, *, tls: Certificate | None = None) -> None:
        self.received: list[bytes] = []
        self._answer = answer
        self._context = tls.server_context() if tls else None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._socket.accept()
                with contextlib.suppress(OSError), plain:
                    self._talk(plain)

    def _talk(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        stream = plain
        if self._context is not None:
            stream = self._context.wrap_socket(plain, server_side=True)
        with stream:
            self.received.append(read_request(stream))
            stream.sendall(self._answer)
            if not self._answer:
                stream.recv(1)  # silent until the caller has had enough

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def read_request(stream: socket.socket) -> bytes:
    """Read a head, and the two bytes of body that our POST has."""
    data = stream.recv(65536)
    while not data.partition(b"\r\n\r\n")[1] or (
        data.startswith(b"POST") and not data.endswith(b"{}")
    ):
        data += stream.recv(65536)
    return data


@contextlib.contextmanager
def peer(answer: bytes, *, tls: Certificate | None = None) -> Iterator[Peer]:
    """A peer for one test."""
    started = Peer(answer, tls=tls)
    try:
        yield started
    finally:
        started.close()


def call(port: int, *, seconds: float = 5.0, path: str = "/v1") -> ReceivedResponse:
    """Call a peer without TLS."""
    caller = HttpClient(f"http://127.0.0.1:{port}{path}", None, seconds, time.monotonic)
    return caller.call("POST", "/keys", {"Authorization": "Bearer x"}, b"{}")


def fault_of(answer: bytes, *, seconds: float = 5.0) -> Fault:
    """Call a peer that answers badly."""
    with peer(answer) as there, pytest.raises(NoAnswer) as caught:
        call(there.port, seconds=seconds)
    assert caught.value.__context__ is None
    return caught.value.fault


def test_a_call_says_what_it_is() -> None:
    """Target under the base path, our headers, the body with its length."""
    with peer(GOOD) as there:
        reply = call(there.port)

        head, _, body = there.received[0].partition(b"\r\n\r\n")
    assert reply == ReceivedResponse(200, b"{}", "OK")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/keys HTTP/1.1"
    assert {b"Accept: application/json", b"Authorization: Bearer x"} <= set(lines)
    assert b"Content-Length: 2" in lines
    assert body == b"{}"


def test_a_redirect_is_an_answer() -> None:
    """Followed, the key would go wherever it points."""
    with peer(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n") as at:
        assert call(at.port).status == 302
        assert len(at.received) == 1


def test_proxies_of_the_environment_do_not_apply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever sets them would see the key."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with peer(GOOD) as there:
        assert call(there.port).status == 200


def test_a_private_authority_is_trusted_when_named(certificate: Certificate) -> None:
    """`ca_file`, and the name is checked."""
    with peer(GOOD, tls=certificate) as there:
        url = f"https://127.0.0.1:{there.port}/v1"
        caller = HttpClient(url, certificate.ca_file, 5.0, time.monotonic)

        assert caller.call("GET", "/", {}, None).status == 200


def test_an_unknown_authority_is_not_trusted(certificate: Certificate) -> None:
    """Nothing is sent."""
    with peer(GOOD, tls=certificate) as there:
        caller = HttpClient(
            f"https://127.0.0.1:{there.port}", None, 5.0, time.monotonic
        )

        with pytest.raises(NoAnswer) as caught:
            caller.call("GET", "/", {}, None)

    assert caught.value.fault is Fault.TLS
    assert there.received == []


def test_no_key_log_is_written(
    certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSLKEYLOGFILE would lay the traffic open."""
    log = tmp_path / "keys.log"
    with peer(GOOD, tls=certificate) as there:
        monkeypatch.setenv("SSLKEYLOGFILE", str(log))
        url = f"https://127.0.0.1:{there.port}"
        HttpClient(url, certificate.ca_file, 5.0, time.monotonic).call(
            "GET", "/", {}, None
        )

    assert not log.exists()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        pytest.param(b"garbage\r\n\r\n", Fault.PROTOCOL, id="garbage"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Fault.PROTOCOL, id="cut"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
            Fault.PROTOCOL,
            id="cut-chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            Fault.PROTOCOL,
            id="bad-chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, Fault.PROTOCOL, id="head"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 1),
            Fault.PROTOCOL,
            id="too-long",
        ),
    ],
)
def test_a_bad_answer_is_none(answer: bytes, fault: Fault) -> None:
    """Nothing of it is kept, not even in the context of the exception."""
    assert fault_of(answer) is fault


def test_silence_ends() -> None:
    """After `call_seconds`."""
    assert fault_of(b"", seconds=0.2) is Fault.TIMEOUT


def test_a_peer_that_is_not_there_is_unreachable() -> None:
    """Connection refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(NoAnswer) as caught:
        call(port)

    assert caught.value.fault is Fault.UNREACHABLE


def test_a_drip_does_not_last_for_ever() -> None:
    """Each piece is in time, the whole is not: by the clock that is handed in."""
    clock = iter([0.0, 1.0, 99.0, 99.0])
    with peer(GOOD) as there:
        caller = HttpClient(
            f"http://127.0.0.1:{there.port}", None, 5.0, lambda: next(clock) * 10
        )

        with pytest.raises(NoAnswer) as caught:
            caller.call("GET", "/", {}, None)

    assert caught.value.fault is Fault.TIMEOUT


def test_a_reply_does_not_show_its_body() -> None:
    """It may hold the plaintext of a key."""
    assert "fln" not in repr(ReceivedResponse(201, b"fln_live_x"))
