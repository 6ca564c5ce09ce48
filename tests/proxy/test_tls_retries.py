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
    """A TLS socket whose next answers the test gives; 0 or b"" ends nothing by itself."""

    def __init__(self) -> None:
        self.reads: list[Outcome] = []
        self.sends: list[Outcome] = []
        self.sent = b""
        self.said_goodbye = self.closed = False

    def fileno(self) -> int:
        """Any number: nobody selects on it."""
        return 7

    def recv(self, _: int) -> bytes:
        """Give the next answer; without one, nothing is there."""
        outcome = self.reads.pop(0) if self.reads else WANT_READ
        if isinstance(outcome, bytes):
            return outcome
        assert isinstance(outcome, type)
        raise outcome

    def send(self, data: bytes) -> int:
        """Take so many bytes of it; without an answer, all."""
        outcome = self.sends.pop(0) if self.sends else len(data)
        if isinstance(outcome, int):
            self.sent += bytes(data[:outcome])
            return outcome
        assert isinstance(outcome, type)
        raise outcome

    def pending(self) -> int:
        """Tell how much is decrypted already."""
        return sum(len(one) for one in self.reads if isinstance(one, bytes))

    def unwrap(self) -> None:
        """Say close_notify."""
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
        """Say that the socket has bytes, if anybody watches."""
        if self.reader is not None:
            self.reader()

    def writable(self) -> None:
        """Say that the socket has room, if anybody watches."""
        if self.writer is not None:
            self.writer()


class Protocol(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.received = b""
        self.told: list[str] = []
        self.error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def pause_writing(self) -> None:
        """Keep it."""
        self.told.append("pause")

    def resume_writing(self) -> None:
        """Keep it."""
        self.told.append("resume")

    def eof_received(self) -> bool:
        """Stay half open, as a protocol may."""
        self.told.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep it."""
        self.told.append("lost")
        self.error = exc


class Rig:
    """A transport between a scripted OpenSSL and a recorder."""

    def __init__(self) -> None:
        self.loop, self.sock, self.protocol = Loop(), Sock(), Protocol()
        self.transport = TlsTransport(self.loop, self.sock, self.protocol)  # type: ignore[arg-type]  # all three are fakes

    def settle(self) -> None:
        """Let everything that is due happen."""
        while self.loop.soon:
            self.loop.turn()


@pytest.fixture(name="rig")
def _rig() -> Rig:
    """One for each test."""
    return Rig()


def test_a_write_that_needs_a_read_waits_for_bytes(rig: Rig) -> None:
    """The socket has room all the time: to wait for room would be to spin."""
    rig.sock.sends = [WANT_READ]
    rig.transport.write(b"hello")
    assert rig.loop.writer is None
    assert rig.transport.get_write_buffer_size() == 5

    rig.loop.readable()
    assert rig.sock.sent == b"hello"
    assert rig.transport.written == 5
    assert rig.transport.get_write_buffer_size() == 0


def test_a_flush_that_needs_a_read_stops_waiting_for_room(rig: Rig) -> None:
    """And goes on when the bytes are there."""
    rig.sock.sends = [WANT_WRITE, 2, WANT_READ]
    rig.transport.write(b"hello")
    rig.loop.writable()
    assert rig.sock.sent == b"he"
    assert rig.loop.writer is None

    rig.loop.readable()
    assert rig.sock.sent == b"hello"


def test_a_read_that_needs_a_write_waits_for_room(rig: Rig) -> None:
    """Then it is read without another wake-up."""
    rig.sock.reads = [WANT_WRITE, b"answer"]
    rig.loop.readable()
    assert rig.loop.writer is not None

    rig.loop.writable()
    assert rig.protocol.received == b"answer"
    assert rig.loop.writer is None


def test_what_is_refused_is_offered_again_with_what_follows(rig: Rig) -> None:
    """In order, and never twice."""
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


def test_a_peer_that_takes_nothing_slows_and_resumes(rig: Rig) -> None:
    """Above the mark the protocol is told once, and once when all is sent."""
    rig.sock.sends = [WANT_WRITE]
    rig.transport.write(b"x" * (HIGH_WATER + 1))
    rig.transport.write(b"y")
    assert rig.protocol.told == ["pause"]

    rig.loop.writable()
    assert rig.protocol.told == ["pause", "resume"]


def test_a_fault_in_a_flush_is_the_end(rig: Rig) -> None:
    """What was kept is dropped; the protocol hears of the fault."""
    rig.sock.sends = [WANT_WRITE, BrokenPipeError]
    rig.transport.write(b"hello")
    rig.loop.writable()
    rig.loop.turn()

    assert isinstance(rig.protocol.error, BrokenPipeError)
    assert rig.sock.closed
    assert not rig.sock.said_goodbye
    assert rig.loop.reader is rig.loop.writer is None


def test_closing_sends_what_is_kept_first(rig: Rig) -> None:
    """Then says close_notify."""
    rig.sock.sends = [WANT_WRITE]
    rig.transport.write(b"hello")
    rig.transport.close()
    rig.transport.close()
    assert not rig.sock.closed

    rig.loop.writable()
    rig.loop.turn()
    assert rig.sock.sent == b"hello"
    assert rig.sock.said_goodbye
    assert rig.protocol.told == ["lost"]


@pytest.mark.parametrize("sends", [[WANT_READ], [WANT_WRITE, WANT_READ]])
def test_closing_in_the_middle_of_a_retry_ends(rig: Rig, sends: list[Outcome]) -> None:
    """A write that needs a read is not waited for when nobody reads any more."""
    rig.sock.sends = sends
    rig.transport.write(b"hello")
    rig.transport.close()
    rig.loop.writable()
    rig.settle()

    assert rig.sock.closed
    assert rig.protocol.told == ["lost"]


def test_closing_twice_in_one_turn_is_once(rig: Rig) -> None:
    """Closed, then aborted before its end came: the protocol hears of one end."""
    rig.transport.close()
    rig.transport.abort()
    rig.settle()

    assert rig.protocol.told == ["lost"]


def test_decrypted_bytes_are_read_after_a_pause(rig: Rig) -> None:
    """They make no socket readable: a resumed transport looks for them itself."""
    rig.transport.pause_reading()
    rig.sock.reads = [b"answer"]
    rig.transport.resume_reading()
    rig.loop.turn()

    assert rig.protocol.received == b"answer"


def test_a_pause_holds_against_a_wake_up_under_way(rig: Rig) -> None:
    """What was about to be read waits."""
    rig.sock.reads = [b"answer"]
    rig.transport.pause_reading()
    rig.transport.resume_reading()
    rig.transport.pause_reading()
    rig.loop.turn()

    assert rig.protocol.received == b""


def test_a_protocol_may_write_after_the_peers_end(rig: Rig) -> None:
    """Half open: the end of reading is not the end of writing."""
    rig.sock.reads = [b""]
    rig.loop.readable()
    rig.transport.write(b"hello")

    assert rig.protocol.told == ["eof"]
    assert rig.sock.sent == b"hello"
    assert rig.loop.reader is None
