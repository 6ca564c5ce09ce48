"""
TLS transport when OpenSSL must read in order to write, or write in order to read.

A real peer does so in the middle of a key update or a renegotiation; here OpenSSL's side
is scripted, so that every order of events is met.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.proxy.tls import HIGH_WATER, TlsTransport

WANT_READ, WANT_WRITE = ssl.SSLWantReadError, ssl.SSLWantWriteError
Outcome = bytes | int | type[OSError]


class Sock:
    """A TLS socket whose results the test sets; 0 or b"" ends nothing by itself."""

    def __init__(self) -> None:
        self.reads: list[Outcome] = []
        self.sends: list[Outcome] = []
        self.sent = b""
        self.said_goodbye = self.closed = False

    def fileno(self) -> int:
        """Return any number: the loop does not use it."""
        return 7

    def recv(self, _: int) -> bytes:
        """Return the next result; without one, no bytes are there."""
        outcome = self.reads.pop(0) if self.reads else WANT_READ
        if isinstance(outcome, bytes):
            return outcome
        assert isinstance(outcome, type)
        raise outcome

    def send(self, data: bytes) -> int:
        """Take as many bytes as the next result says; without one, all."""
        outcome = self.sends.pop(0) if self.sends else len(data)
        if isinstance(outcome, int):
            self.sent += bytes(data[:outcome])
            return outcome
        assert isinstance(outcome, type)
        raise outcome

    def pending(self) -> int:
        """Return how many bytes are already decrypted."""
        return sum(len(one) for one in self.reads if isinstance(one, bytes))

    def unwrap(self) -> None:
        """Record that close_notify was sent."""
        self.said_goodbye = True

    def close(self) -> None:
        """Close."""
        self.closed = True


class Loop:
    """The part of a loop that a transport uses, driven by hand."""

    def __init__(self) -> None:
        self.reader: Callable[[], None] | None = None
        self.writer: Callable[[], None] | None = None
        self.soon: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def add_reader(self, _: int, callback: Callable[[], None]) -> None:
        """Watch for bytes."""
        self.reader = callback

    def remove_reader(self, _: int) -> None:
        """Watch no more."""
        self.reader = None

    def add_writer(self, _: int, callback: Callable[[], None]) -> None:
        """Watch for room."""
        self.writer = callback

    def remove_writer(self, _: int) -> None:
        """Watch no more."""
        self.writer = None

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Keep it for `turn`."""
        self.soon.append((callback, arguments))

    def turn(self) -> None:
        """Do what is due."""
        due, self.soon = self.soon, []
        for callback, arguments in due:
            callback(*arguments)

    def readable(self) -> None:
        """Report that the socket has bytes, if it is watched."""
        if self.reader is not None:
            self.reader()

    def writable(self) -> None:
        """Report that the socket has room, if it is watched."""
        if self.writer is not None:
            self.writer()


class Protocol(asyncio.Protocol):
    """Records its callbacks."""

    def __init__(self) -> None:
        self.received = b""
        self.callbacks: list[str] = []
        self.error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        """Record it."""
        self.received += data

    def pause_writing(self) -> None:
        """Record it."""
        self.callbacks.append("pause")

    def resume_writing(self) -> None:
        """Record it."""
        self.callbacks.append("resume")

    def eof_received(self) -> bool:
        """Stay half open, as a protocol may."""
        self.callbacks.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Record it."""
        self.callbacks.append("lost")
        self.error = exc


class TransportHarness:
    """A transport between a scripted OpenSSL and a recorder."""

    def __init__(self) -> None:
        self.loop, self.sock, self.protocol = Loop(), Sock(), Protocol()
        self.transport = TlsTransport(self.loop, self.sock, self.protocol)  # type: ignore[arg-type]  # all three are fakes

    def settle(self) -> None:
        """Let everything that is due happen."""
        while self.loop.soon:
            self.loop.turn()


@pytest.fixture(name="rig")
def _rig() -> TransportHarness:
    """One for each test."""
    return TransportHarness()


def test_a_write_that_needs_a_read_waits_for_bytes(rig: TransportHarness) -> None:
    """The socket is writable all the time: waiting for that would spin."""
    rig.sock.sends = [WANT_READ]
    rig.transport.write(b"hello")
    assert rig.loop.writer is None
    assert rig.transport.get_write_buffer_size() == 5

    rig.loop.readable()
    assert rig.sock.sent == b"hello"
    assert rig.transport.written == 5
    assert rig.transport.get_write_buffer_size() == 0


def test_a_flush_that_needs_a_read_stops_waiting_for_room(
    rig: TransportHarness,
) -> None:
    """The write is repeated when the bytes have come."""
    rig.sock.sends = [WANT_WRITE, 2, WANT_READ]
    rig.transport.write(b"hello")
    rig.loop.writable()
    assert rig.sock.sent == b"he"
    assert rig.loop.writer is None

    rig.loop.readable()
    assert rig.sock.sent == b"hello"


def test_a_read_that_needs_a_write_waits_for_room(rig: TransportHarness) -> None:
    """The read is repeated when the socket is writable."""
    rig.sock.reads = [WANT_WRITE, b"answer"]
    rig.loop.readable()
    assert rig.loop.writer is not None

    rig.loop.writable()
    assert rig.protocol.received == b"answer"
    assert rig.loop.writer is None


def test_what_is_refused_is_offered_again_with_what_follows(
    rig: TransportHarness,
) -> None:
    """Bytes are sent in order, and never twice."""
    rig.sock.sends = [3, WANT_WRITE, 4, WANT_WRITE]
    rig.transport.write(b"one two")
    rig.transport.write(b" three")
    rig.loop.writable()
    assert rig.sock.sent == b"one"
    rig.loop.writable()
    assert rig.sock.sent == b"one two"
    rig.loop.writable()
    assert rig.sock.sent == b"one two three"
    assert rig.loop.writer is None


def test_a_peer_that_takes_nothing_slows_and_resumes(rig: TransportHarness) -> None:
    """The protocol is paused once above the mark, and resumed once when all is sent."""
    rig.sock.sends = [WANT_WRITE]
    rig.transport.write(b"x" * (HIGH_WATER + 1))
    rig.transport.write(b"y")
    assert rig.protocol.callbacks == ["pause"]

    rig.loop.writable()
    assert rig.protocol.callbacks == ["pause", "resume"]


def test_a_fault_in_a_flush_is_the_end(rig: TransportHarness) -> None:
    """Kept bytes are dropped, and the protocol gets the error."""
    rig.sock.sends = [WANT_WRITE, BrokenPipeError]
    rig.transport.write(b"hello")
    rig.loop.writable()
    rig.loop.turn()

    assert isinstance(rig.protocol.error, BrokenPipeError)
    assert rig.sock.closed
    assert not rig.sock.said_goodbye
    assert rig.loop.reader is rig.loop.writer is None


def test_closing_sends_what_is_kept_first(rig: TransportHarness) -> None:
    """Then close_notify is sent."""
    rig.sock.sends = [WANT_WRITE]
    rig.transport.write(b"hello")
    rig.transport.close()
    rig.transport.close()
    assert not rig.sock.closed

    rig.loop.writable()
    rig.loop.turn()
    assert rig.sock.sent == b"hello"
    assert rig.sock.said_goodbye
    assert rig.protocol.callbacks == ["lost"]


@pytest.mark.parametrize("sends", [[WANT_READ], [WANT_WRITE, WANT_READ]])
def test_closing_in_the_middle_of_a_retry_ends(
    rig: TransportHarness, sends: list[Outcome]
) -> None:
    """close() does not wait for a write that needs a read."""
    rig.sock.sends = sends
    rig.transport.write(b"hello")
    rig.transport.close()
    rig.loop.writable()
    rig.settle()

    assert rig.sock.closed
    assert rig.protocol.callbacks == ["lost"]


def test_closing_twice_in_one_turn_is_once(rig: TransportHarness) -> None:
    """After close() and abort(), `connection_lost` is called once."""
    rig.transport.close()
    rig.transport.abort()
    rig.settle()

    assert rig.protocol.callbacks == ["lost"]


def test_decrypted_bytes_are_read_after_a_pause(rig: TransportHarness) -> None:
    """Decrypted bytes make no socket readable: a resumed transport reads them itself."""
    rig.transport.pause_reading()
    rig.sock.reads = [b"answer"]
    rig.transport.resume_reading()
    rig.loop.turn()

    assert rig.protocol.received == b"answer"


def test_a_pause_holds_against_a_wake_up_under_way(rig: TransportHarness) -> None:
    """A scheduled read does nothing while reading is paused."""
    rig.sock.reads = [b"answer"]
    rig.transport.pause_reading()
    rig.transport.resume_reading()
    rig.transport.pause_reading()
    rig.loop.turn()

    assert rig.protocol.received == b""


def test_a_protocol_may_write_after_the_peers_end(rig: TransportHarness) -> None:
    """The protocol may keep the connection half open and still write."""
    rig.sock.reads = [b""]
    rig.loop.readable()
    rig.transport.write(b"hello")

    assert rig.protocol.callbacks == ["eof"]
    assert rig.sock.sent == b"hello"
    assert rig.loop.reader is None
