"""What the proxy does with bytes before the rules see them: llhttp, as it uses it."""

from contextlib import suppress
from dataclasses import dataclass, field

import httptools


@dataclass
class Parsed:
    """One head as llhttp gives it."""

    head: bytes
    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head ended."""
        self.complete = True


def parse_request(head: bytes) -> Parsed:
    """
    Parse one whole request head.

    Raises:
        httptools.HttpParserError: llhttp refuses it.
    """
    parsed = Parsed(head)
    parser = httptools.HttpRequestParser(parsed)
    with suppress(httptools.HttpParserUpgrade):
        parser.feed_data(head)
    parsed.method = parser.get_method()
    if not parsed.complete:
        message = "the head is not complete"
        raise httptools.HttpParserError(message)
    return parsed


def parse_response(head: bytes) -> Parsed:
    """
    Parse one whole answer head.

    Raises:
        httptools.HttpParserError: llhttp refuses it.
    """
    parsed = Parsed(head)
    parser = httptools.HttpResponseParser(parsed)
    with suppress(httptools.HttpParserUpgrade):
        parser.feed_data(head)
    parsed.status = parser.get_status_code()
    if not parsed.complete:
        message = "the head is not complete"
        raise httptools.HttpParserError(message)
    return parsed
