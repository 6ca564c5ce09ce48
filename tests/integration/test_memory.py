"""
Memory is bounded whatever the size of a body, and however slowly it is taken.

256 MiB each way through a real process: bodies are streamed, so it stays under 120 MB.
`SIDECAR_BODY_MIB=1024` does the same with a GiB.
"""

import hashlib
import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.ca import Certificate
from tests.support.processes import UPSTREAM, SidecarProcess, merge, wait_until
from tests.support.raw_http import (
    KEY,
    OK,
    Conversation,
    RawApi,
    RawClient,
    file_settings,
)

MEBI: Final = 1 << 20
SIZE: Final = int(os.environ.get("SIDECAR_BODY_MIB", "256")) * MEBI
MOST: Final = 120_000_000
BLOCK: Final = bytes(range(256)) * 256
SAMPLES: Final = 32
"""How often memory is looked at on the way."""
STILL: Final = 10
"""RefreshSchedule in a row that find no byte moved: the process waits."""

pytestmark = pytest.mark.timeout(240)


class Gauge:
    """RefreshSchedule at a process on the way, and keeps the most that it took."""

    def __init__(self, process: SidecarProcess) -> None:
        self._process = process
        self._due = 0
        self._before = bytes_read(process)
        self.most = 0

    def at(self, done: int) -> None:
        """Look at its memory, if enough has been done since the last time."""
        if done >= self._due:
            self._due = done + SIZE // SAMPLES
            self.most = max(self.most, self._process.memory_bytes())

    @property
    def read(self) -> int:
        """How much it has read: nearly nothing but bodies."""
        return bytes_read(self._process) - self._before

    def wait_still(self) -> None:
        """Wait until it reads no more, because its own buffers are full."""
        seen: list[int] = []

        def still() -> bool:
            seen.append(self.read)
            return len(seen) > STILL and len(set(seen[-STILL:])) == 1

        wait_until(still, "a process that waits", 20)


def bytes_read(process: SidecarProcess) -> int:
    """Return how much a process has read since its start, from files and sockets."""
    first = Path(f"/proc/{process.pid}/io").read_text().splitlines()[0]
    return int(first.removeprefix("rchar: "))


@pytest.fixture(name="streaming", scope="module")
def _streaming(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SidecarProcess]:
    """A sidecar before an API (TLS) that streams as fast as it is let."""
    directory = tmp_path_factory.mktemp("memory")
    with EmulatedApi(directory / "api", certificate=certificate) as api:
        issued = api.issue()
        settings = file_settings(directory, api.base_url, issued.key)
        ca_file = {"upstreams": {UPSTREAM: {"ca_file": str(certificate.ca_file)}}}
        process = SidecarProcess(directory / "sidecar", merge(settings, ca_file))
        try:
            process.wait_ready()
            yield process
            process.assert_never_shown(issued.key)
        finally:
            process.close()


@pytest.mark.parametrize("chunked", [0, 1], ids=["length", "chunks"])
def test_a_large_download_to_a_slow_reader(
    streaming: SidecarProcess, chunked: int
) -> None:
    """It waits at the API while the reader rests, and arrives whole."""
    gauge = Gauge(streaming)
    target = f"/big?bytes={SIZE}&chunked={chunked}"
    digest, read = hashlib.sha256(), 0
    with RawClient(streaming.address()) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: gauge.read > MEBI, "the answer's beginning")
        gauge.wait_still()
        assert gauge.read < SIZE // 4, "it was read although nobody took it"
        answer = http.client.HTTPResponse(client.sock)
        answer.begin()
        while data := answer.read(len(BLOCK)):
            digest.update(data)
            read += len(data)
            gauge.at(read)

    assert read == SIZE
    assert digest.hexdigest() == answer.headers["X-Content-SHA256"]
    assert gauge.read >= SIZE
    assert gauge.most < MOST, gauge.most


def upload(client: RawClient, gauge: Gauge, *, chunked: bool) -> str:
    """Send a large body; returns its digest."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    head = f"PUT /upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"
    client.send(head.encode())
    piece = b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK
    digest = hashlib.sha256()
    for number in range(SIZE // len(BLOCK)):
        client.sock.sendall(piece)
        digest.update(BLOCK)
        gauge.at(number * len(BLOCK))
    client.send(b"0\r\n\r\n" if chunked else b"")
    return digest.hexdigest()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_large_upload(streaming: SidecarProcess, chunked: bool) -> None:
    """Sent on as it comes, and whole: the API tells the digest."""
    gauge = Gauge(streaming)
    with RawClient(streaming.address()) as client:
        client.sock.settimeout(60)
        digest = upload(client, gauge, chunked=chunked)
        answer = http.client.HTTPResponse(client.sock, method="PUT")
        answer.begin()
        told = answer.read()

    assert answer.status == 201
    assert digest.encode() in told
    assert gauge.read >= SIZE
    assert gauge.most < MOST, gauge.most


def test_a_large_upload_to_a_slow_api(tmp_path: Path) -> None:
    """It waits at the service while the API rests."""
    rested = threading.Event()
    taken: list[int] = []

    def slow(conversation: Conversation) -> None:
        head, _, first = conversation.sock.recv(4096).partition(b"\r\n\r\n")
        assert b"Content-Length" in head
        rested.wait(60)
        total = len(first)
        while total < SIZE:
            total += len(conversation.sock.recv(len(BLOCK)))
        taken.append(total)
        conversation.send(OK)

    with RawApi() as api:
        api.script = slow
        process = SidecarProcess(
            tmp_path / "sidecar", file_settings(tmp_path / "key", api.base_url)
        )
        try:
            process.wait_ready()
            gauge = Gauge(process)
            with RawClient(process.address()) as client:
                client.sock.settimeout(60)
                sender = threading.Thread(
                    target=upload, args=(client, gauge), kwargs={"chunked": False}
                )
                sender.start()
                wait_until(lambda: gauge.read > MEBI, "the body's beginning")
                gauge.wait_still()
                stopped_at = gauge.read
                rested.set()
                sender.join()
                assert client.answer().status == 200
            process.assert_never_shown(KEY)
        finally:
            rested.set()
            process.close()

    assert stopped_at < SIZE // 4, "it was read although nobody took it"
    assert taken == [SIZE]
    assert gauge.most < MOST, gauge.most
