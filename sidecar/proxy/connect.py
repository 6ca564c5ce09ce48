"""
Opens connections to the API: host name, TCP and TLS, within one time limit.

The host name is resolved for each new connection, so an API that moves is followed. The
certificate must have the name in the settings, so a forged DNS answer is not trusted.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohappyeyeballs

from sidecar.core.http.line_cache import LineCache
from sidecar.core.http.response_head import ResponseRules
from sidecar.core.http.target import BaseUrl
from sidecar.errors import Code, Refused
from sidecar.proxy.tls import TlsTransport
from sidecar.proxy.upstream import Owner, UpstreamConnection

HAPPY_EYEBALLS_SECONDS: Final = 0.25
"""RFC 8305, section 5: the recommended delay between attempts."""


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """
    Return the TLS context for connections to an API.

    It is not made by `ssl.create_default_context`, which writes the session keys to the
    file that `SSLKEYLOGFILE` names.

    Args:
        ca_file: A PEM file of authorities to trust, besides those of the system.

    Raises:
        OSError: The file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Some builds of Python set it (Debian's 3.11.2). Then a connection that was cut would
    # look like one that has ended, and a part of a response like a complete one.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_alpn_protocols(["http/1.1"])
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


class Connector:
    """
    Opens connections to one API.

    Args:
        base: Where the API is.
        context: For TLS; None: plain HTTP.
        rules: How response heads are read.
        seconds: The limit for opening one connection.
    """

    def __init__(
        self,
        base: BaseUrl,
        context: ssl.SSLContext | None,
        rules: ResponseRules,
        seconds: float,
    ) -> None:
        self._base = base
        self._context = context
        self._rules = rules
        self._known = LineCache(rules)
        self._seconds = seconds
        self._session: ssl.SSLSession | None = None

    async def open(self, pool: Owner) -> UpstreamConnection:
        """
        Return a new connection for a pool.

        Raises:
            Refused: `upstream_unreachable`, `upstream_tls` or `upstream_timeout`.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._open(
                    UpstreamConnection(pool, self._rules, self._known)
                )
        except TimeoutError:
            raise Refused(
                Code.UPSTREAM_TIMEOUT, "No connection to the API within connect_seconds"
            ) from None
        except socket.gaierror:
            raise Refused(
                Code.UPSTREAM_UNREACHABLE, "The host name of the API cannot be resolved"
            ) from None
        except ssl.SSLCertVerificationError as error:
            # After a comma, OpenSSL's sentence has the name or the address.
            reason = error.verify_message.partition(",")[0]
            raise Refused(
                Code.UPSTREAM_TLS,
                f"The certificate of the API is not trusted: {reason}",
            ) from None
        except ssl.SSLError:
            raise Refused(
                Code.UPSTREAM_TLS, "The TLS handshake with the API failed"
            ) from None
        except OSError:
            raise Refused(
                Code.UPSTREAM_UNREACHABLE, "The API does not accept a connection"
            ) from None

    async def _open(self, connection: UpstreamConnection) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        base = self._base
        addresses = await loop.getaddrinfo(
            base.host, base.port, type=socket.SOCK_STREAM
        )
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, loop=loop
        )
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._context is None:
                await loop.create_connection(lambda: connection, sock=sock)
                return connection
            tls = await self._handshaken(loop, sock, self._context)
        except BaseException:
            sock.close()
            raise
        TlsTransport(loop, tls, connection)
        connection.on_first_answer = lambda: self._remember(tls)
        return connection

    def _remember(self, tls: ssl.SSLSocket) -> None:
        """Keep the newest session: in TLS 1.3 its ticket comes with the first response."""
        with suppress(ValueError):  # the socket may be closed by now
            self._session = tls.session

    async def _handshaken(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        context: ssl.SSLContext,
    ) -> ssl.SSLSocket:
        """Authenticate the API on a TCP connection."""
        try:
            tls = context.wrap_socket(
                sock,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
                server_hostname=self._base.host,
                session=self._session,
            )
            try:
                await _handshake(loop, tls)
            except BaseException:
                tls.close()
                raise
        except (ssl.SSLError, TimeoutError):
            raise
        except OSError:
            # OpenSSL reports only a FIN as its own error. A peer that closes sends FIN or
            # RST, depending on what it had not read yet. Both mean the same: the API can
            # be reached, but not by TLS.
            message = "The API closed the connection during the handshake"
            raise ssl.SSLError(message) from None
        return tls


async def _handshake(loop: asyncio.AbstractEventLoop, tls: ssl.SSLSocket) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(tls, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(tls, loop.add_writer, loop.remove_writer)
        else:
            return


async def _ready(
    sock: ssl.SSLSocket,
    add: Callable[[int, Callable[[], None]], None],
    remove: Callable[[int], object],
) -> None:
    """Wait until the socket is readable or writable."""
    ready = asyncio.Event()
    add(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(sock.fileno())
