"""
A blocking HTTP client for rare calls: the key API, the admin port, a test delivery.

It uses `http.client`, because the conveniences of a larger client are risks here. It
follows no redirect (the plaintext of a key may be in the answer), keeps no cookies,
ignores proxy variables, sends nothing twice, and bounds the time and size of an answer.
It also loads at once in a Lambda function.

The probe of a key is asynchronous and uses aiohttp (`sidecar.credential.probe`).
`sidecar check` makes each step of a call itself, to name the step that fails.
"""

import contextlib
import http.client
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sidecar import __version__
from sidecar.errors import SidecarError

MAX_ANSWER_BYTES: Final = 4 << 20
"""Enough for a list of 10,000 keys."""
CHUNK_BYTES: Final = 65536


class Fault(StrEnum):
    """The reason for a missing answer."""

    TIMEOUT = "did not answer in time"
    TLS = "could not be reached safely: its certificate is not trusted"
    UNREACHABLE = "could not be reached"
    PROTOCOL = "gave an answer that is not HTTP, or too long"


class NoAnswer(SidecarError):
    """A call got no usable answer; the server may have processed it."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(fault)
        self.fault = fault
        self.detail = detail
        """The error of the system or the class of the exception; no sent text."""


@dataclass(frozen=True, slots=True)
class ReceivedResponse:
    """An answer; the body may hold the plaintext of a key."""

    status: int
    body: bytes = field(repr=False)
    reason: str = ""


class HttpClient:
    """
    Makes calls under one base URL, each on a new connection.

    Args:
        base_url: `http` or `https`; the settings restrict http to loopback.
        ca_file: PEM file of authorities that are trusted in addition.
        call_seconds: limit of a whole call.
        monotonic: seconds; measures that limit.
    """

    def __init__(
        self,
        base_url: str,
        ca_file: Path | None,
        call_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        parts = urlsplit(base_url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._ca_file = ca_file
        self._seconds = call_seconds
        self._monotonic = monotonic

    def call(
        self, method: str, target: str, fields: Mapping[str, str], body: bytes | None
    ) -> ReceivedResponse:
        """
        Make a call; a redirect is returned as the answer.

        Raises:
            NoAnswer: there is none, or it is malformed, too long or too late.
        """
        end = self._monotonic() + self._seconds
        # The exceptions of http.client hold the request and the answer: none leaves here.
        fault: Fault
        try:
            with contextlib.closing(self._connection()) as connection:
                sent = {
                    "Accept": "application/json",
                    "User-Agent": f"sidecar/{__version__}",
                    **fields,
                }
                connection.request(method, self._path + target, body, sent)
                with connection.getresponse() as answer:
                    body_read = self._read(answer, end)
                    return ReceivedResponse(answer.status, body_read, answer.reason)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            fault = _fault_of(exc)
            number = exc.errno if isinstance(exc, OSError) else None
            detail = os.strerror(number) if number else type(exc).__name__
        raise NoAnswer(fault, detail)

    def _connection(self) -> http.client.HTTPConnection:
        """Return a connection; the call opens it."""
        if not self._tls:
            return http.client.HTTPConnection(
                self._host, self._port, timeout=self._seconds
            )
        # Not ssl.create_default_context: it obeys SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._seconds, context=context
        )

    def _read(self, answer: http.client.HTTPResponse, end: float) -> bytes:
        """Read a body; raise if it is too long, too late or incomplete."""
        pieces = []
        size = 0
        while piece := answer.read1(CHUNK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise ValueError
            if self._monotonic() > end:
                raise TimeoutError
        if answer.length:
            raise http.client.HTTPException
        return b"".join(pieces)


def _fault_of(exc: Exception) -> Fault:
    """Classify an exception of a call."""
    if isinstance(exc, TimeoutError):
        return Fault.TIMEOUT
    if isinstance(exc, ssl.SSLError):
        return Fault.TLS
    return Fault.UNREACHABLE if isinstance(exc, OSError) else Fault.PROTOCOL
