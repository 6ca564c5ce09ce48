"""
What h11 reads in a stream of bytes: a second opinion that shares no code with ours.

h11 is more lenient than we are in some points (a bare LF ends a line). So it never says
what must be forwarded; it says what a message *is*, if it is one.
"""

import contextlib
from dataclasses import dataclass
from typing import Final

import h11

LARGEST_HEAD: Final = 1 << 20


@dataclass(frozen=True)
class Message:
    """One request or answer."""

    start: bytes
    """Method and target, or the status."""
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    whole: bool
    """It has its end."""

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for key, value in self.fields if key == name]


def requests(data: bytes) -> list[Message]:
    """Read requests, up to the first that is none."""
    found: list[Message] = []
    while True:
        while data.startswith(b"\r\n"):  # RFC 9112, 2.2: to be ignored
            data = data[2:]
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        parser.receive_data(data)
        message = _one(parser, found)
        if message is None or not message.whole:
            return found
        data, _ = parser.trailing_data


def answers(data: bytes, methods: list[bytes], *, ended: bool) -> list[Message]:
    """Read answers to requests of these methods, up to the first that is none."""
    found: list[Message] = []
    for method in methods:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(data)
        if ended and data:
            parser.receive_data(b"")
        message = _one(parser, found)
        if message is None or not message.whole:
            return found
        data, _ = parser.trailing_data
    return found


def _one(parser: h11.Connection, found: list[Message]) -> Message | None:
    """Read one message, and note it if it has a head."""
    start: bytes | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body = b""
    whole = False
    with contextlib.suppress(h11.RemoteProtocolError):
        while not whole:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                start = event.method + b" " + event.target
                fields = tuple(event.headers)
            elif isinstance(event, h11.Response):
                start = b"%d" % event.status_code
                fields = tuple(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                whole = True
            elif not isinstance(event, h11.InformationalResponse):
                break
    if start is None:
        return None
    message = Message(start, fields, body, whole)
    found.append(message)
    return message
