"""
Faults of TLS towards the API: whom we must not trust, and ends that are not clean.

A server that cannot prove its name is never sent the key. An end of the connection that
is not announced (`close_notify`) is never the end of an answer: anybody on the way can
forge it (RFC 9112, 9.8).
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from sidecar.emulator.ca import Certificate, ensure_certificate, make_certificate
from tests.support.attack_rig import HOST, limits
from tests.support.processes import UPSTREAM, SidecarProcess, merge
from tests.support.raw_http import (
    KEY,
    RESET,
    SECONDS,
    RawClient,
    Seen,
    file_settings,
)

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
UNTIL_CLOSE: Final = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhal."
Serve = Callable[[socket.socket, ssl.SSLContext], None]


class TlsPeer:
    """An API that does with each connection what it is told, and keeps what came."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.serve: Serve = self.answer
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(SECONDS)
            with suppress(OSError), sock:
                self.serve(sock, self.context)

    def answer(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Answer one call by the book."""
        with context.wrap_socket(sock, server_side=True) as tls:
            self.received += tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            tls.unwrap()

    def end_with_notice(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Answer until the close, and announce it."""
        with context.wrap_socket(sock, server_side=True) as tls:
            self.received += tls.recv(65536)
            tls.sendall(UNTIL_CLOSE)
            tls.unwrap()

    def end_without(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Answer until the close, and close as an attacker would: below TLS."""
        tls = context.wrap_socket(sock, server_side=True)
        self.received += tls.recv(65536)
        tls.sendall(UNTIL_CLOSE)
        tls.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            socket.socket.recv(tls, 1)
        socket.socket.close(tls)

    def forge_notice(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Answer until the close, and forge its announcement without the keys."""
        self.forge(sock, context, b"\x15\x03\x03\0\x02\x01\0")

    def forge_record(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Continue with a record that an attacker on the path made."""
        self.forge(sock, context, b"\x17\x03\x03\0\x40" + b"x" * 64)

    def forge(
        self, sock: socket.socket, context: ssl.SSLContext, record: bytes
    ) -> None:
        """Answer until the close, send this below TLS, and close."""
        tls = context.wrap_socket(sock, server_side=True)
        self.received += tls.recv(65536)
        tls.sendall(UNTIL_CLOSE)
        socket.socket.sendall(tls, record)
        with suppress(OSError):
            socket.socket.recv(tls, 1)
        socket.socket.close(tls)

    def say_nothing(self, sock: socket.socket, _: ssl.SSLContext) -> None:
        """Take the ClientHello, and nothing more."""
        while sock.recv(65536):
            pass

    def hang_up(self, sock: socket.socket, _: ssl.SSLContext) -> None:
        """Close in the handshake: with all of it read, FIN."""
        sock.recv(65536)

    def hang_up_early(self, sock: socket.socket, _: ssl.SSLContext) -> None:
        """Close in the handshake: what is unread makes it an RST."""
        sock.recv(5)

    def reset(self, sock: socket.socket, _: ssl.SSLContext) -> None:
        """Reset in the handshake, with all of it read."""
        sock.recv(65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def speak_plainly(self, sock: socket.socket, _: ssl.SSLContext) -> None:
        """Be an HTTP server without TLS."""
        self.received += sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    def stop(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thread.join()


@dataclass(frozen=True)
class TlsFaultRig:
    """A sidecar before such an API."""

    api: TlsPeer
    process: SidecarProcess
    good: Certificate

    def call(self, certificate: Certificate, serve: str = "answer") -> Seen:
        """Make a call to an API that has this certificate, and does this."""
        self.api.context = certificate.server_context()
        return self.call_as(serve)

    def call_as(self, serve: str) -> Seen:
        """Make a call to an API that does this."""
        self.api.serve = getattr(self.api, serve)
        self.api.received = b""
        with RawClient(self.process.address()) as client:
            client.send(GET)
            return client.answer()


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFaultRig]:
    """One sidecar; what it trusts are the authorities of all rows but one."""
    directory = tmp_path_factory.mktemp("tls")
    certificates = [make(directory / make.__name__) for make in TRUSTED]
    bundle = directory / "authorities.pem"
    bundle.write_bytes(b"".join(one.ca_file.read_bytes() for one in certificates))
    api = TlsPeer(certificates[0].server_context())
    api.thread.start()
    base = file_settings(directory, f"https://127.0.0.1:{api.port}/v1")
    changes = {"upstreams": {UPSTREAM: {"ca_file": str(bundle)}}}
    fast = merge(limits(connect_seconds=1, response_seconds=1), changes)
    process = SidecarProcess(directory / "sidecar", merge(base, fast))
    try:
        process.wait_ready()
        yield TlsFaultRig(api, process, certificates[0])
        assert not process.logs("internal_error")
        process.assert_never_shown(KEY)
    finally:
        process.close()
        api.stop()


def good(directory: Path) -> Certificate:
    """Make one as it should be."""
    return ensure_certificate(directory)


def expired(directory: Path) -> Certificate:
    """Make one that was good until yesterday."""
    begin, length = -timedelta(days=9), timedelta(days=8)
    return make_certificate(directory, starts=begin, lifetime=length)


def not_yet(directory: Path) -> Certificate:
    """Make one that will be good tomorrow."""
    return make_certificate(directory, starts=timedelta(days=1))


def other_name(directory: Path) -> Certificate:
    """Make one for another machine."""
    return make_certificate(directory, names=["api.flownally.com", "10.0.0.1"])


def other_authority(directory: Path) -> Certificate:
    """Make one for this machine, by a CA that the sidecar does not trust."""
    return make_certificate(directory)


TRUSTED: Final = [good, expired, not_yet, other_name]


@pytest.mark.parametrize("make", [expired, not_yet, other_name, other_authority])
def test_a_server_that_cannot_prove_its_name_gets_no_key(
    rig: TlsFaultRig, make: Callable[[Path], Certificate]
) -> None:
    """502 `upstream_tls`, and not a byte of the call."""
    directory = rig.process.config.parent.parent
    seen = rig.call(ensure_certificate(directory / make.__name__))

    assert (seen.status, seen.code) == (502, "upstream_tls")
    assert rig.api.received == b""


@pytest.mark.parametrize(
    ("serve", "status", "code"),
    [
        pytest.param("answer", 200, "", id="good"),
        pytest.param("say_nothing", 504, "upstream_timeout", id="mute"),
        pytest.param("hang_up", 502, "upstream_tls", id="cut-in-handshake"),
        pytest.param("hang_up_early", 502, "upstream_tls", id="cut-with-bytes-unread"),
        pytest.param("reset", 502, "upstream_tls", id="reset-in-handshake"),
        pytest.param("speak_plainly", 502, "upstream_tls", id="no-tls"),
    ],
)
def test_a_handshake_that_goes_wrong(
    rig: TlsFaultRig, serve: str, status: int, code: str
) -> None:
    """It never ends in a call without TLS."""
    seen = rig.call(rig.good, serve)

    assert (seen.status, seen.code) == (status, code)
    assert (b"GET /v1/contacts" in rig.api.received) == (status == 200)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_old_version_of_tls_is_refused(rig: TlsFaultRig) -> None:
    """TLS 1.1 and older are broken (RFC 8996)."""
    rig.api.context = rig.good.server_context()
    rig.api.context.set_ciphers("DEFAULT:@SECLEVEL=0")
    rig.api.context.minimum_version = ssl.TLSVersion.TLSv1
    rig.api.context.maximum_version = ssl.TLSVersion.TLSv1_1
    seen = rig.call_as("answer")

    assert (seen.status, seen.code) == (502, "upstream_tls")
    assert rig.api.received == b""


@pytest.mark.parametrize(
    ("serve", "whole"),
    [
        pytest.param("end_with_notice", True, id="close-notify"),
        pytest.param("end_without", False, id="no-close-notify"),
        pytest.param("forge_notice", False, id="forged-close-notify"),
        pytest.param("forge_record", False, id="forged-record"),
    ],
)
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_an_end_without_close_notify_is_a_cut(
    rig: TlsFaultRig, serve: str, whole: bool, version: str
) -> None:
    """An answer that ends with its connection ends only if TLS says so."""
    context = rig.api.context = rig.good.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    seen = rig.call_as(serve)

    assert (seen.status, seen.body, seen.whole) == (200, b"hal.", whole)
