"""TLS transport: real sockets, a real TLS server in a thread, every awkward order of events."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sidecar.emulator.ca import Certificate, make_certificate
from sidecar.proxy.connect import tls_context
from sidecar.proxy.tls import HIGH_WATER, RECORD, TlsTransport
from tests.support.proxy_rig import until


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A server certificate for localhost."""
    return make_certificate(tmp_path_factory.mktemp("ca"))


class Recorder(asyncio.Protocol):
    """A protocol that records its callbacks."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.pieces = 0
        self.paused = 0
        self.resumed = 0
        self.eof = False
        self.lost = asyncio.Event()
        self.error: Exception | None = None
        self.wanted: tuple[int, asyncio.Event] | None = None

    def data_received(self, data: bytes) -> None:
        """Record it."""
        self.received += data
        self.pieces += 1
        if self.wanted and len(self.received) >= self.wanted[0]:
            self.wanted[1].set()

    def pause_writing(self) -> None:
        """Count it."""
        self.paused += 1

    def resume_writing(self) -> None:
        """Count it."""
        self.resumed += 1

    def eof_received(self) -> bool:
        """Keep it; let the transport close."""
        self.eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Record it."""
        self.error = exc
        self.lost.set()

    async def wait(self, size: int) -> bytes:
        """Return what came, once it is at least so much."""
        self.wanted = (size, asyncio.Event())
        if len(self.received) < size:
            async with asyncio.timeout(10):
                await self.wanted[1].wait()
        return bytes(self.received)


Server = Callable[[ssl.SSLSocket], None]
Connect = Callable[[Server], Any]


@pytest.fixture(name="connect")
async def _connect(certificate: Certificate) -> AsyncIterator[Connect]:
    """Connect a transport to a server that does what the test says, in a thread."""
    threads: list[threading.Thread] = []
    opened: list[TlsTransport] = []

    async def connect(serve: Server) -> tuple[TlsTransport, Recorder]:
        left, right = socket.socketpair()

        def run() -> None:
            context = certificate.server_context()
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(left, server_side=True) as tls,
            ):
                serve(tls)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        context = tls_context(str(certificate.ca_file))
        tls = await asyncio.to_thread(
            context.wrap_socket,
            right,
            server_hostname="localhost",
            suppress_ragged_eofs=False,
        )
        tls.setblocking(False)
        protocol = Recorder()
        transport = TlsTransport(asyncio.get_running_loop(), tls, protocol)
        opened.append(transport)
        return transport, protocol

    yield connect
    for transport in opened:
        transport.abort()
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)


def read_exactly(tls: ssl.SSLSocket, size: int) -> bytes:
    """Read so many bytes, or as many as come."""
    data = b""
    while len(data) < size:
        chunk = tls.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return data


def echo(tls: ssl.SSLSocket) -> None:
    """Send everything back until the end."""
    while data := tls.recv(65536):
        tls.sendall(data)
    tls.unwrap()


async def test_bytes_go_there_and_back(connect: Connect) -> None:
    """What is written arrives, and what the peer writes is received."""
    transport, protocol = await connect(echo)
    transport.write(b"ping")

    assert await protocol.wait(4) == b"ping"
    assert transport.written == 4


async def test_large_writes_survive_a_slow_reader(connect: Connect) -> None:
    """Bytes that the socket does not take are kept in order, and `pause_writing` is called."""
    size = 4 << 20
    go = threading.Event()
    got = []

    def slow(tls: ssl.SSLSocket) -> None:
        go.wait(10)
        got.append(read_exactly(tls, size))
        tls.sendall(b"done")

    transport, protocol = await connect(slow)
    data = bytes(range(256)) * (size // 256)
    for start in range(0, size, 100_000):
        transport.write(data[start : start + 100_000])
    kept = transport.get_write_buffer_size()
    go.set()
    await protocol.wait(4)

    assert kept > HIGH_WATER
    assert got == [data]
    assert protocol.paused == protocol.resumed == 1
    assert transport.get_write_buffer_size() == 0


async def test_full_records_are_gathered(connect: Connect) -> None:
    """A large answer comes in few, large pieces and without loss."""
    data = bytes(range(256)) * 8192

    transport, protocol = await connect(lambda tls: tls.sendall(data))
    del transport
    received = await protocol.wait(len(data))

    assert received == data
    assert protocol.pieces < len(data) / RECORD


async def test_a_paused_reader_gets_nothing_until_it_resumes(connect: Connect) -> None:
    """pause_reading stops the flow, resume_reading loses nothing."""
    data = b"x" * (RECORD * 64)
    sent = threading.Event()

    def send(tls: ssl.SSLSocket) -> None:
        tls.sendall(data)
        sent.set()
        tls.recv(1)

    transport, protocol = await connect(send)
    transport.pause_reading()
    transport.pause_reading()
    before = len(protocol.received)
    transport.resume_reading()
    transport.resume_reading()
    received = await protocol.wait(len(data))

    assert before == 0
    assert received == data


async def test_close_notify_is_a_clean_end(connect: Connect) -> None:
    """close_notify is reported as an end of file, after the last bytes."""

    def goodbye(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"bye")
        tls.unwrap()

    _, protocol = await connect(goodbye)
    await asyncio.wait_for(protocol.lost.wait(), 10)

    assert bytes(protocol.received) == b"bye"
    assert protocol.eof
    assert protocol.error is None


@pytest.mark.parametrize("size", [3, RECORD, RECORD * 3], ids=["short", "full", "many"])
async def test_an_end_without_close_notify_is_an_error(
    connect: Connect, size: int
) -> None:
    """A cut connection is not a clean end, and the bytes before the cut are delivered."""

    def cut(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"x" * size)
        socket.socket(fileno=tls.detach()).close()

    _, protocol = await connect(cut)
    await asyncio.wait_for(protocol.lost.wait(), 10)

    assert len(protocol.received) == size
    assert not protocol.eof
    assert isinstance(protocol.error, ssl.SSLError)


@pytest.mark.parametrize("size", [RECORD, RECORD * 2], ids=["one", "two"])
async def test_close_notify_after_full_records(connect: Connect, size: int) -> None:
    """The end is seen although the socket may never become readable again."""
    hold = threading.Event()

    def goodbye(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"x" * size)
        with contextlib.suppress(OSError):
            tls.settimeout(0.01)
            tls.unwrap()
        hold.wait(10)

    _, protocol = await connect(goodbye)
    await asyncio.wait_for(protocol.lost.wait(), 5)
    hold.set()

    assert len(protocol.received) == size
    assert protocol.eof


async def test_our_close_is_announced(connect: Connect) -> None:
    """close() flushes and sends close_notify, so that the peer sees a clean end."""
    ends: list[bytes] = []

    def listen(tls: ssl.SSLSocket) -> None:
        tls.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # not in the stubs
        ends.append(read_exactly(tls, 10_000_000))

    transport, protocol = await connect(listen)
    transport.write(b"y" * 3_000_000)
    transport.close()
    transport.close()
    await asyncio.wait_for(protocol.lost.wait(), 10)

    assert transport.is_closing()
    assert protocol.error is None
    await until(lambda: ends)
    assert ends == [b"y" * 3_000_000]


async def test_abort_drops_what_is_kept(connect: Connect) -> None:
    """abort() does not wait for a peer that does not read."""
    go = threading.Event()

    def hold(_: ssl.SSLSocket) -> None:
        go.wait(10)

    transport, protocol = await connect(hold)
    transport.write(b"z" * 8_000_000)
    transport.abort()
    await asyncio.wait_for(protocol.lost.wait(), 10)
    go.set()

    assert transport.get_write_buffer_size() == 0


async def test_a_write_to_a_dead_peer_is_told(connect: Connect) -> None:
    """A failed write ends in connection_lost, never in an exception for the writer."""
    dead = threading.Event()

    def die(tls: ssl.SSLSocket) -> None:
        socket.socket(fileno=tls.detach()).close()
        dead.set()

    transport, protocol = await connect(die)
    transport.pause_reading()
    assert await asyncio.to_thread(dead.wait, 10)
    for _ in range(3):
        transport.write(b"x" * 100_000)
    await asyncio.wait_for(protocol.lost.wait(), 10)
    transport.write(b"after the end")

    assert protocol.error is not None


async def test_what_a_transport_tells_of_itself(connect: Connect) -> None:
    """`get_extra_info` returns the socket; anything else is the default."""
    transport, _ = await connect(echo)
    transport.writelines([b"a", b"b"])
    transport.write(b"")

    assert isinstance(transport.get_extra_info("socket"), ssl.SSLSocket)
    assert transport.get_extra_info("peername", "none") == "none"


@pytest.mark.parametrize("kept", [0, 10_000_000], ids=["at-once", "with-a-backlog"])
async def test_what_came_before_a_failed_write_is_delivered(
    connect: Connect, kept: int
) -> None:
    """An API answers after the head, and closes while the body is sent."""
    go, gone = threading.Event(), threading.Event()

    def refuse(tls: ssl.SSLSocket) -> None:
        go.wait(10)
        tls.sendall(b"413")
        tls.close()
        gone.set()

    transport, protocol = await connect(refuse)
    transport.write(b"x" * kept)
    go.set()
    gone.wait(10)  # the loop has seen nothing of it
    transport.write(b"more")
    async with asyncio.timeout(10):
        await protocol.lost.wait()

    assert bytes(protocol.received) == b"413"
    assert transport.is_closing()
