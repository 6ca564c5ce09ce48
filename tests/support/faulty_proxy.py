"""
A TCP relay that does to a connection what networks do: late, slow, cut, mute, broken.

It stands between any two parts (service and sidecar, sidecar and API, sidecar and AWS,
receiver and app, receiver and table), knows nothing of what is said, and can be switched
while connections are open.
"""

import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import Final, Self

from tests.support.raw_http import RESET

CHUNK: Final = 16384


@dataclass(frozen=True)
class Trouble:
    """What the relay does; the default is nothing."""

    delay_seconds: float = 0
    """Before each piece that goes back."""
    piece_bytes: int = CHUNK
    """Bytes of a piece: 1 = one at a time."""
    back_bytes: int | None = None
    """So many bytes go back, then `then` happens."""
    then: str = "close"
    """`close`, `reset`, `mute` (nothing more, and the connection stays) or `half`."""
    mute: bool = False
    """A black hole: connections are accepted, and nothing is ever relayed."""
    garbage: bytes = b""
    """Sent back instead of what the other side says."""
    refuse: bool = False
    """New connections are reset at their first byte."""
    there_bytes: int | None = None
    """So many bytes go there, then the connection is cut."""
    connections: int | None = None
    """Only so many suffer; those after them are well."""


CALM: Final = Trouble()


class FaultyProxy:
    """
    The relay; a context manager.

    Args:
        host: Of what is behind it.
        port: The same.
    """

    def __init__(self, host: str, port: int) -> None:
        self.trouble = CALM
        self.accepted = 0
        self._suffering = 0
        self._behind = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="relay")

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def suffer(self, trouble: Trouble = CALM) -> None:
        """Do this from now on, and close every connection made before."""
        self.trouble = trouble
        self._suffering = 0
        self.drop()

    def drop(self) -> None:
        """Close every connection."""
        for sock in tuple(self._open):
            _shut(sock)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(
                target=self._relay, args=(near, self._next()), daemon=True
            ).start()

    def _next(self) -> Trouble:
        """Return what the next connection suffers."""
        self._suffering += 1
        most = self.trouble.connections
        return self.trouble if most is None or self._suffering <= most else CALM

    def _relay(self, near: socket.socket, trouble: Trouble) -> None:
        self._open.add(near)
        try:
            if trouble.refuse:
                near.recv(1)  # a reset before it may overtake the connect itself
                _reset(near)
            elif trouble.mute:
                while near.recv(CHUNK):
                    pass
            elif trouble.garbage:
                near.recv(CHUNK)
                near.sendall(trouble.garbage)
            else:
                self._join(near, trouble)
        except OSError:
            pass
        finally:
            self._open.discard(near)
            near.close()

    def _join(self, near: socket.socket, trouble: Trouble) -> None:
        with socket.create_connection(self._behind) as far:
            self._open.add(far)
            there = threading.Thread(
                target=_there, args=(near, far, trouble.there_bytes), daemon=True
            )
            there.start()
            try:
                self._back(near, far, trouble)
            finally:
                self._open.discard(far)
                _shut(near)
                _shut(far)
                there.join()

    def _back(self, near: socket.socket, far: socket.socket, trouble: Trouble) -> None:
        left = trouble.back_bytes
        if left == 0:
            far.recv(1)  # not before it has heard all, and answers
        while left is None or left > 0:
            size = trouble.piece_bytes if left is None else min(left, CHUNK)
            data = far.recv(size)
            if not data:
                return
            self._stopping.wait(trouble.delay_seconds)
            near.sendall(data)
            left = None if left is None else left - len(data)
        if trouble.then == "reset":
            _reset(near)
        elif trouble.then == "half":
            near.shutdown(socket.SHUT_WR)
            while near.recv(CHUNK):
                pass
        elif trouble.then == "mute":
            while near.recv(CHUNK):
                pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        _shut(self._listener)
        self._listener.close()
        self._thread.join()
        self.drop()


def _there(near: socket.socket, far: socket.socket, left: int | None) -> None:
    """Relay what goes there, all of it or so many bytes; the end, too."""
    with contextlib.suppress(OSError):
        while left is None or left > 0:
            data = near.recv(CHUNK if left is None else min(left, CHUNK))
            if not data:
                break
            far.sendall(data)
            left = None if left is None else left - len(data)
        far.shutdown(socket.SHUT_WR)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    # A thread that reads keeps the connection open: it must end, or no RST is sent.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
    sock.close()
