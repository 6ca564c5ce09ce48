"""The listener: which peers it accepts, how many, and what it does without descriptors."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.proxy import runner
from sidecar.proxy.runner import LimitedSite, bind
from sidecar.settings.tables import LimitSettings
from tests.support.proxy_rig import GET, SECONDS, Harness, Peer, running, until

OWN = os.getuid()


def test_a_unix_socket_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    """By default only the owner can connect."""
    for mode in (0o600, 0o666):
        path = tmp_path / f"{mode:o}"
        with bind(str(path), mode=mode):
            assert path.stat().st_mode & 0o777 == mode


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A process that was killed leaves its file behind."""
    path = tmp_path / "s"
    with bind(str(path)):
        left = path.stat().st_ino
    with bind(str(path)) as second:
        second.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert path.stat().st_ino or left


def test_a_live_socket_is_not_taken(tmp_path: Path) -> None:
    """The socket of a process that listens is not replaced."""
    path = tmp_path / "s"
    with bind(str(path)) as first:
        first.listen()
        with pytest.raises(OSError, match="Another process") as caught:
            bind(str(path))
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    """Only a socket can be stale."""
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        bind(str(path))

    assert path.read_text() == "mine"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_an_error(host: str) -> None:
    """No socket is left open; an unclosed one would be a warning."""
    with bind((host, 0)) as first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bind((host, first.getsockname()[1]))


@pytest.fixture(name="unix")
def _unix(tmp_path: Path) -> socket.socket:
    """Bind a Unix socket outside the loop, which must not block on a disk."""
    return bind(str(tmp_path / "s"))


@contextlib.asynccontextmanager
async def on_socket(
    proxy: Harness, unix: socket.socket, uids: frozenset[int] | None
) -> AsyncIterator[Peer]:
    """Let a proxy listen on a Unix socket too, and connect to it."""
    async with asyncio.TaskGroup() as group:
        path = unix.getsockname()
        site = LimitedSite(proxy.runner, unix, group, uids)
        await site.start()
        peer = Peer(*await asyncio.open_unix_connection(path))
        proxy.clients.append(peer)
        yield peer
        assert site.name == path
        await site.stop()


@pytest.mark.parametrize("uids", [None, frozenset({OWN}), frozenset({OWN, OWN + 1})])
async def test_a_listed_peer_is_served(
    unix: socket.socket, uids: frozenset[int] | None
) -> None:
    """Without a list, the mode of the file decides."""
    async with running() as proxy, on_socket(proxy, unix, uids) as peer:
        await peer.send(GET)
        assert (await peer.answer()).status == 200


async def test_another_peer_is_not_heard(unix: socket.socket) -> None:
    """Its connection is closed before a byte of it is read."""
    strangers = frozenset({OWN + 1})
    async with running() as proxy, on_socket(proxy, unix, strangers) as peer:
        assert await peer.ended()
        assert not proxy.server.clients


class Exhausted(socket.socket):
    """A listening socket that cannot give connections away for a while."""

    fault: OSError | None = None
    accepts = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Fail as the kernel does, while there is a fault."""
        self.accepts += 1
        if self.fault is not None:
            raise self.fault
        return super().accept()


@contextlib.asynccontextmanager
async def exhausted(proxy: Harness) -> AsyncIterator[Exhausted]:
    """Let a proxy listen on a socket that may fail."""
    async with asyncio.TaskGroup() as group:
        sock = Exhausted()
        sock.bind(("127.0.0.1", 0))
        site = LimitedSite(proxy.runner, sock, group)
        await site.start()
        yield sock
        await site.stop()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_without_descriptors_it_rests_and_tries_again(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepting at once would spin; waiting connections are not lost."""
    monkeypatch.setattr(runner, "EXHAUSTED_SECONDS", 0.01)
    async with running() as proxy, exhausted(proxy) as sock:
        sock.fault = OSError(number, "none left")
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        await until(lambda: sock.accepts >= 2, "a second try")
        sock.fault = None
        peer = Peer(reader, writer)
        proxy.clients.append(peer)
        await peer.send(GET)
        assert (await peer.answer()).status == 200


@pytest.mark.parametrize("fault", [BlockingIOError(), ConnectionAbortedError()])
async def test_a_connection_that_left_before_it_was_taken_is_no_news(
    fault: OSError,
) -> None:
    """The next connection is accepted."""
    async with running() as proxy, exhausted(proxy) as sock:
        sock.fault = fault
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        await until(lambda: sock.accepts >= 1, "a try")
        sock.fault = None
        peer = Peer(reader, writer)
        proxy.clients.append(peer)
        await peer.send(GET)
        assert (await peer.answer()).status == 200


async def test_a_peer_that_leaves_between_accept_and_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its descriptor is closed, and another connection may be accepted."""
    async with running(limits=LimitSettings(max_connections=1)) as proxy:
        loop = asyncio.get_running_loop()
        real = loop.connect_accepted_socket
        failed = asyncio.Event()

        async def gone(*_: object, **__: object) -> None:
            failed.set()
            raise ConnectionResetError

        # A loop of uvloop has no attributes to set: another one is put in front of it.
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: _Loop(loop, gone))
        first = await proxy.client()
        await failed.wait()
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: _Loop(loop, real))
        assert await first.ended()
        assert (await proxy.call()).status == 200


class _Loop:
    """A loop with another way to take connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connect: object) -> None:
        self._loop = loop
        self.connect_accepted_socket = connect

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


async def test_a_connection_accepted_at_the_last_moment_holds_no_drain_up() -> None:
    """The connection was accepted before the listener closed, and sends nothing."""
    async with running() as proxy:
        proxy.server.pre_shutdown()
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(proxy.server, far)
        async with asyncio.timeout(SECONDS):
            await proxy.server.shutdown(60)
        near.close()

        assert not proxy.server.clients


async def test_a_refusal_on_its_way_out_is_not_cut_by_a_drain() -> None:
    """The rest of a refused body still comes: a close now would reset the answer."""
    async with running() as proxy:
        client = await proxy.client()
        await client.send(
            b"POST /a/../b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
        )
        await until(lambda: any(one._dropped == 0 for one in proxy.server.clients))
        proxy.server.pre_shutdown()
        proxy.server._close_idle()
        await client.send(b"x" * 99)

        assert (await client.answer()).code == "bad_target"
        assert await client.ended()
