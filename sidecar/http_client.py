"""
One HTTPS call to the API that manages keys.

`http.client`, because every convenience of a larger client would be a hole here: it
follows no redirect (the plaintext of a key may be in the answer), keeps no cookies,
knows no proxy variables, sends nothing twice, and it loads at once in a Lambda.
"""

import contextlib
import http.client
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sidecar import __version__
from sidecar.errors import SidecarError

# An account with 10,000 keys; an answer without end must not fill the memory.
MAX_ANSWER_BYTES: Final = 4 << 20
CHUNK_BYTES: Final = 65536


class Fault(StrEnum):
    """Why there was no answer."""

    TIMEOUT = "did not answer in time"
    TLS = "could not be reached safely: its certificate is not trusted"
    UNREACHABLE = "could not be reached"
    PROTOCOL = "gave an answer that is not HTTP, or too long"


class NoAnswer(SidecarError):
    """A call got no answer; what it asked for may have been done."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An answer; its body may hold the plaintext of a key."""

    status: int
    body: bytes = field(repr=False)


class HttpClient:
    """
    Makes calls under one base URL, one connection each.

    Args:
        base_url: https, or http to a loopback host; the settings have checked it.
        ca_file: PEM file of authorities to trust beside the system's.
        call_seconds: for a whole call.
        monotonic: seconds, to hold a call to that.
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
    ) -> ApiResponse:
        """
        Make a call; redirects are answers like any other.

        Raises:
            NoAnswer: none came, or none that could be read.
        """
        end = self._monotonic() + self._seconds
        # The exceptions of http.client hold what was sent and received: they end here.
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
                    return ApiResponse(answer.status, self._read(answer, end))
        except TimeoutError:
            fault = Fault.TIMEOUT
        except ssl.SSLError:
            fault = Fault.TLS
        except OSError:
            fault = Fault.UNREACHABLE
        except (http.client.HTTPException, ValueError):
            fault = Fault.PROTOCOL
        raise NoAnswer(fault)

    def _connection(self) -> http.client.HTTPConnection:
        """Prepare a connection; it is opened by the first call."""
        if not self._tls:
            return http.client.HTTPConnection(
                self._host, self._port, timeout=self._seconds
            )
        # Not ssl.create_default_context: that one obeys SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._seconds, context=context
        )

    def _read(self, answer: http.client.HTTPResponse, end: float) -> bytes:
        """Read a body that must be there in time and within bounds."""
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
