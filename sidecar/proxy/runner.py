"""
The listener as an aiohttp site: aiohttp starts and stops it, `ProxyServer` serves it.

aiohttp's own sites accept without limit. `LimitedSite` accepts by itself. So connections
beyond `max_connections` wait in the kernel's backlog, where they cost nothing, and the
uid of a peer is checked before a byte is read.
"""

import asyncio
import errno
import socket
import struct
from pathlib import Path
from typing import Final

from aiohttp import web

from sidecar.log import get_logger
from sidecar.proxy.server import ProxyServer

BACKLOG: Final = 1024
ACCEPTS_PER_WAKEUP: Final = 64
EXHAUSTED_SECONDS: Final = 1.0
"""Pause after EMFILE and the like, as in asyncio: accepting at once would spin."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PEERCRED: Final = struct.Struct("iii")


class ProxyRunner(web.BaseRunner):
    """Runs one `ProxyServer`."""

    __slots__ = ("_proxy",)

    def __init__(self, proxy: ProxyServer, *, shutdown_timeout: float) -> None:
        super().__init__(shutdown_timeout=shutdown_timeout)
        self._proxy = proxy

    @property
    def proxy(self) -> ProxyServer:
        """The server."""
        return self._proxy

    async def shutdown(self) -> None:
        """Do nothing: the server drains by itself."""

    async def _make_server(self) -> ProxyServer:  # type: ignore[override]  # ours is no aiohttp Server
        self._proxy.start()
        return self._proxy

    async def _cleanup_server(self) -> None:
        pass


class LimitedSite(web.BaseSite):
    """
    Accepts connections for a `ProxyServer`, never more than its limit.

    Args:
        runner: Runs the server.
        sock: A bound socket; this site listens on it and owns it.
        group: Owns the tasks that make transports.
        allow_uids: On a Unix socket, the uids that may connect; None: all.
    """

    __slots__ = (
        *("_accepting", "_allow_uids", "_group", "_maximum", "_pending", "_proxy"),
        "_sock",
    )

    def __init__(
        self,
        runner: ProxyRunner,
        sock: socket.socket,
        group: asyncio.TaskGroup,
        allow_uids: frozenset[int] | None = None,
    ) -> None:
        super().__init__(runner)
        self._proxy = runner.proxy
        self._sock = sock
        self._group = group
        self._allow_uids = allow_uids
        self._maximum = self._proxy.context.limits.max_connections
        self._accepting = False
        self._pending = 0

    @property
    def name(self) -> str:
        """The address, for the log."""
        return str(self._sock.getsockname())

    async def start(self) -> None:
        """Listen and accept."""
        await super().start()
        self._sock.setblocking(False)
        self._sock.listen(BACKLOG)
        self._proxy.on_disconnect = self._resume_if_room
        self._resume()

    async def stop(self) -> None:
        """Stop accepting and close the listening socket."""
        self._pause()
        self._proxy.on_disconnect = lambda: None
        self._sock.close()
        self._runner._unreg_site(self)  # noqa: SLF001 - as aiohttp's own sites do

    def _resume(self) -> None:
        if not self._accepting and self._sock.fileno() >= 0:
            self._accepting = True
            asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._sock.fileno())

    def _resume_if_room(self) -> None:
        if not self._accepting and self._count() < self._maximum:
            self._resume()

    def _count(self) -> int:
        return len(self._proxy.clients) + self._pending

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_WAKEUP):
            if self._count() >= self._maximum:
                self._pause()
                return
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                get_logger("sidecar.proxy").error(
                    "accept_failed",
                    upstream=self._proxy.name,
                    reason="no file descriptor or memory is left; retrying in 1 s",
                )
                self._pause()
                loop = asyncio.get_running_loop()
                loop.call_later(EXHAUSTED_SECONDS, self._resume)
                return
            if self._allow_uids is not None and not self._allowed(sock):
                sock.close()
                continue
            self._pending += 1
            self._group.create_task(self._serve(sock))

    def _allowed(self, sock: socket.socket) -> bool:
        """Check the uid of the peer of a Unix socket (unix(7), SO_PEERCRED)."""
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEERCRED.size)
        _, uid, _ = PEERCRED.unpack(raw)
        if self._allow_uids is not None and uid in self._allow_uids:
            return True
        get_logger("sidecar.proxy").warning(
            "peer_refused",
            upstream=self._proxy.name,
            uid=uid,
            reason="this uid is not in allow_uids",
        )
        return False

    async def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(self._proxy, sock)
        except OSError:
            sock.close()  # the peer has disconnected since
        finally:
            self._pending -= 1
            self._resume_if_room()


def bind(address: str | tuple[str, int], *, mode: int = 0o600) -> socket.socket:
    """
    Return a bound socket for a listener.

    Args:
        address: Host and port, or the path of a Unix socket; a stale one is replaced.
        mode: Permissions of a Unix socket's file.

    Raises:
        OSError: The address is in use, or not one of this machine.
    """
    if isinstance(address, str):
        return _bind_unix(Path(address), mode)
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait until the kernel has forgotten old connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: Path, mode: int) -> socket.socket:
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, "Another process listens there")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Between bind and chmod no peer can connect: that needs listen().
        sock.bind(str(path))
        path.chmod(mode)
    except OSError:
        sock.close()
        raise
    return sock
