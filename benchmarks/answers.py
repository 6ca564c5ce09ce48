"""
Just enough of HTTP/1.1 to tell where an answer ends.

For load on trusted proxies only: it checks nothing.
"""

import re
from typing import Final

STATUS: Final = re.compile(rb"HTTP/1\.([01]) (\d{3})")
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
CLOSE: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class Broken(Exception):
    """The connection ended, or this is no answer."""


class Answers:
    """The answers on one connection, one at a time."""

    def __init__(self) -> None:
        self._data = b""
        self.keep = True
        """The connection may be used again."""

    @property
    def begun(self) -> bool:
        """Whether a part of an answer has come."""
        return bool(self._data)

    def feed(self, data: bytes) -> int | None:
        """
        Take in what came; empty when the peer closed.

        Returns:
            The status once an answer is whole; None before.

        Raises:
            Broken: See there.
        """
        if not data:
            raise Broken
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return None
        status = STATUS.match(head)
        if status is None:
            raise Broken
        if not self._whole(head, body):
            return None
        self._data = b""
        self.keep = status[1] == b"1" and not CLOSE.search(head)
        return int(status[2])

    def _whole(self, head: bytes, body: bytes) -> bool:
        """Tell whether all of the body has come."""
        if CHUNKED.search(head):
            return (b"\r\n" + body).endswith(LAST_CHUNK)
        length = LENGTH.search(head)
        return len(body) >= (int(length[1]) if length else 0)
