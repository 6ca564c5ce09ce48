"""
Both ends of a real sidecar process as raw sockets: every byte in, every byte out.

`RawApi` is the API: it keeps what reaches it, byte for byte, and sends what it is told.
`RawClient` is the service. What they read is judged by h11, which shares no code with
llhttp or with us. Everything blocks and everything is bounded.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import h11

from tests.support.processes import UPSTREAM, Settings, wait_until

KEY: Final = "fln_live_R4wS0cketsSeeEveryByte42"
SECONDS: Final = 10.0
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RESET: Final = struct.pack("ii", 1, 0)


def file_settings(directory: Path, base_url: str, key: str = KEY) -> Settings:
    """Return settings for a sidecar that has its key from a file: no AWS to wait for."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "key"
    file.write_text(key, encoding="ascii")
    file.chmod(0o600)
    return {
        "job": {"name": "staging-crm-sync", "environment": "staging"},
        "upstreams": {
            UPSTREAM: {
                "listen": "127.0.0.1:0",
                "base_url": base_url,
                "credential": {"file": str(file)},
            }
        },
        "admin": {"listen": "127.0.0.1:0"},
    }


def request_size(data: bytes) -> int | None:
    """Return the bytes of the request that `data` begins with; None: it is not whole."""
    end = data.find(b"\r\n\r\n") + 4
    if end == 3:
        return None
    head = data[:end].lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        last = data.find(b"0\r\n\r\n", end)
        while last >= 0 and last != end and data[last - 2 : last] != b"\r\n":
            last = data.find(b"0\r\n\r\n", last + 1)
        return None if last < 0 else last + 5
    _, found, after = head.partition(b"\r\ncontent-length: ")
    size = end + (int(after.partition(b"\r\n")[0]) if found else 0)
    return None if len(data) < size else size


class Conversation:
    """A connection that the API has accepted."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        self.sock = sock
        self.received = b""
        self.hung_up = False
        """This API closed the connection, though bytes may still be read from it."""
        self._answered = 0

    def request(self) -> bytes | None:
        """Return the next whole request, or None at the end of the connection."""
        while True:
            size = request_size(self.received[self._answered :])
            if size is not None:
                start, self._answered = self._answered, self._answered + size
                return self.received[start : self._answered]
            if not self.more():
                return None

    def more(self) -> bool:
        """Read some bytes; return whether there were any."""
        try:
            data = self.sock.recv(65536)
        except OSError:
            return False
        self.received += data
        return bool(data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


Script = Callable[[Conversation], None]


def always(*answers: bytes) -> Script:
    """Answer each request with the next of these, and then always with the last."""

    def script(conversation: Conversation) -> None:
        left = list(answers)
        while conversation.request() is not None:
            conversation.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def once(answer: bytes) -> Script:
    """Answer the first request of a connection, then close it."""

    def script(conversation: Conversation) -> None:
        if conversation.request() is not None:
            conversation.send(answer)

    return script


class RawApi:
    """An API on loopback that follows a script; a context manager."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.script: Script = always(OK)
        self.conversations: list[Conversation] = []
        self._listener = socket.create_server((host, port), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="raw-api")

    @property
    def base_url(self) -> str:
        """What a sidecar's `base_url` is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def received(self) -> bytes:
        """Everything that has come, over all connections in their order."""
        return b"".join(one.received for one in self.conversations)

    def forget(self) -> None:
        """Begin a new record, of open connections and those that are still to come."""
        self.conversations = [one for one in self.conversations if _is_open(one)]
        for one in self.conversations:
            one.received = one.received[one._answered :]
            one._answered = 0

    def hang_up(self) -> None:
        """Close every connection."""
        for one in self.conversations:
            one.hung_up = True
            _shut(one.sock)

    def stop(self) -> None:
        """Go away: no new connection is accepted, and the open ones are closed."""
        _shut(self._listener)
        self._listener.close()
        self._thread.join()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(sock)
            self.conversations.append(conversation)
            threading.Thread(
                target=self._serve, args=(conversation,), daemon=True
            ).start()

    def _serve(self, conversation: Conversation) -> None:
        with contextlib.suppress(OSError):
            self.script(conversation)
        conversation.sock.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _is_open(conversation: Conversation) -> bool:
    return conversation.sock.fileno() >= 0 and not conversation.hung_up


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Seen:
    """What the service saw of one answer."""

    status: int
    fields: Sequence[tuple[bytes, bytes]]
    body: bytes
    whole: bool = True
    """The answer ended as its framing says."""

    @property
    def code(self) -> str:
        """The sidecar's own code, or empty."""
        return self.field(b"x-sidecar-error").decode()

    def field(self, name: bytes) -> bytes:
        """Return the values of a field, joined; empty without it."""
        return b", ".join(value for key, value in self.fields if key == name)


@dataclass
class RawClient:
    """One connection of the service; a context manager."""

    address: str
    raw: bytes = b""
    """Everything that was read."""
    sock: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        if self.address.startswith("unix:"):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(SECONDS)
            self.sock.connect(self.address.removeprefix("unix:"))
        else:
            host, _, port = self.address.rpartition(":")
            self.sock = socket.create_connection((host, int(port)), SECONDS)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send bytes; the other side may have closed already."""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def read(self) -> bytes:
        """Read some bytes; empty at the end, however it came."""
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            return b""
        self.raw += data
        return data

    def rest(self) -> bytes:
        """Read to the end of the connection; returns everything that was read."""
        while self.read():
            pass
        return self.raw

    def answers(self, *methods: bytes) -> list[Seen]:
        """Read the answers to calls of these methods."""
        return list(Answers(self).read(methods or (b"GET",)))

    def answer(self, method: bytes = b"GET") -> Seen:
        """Read the answer to one call."""
        return self.answers(method)[0]

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Answers:
    """The answers on one connection as h11 reads them."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._ended = False

    def read(self, methods: Sequence[bytes]) -> list[Seen]:
        """Read one answer per method."""
        seen = []
        trailing = b""
        for method in methods:
            parser = h11.Connection(h11.CLIENT)
            parser.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
            parser.send(h11.EndOfMessage())
            if trailing:
                parser.receive_data(trailing)
            seen.append(self._one(parser))
            trailing = parser.trailing_data[0]
        return seen

    def _one(self, parser: h11.Connection) -> Seen:
        head: h11.Response | None = None
        body = b""
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                if head is None:
                    raise
                return Seen(head.status_code, list(head.headers), body, whole=False)
            if event is h11.NEED_DATA:
                data = self._client.read()
                parser.receive_data(data)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Seen(head.status_code, list(head.headers), body)
            elif isinstance(event, h11.ConnectionClosed):
                message = "the connection ended without an answer"
                raise AssertionError(message)


def send_all(address: str, data: bytes, *methods: bytes) -> list[Seen]:
    """Send bytes on a connection of their own and read the answers."""
    with RawClient(address) as client:
        client.send(data)
        return client.answers(*methods)


def settled(api: RawApi, calls: int) -> None:
    """Wait until so many whole requests have been read by the API."""
    wait_until(
        lambda: sum(one._answered > 0 for one in api.conversations) >= calls,
        "the API's record",
    )
