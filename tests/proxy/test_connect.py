"""Opening a connection to the API: each way to fail has its code, and leaves no socket."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.http.response_head import ResponseRules
from sidecar.core.http.target import BaseUrl
from sidecar.emulator.ca import Certificate, make_certificate
from sidecar.errors import Code, Refused
from sidecar.proxy.connect import Connector, tls_context
from sidecar.proxy.pool import Pool
from sidecar.proxy.tls import TlsTransport
from tests.support.proxy_rig import until

SECONDS: Final = 0.3
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A server certificate for localhost."""
    return make_certificate(tmp_path_factory.mktemp("ca"))


def connector(url: str, context: ssl.SSLContext | None) -> Connector:
    """Return a connector to a port on loopback."""
    return Connector(BaseUrl.parse(url), context, ResponseRules(), SECONDS)


def descriptors() -> int:
    """Count the open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number


async def opened(to: Connector) -> Any:
    """Open a connection for a pool of one."""
    return await to.open(Pool(1, lambda: None))


async def refusal(to: Connector) -> Refused:
    """Return the refusal of an opening that fails; it leaves no open descriptor."""
    before = descriptors()
    with pytest.raises(Refused) as caught:
        await opened(to)
    assert caught.value.__cause__ is None
    # The server of the test notices a moment later.
    await until(lambda: descriptors() == before)
    return caught.value


@contextlib.asynccontextmanager
async def server(
    context: ssl.SSLContext | None = None, handler: Handler | None = None
) -> AsyncIterator[int]:
    """Listen on loopback; yields the port."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A peer that does not trust us hangs up in the handshake.
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()

    started = await asyncio.start_server(handler or hold, "127.0.0.1", 0, ssl=context)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    async with started:
        yield started.sockets[0].getsockname()[1]


async def test_a_connection_speaks_tls(certificate: Certificate) -> None:
    """The certificate's name is checked, and `TlsTransport` is used."""
    context = tls_context(str(certificate.ca_file))
    async with server(certificate.server_context()) as port:
        connection = await opened(connector(f"https://localhost:{port}", context))
        assert isinstance(connection.transport, TlsTransport)
        tls: Any = connection.transport.get_extra_info("ssl_object")
        assert tls.version() == "TLSv1.3"
        assert tls.selected_alpn_protocol() == "http/1.1"
        assert tls.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.abort()


async def test_a_later_connection_resumes_the_session(
    certificate: Certificate,
) -> None:
    """With TLS 1.2 the session is known after the handshake and shortens the next one."""
    context = tls_context(str(certificate.ca_file))
    there = certificate.server_context()
    there.maximum_version = ssl.TLSVersion.TLSv1_2
    async with server(there) as port:
        to = connector(f"https://localhost:{port}", context)
        first = await opened(to)
        assert first.on_first_answer is not None
        first.on_first_answer()
        second = await opened(to)
        assert second.transport.get_extra_info("ssl_object").session_reused
        first.abort()
        second.abort()
        # An answer that comes as its connection is closed changes nothing.
        first.on_first_answer()


async def test_plain_http_is_for_this_machine() -> None:
    """Without a TLS context, the loop's own transport is used."""
    async with server() as port:
        connection = await opened(connector(f"http://127.0.0.1:{port}", None))
        assert not isinstance(connection.transport, TlsTransport)
        connection.abort()


@pytest.mark.parametrize(
    ("names", "starts", "words"),
    [
        pytest.param(["other.example"], -1, "mismatch", id="name"),
        pytest.param(["localhost"], -3, "expired", id="expired"),
        pytest.param(["localhost"], 1, "not yet valid", id="early"),
    ],
)
async def test_who_has_a_wrong_certificate_is_not_trusted(
    tmp_path: Path, names: list[str], starts: int, words: str
) -> None:
    """The message has the reason, but not the name."""
    day = timedelta(days=1)
    wrong = make_certificate(
        tmp_path, names=names, starts=starts * day, lifetime=2 * day
    )
    context = tls_context(str(wrong.ca_file))
    async with server(wrong.server_context()) as port:
        refused = await refusal(connector(f"https://localhost:{port}", context))

    assert refused.code is Code.UPSTREAM_TLS
    assert words in refused.detail
    assert "localhost" not in refused.detail


async def test_an_authority_is_trusted_only_by_settings(
    certificate: Certificate,
) -> None:
    """Without `ca_file`, only the system's authorities are trusted."""
    async with server(certificate.server_context()) as port:
        refused = await refusal(
            connector(f"https://localhost:{port}", tls_context(None))
        )

    assert refused.code is Code.UPSTREAM_TLS
    assert "not trusted" in refused.detail


async def test_who_speaks_no_tls_is_refused(certificate: Certificate) -> None:
    """The refusal is `upstream_tls`; the connection is never retried without TLS."""

    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    context = tls_context(str(certificate.ca_file))
    async with server(handler=plain) as port:
        refused = await refusal(connector(f"https://localhost:{port}", context))

    assert refused.code is Code.UPSTREAM_TLS
    assert "handshake" in refused.detail


@pytest.mark.parametrize(
    ("read", "reset"),
    [
        pytest.param(65536, False, id="fin"),
        pytest.param(65536, True, id="rst"),
        pytest.param(1, True, id="rst-early"),
    ],
)
async def test_who_hangs_up_in_the_handshake_can_be_reached(
    certificate: Certificate, read: int, reset: bool
) -> None:
    """The refusal is `upstream_tls` for a FIN and for a RST."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(read)
        if reset:
            sock = writer.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    context = tls_context(str(certificate.ca_file))
    async with server(handler=end) as port:
        refused = await refusal(connector(f"https://localhost:{port}", context))

    assert refused.code is Code.UPSTREAM_TLS
    assert "handshake" in refused.detail


async def test_who_never_answers_is_given_up(certificate: Certificate) -> None:
    """The time limit includes the handshake."""
    context = tls_context(str(certificate.ca_file))
    async with server() as port:
        refused = await refusal(connector(f"https://localhost:{port}", context))

    assert refused.code is Code.UPSTREAM_TIMEOUT


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://127.0.0.1:{port}", "does not accept", id="refused"),
        pytest.param("http://api.nowhere.invalid", "cannot be resolved", id="name"),
    ],
)
async def test_who_cannot_be_reached_is_told_apart(url: str, words: str) -> None:
    """An API that cannot be reached has another code than one with wrong TLS."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        refused = await refusal(connector(url.format(port=port), None))

    assert refused.code is Code.UPSTREAM_UNREACHABLE
    assert words in refused.detail


def test_session_keys_are_never_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SSLKEYLOGFILE` is ignored: the log would decrypt the key."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls_context(None)
    written: str | None = context.keylog_filename

    assert written is None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    """The error is raised at the start, not at the first call."""
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(OSError, match=r"PEM|CERTIFICATE"):
        tls_context(str(file))
