"""
The probe: a cheap call that proves a key.

A probe is rare, so each one opens and closes its own connection. It follows no redirect,
keeps no cookie, ignores the proxy variables of the environment and reads no body.
An exception of aiohttp may hold the request's headers, so none is logged or chained.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sidecar.core.keylife.messages import proof_of
from sidecar.core.secrecy.secret import Credential

CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 4.5
"""Less than `source_calls.PROBE_SECONDS`, so that the probe itself times out."""

Prober = Callable[[Credential], Awaitable[bool | None]]
"""Calls the API with a key. True: proven; False: 401; None: no usable answer."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """The call to make."""

    method: str
    url: str
    """Sent as it is: nothing in it is decoded or normalised."""
    user_agent: str = "sidecar-probe"


class ApiProbe:
    """
    Calls the API with a key.

    Args:
        options: The call to make.
        tls: Makes the TLS context; None for a loopback connection without TLS.
    """

    def __init__(
        self, options: ProbeOptions, tls: Callable[[], ssl.SSLContext] | None
    ) -> None:
        self._options = options
        self._tls = tls

    def __repr__(self) -> str:
        return f"ApiProbe({self._options.method} {self._options.url})"

    async def __call__(self, credential: Credential) -> bool | None:
        """Return True: proven; False: 401; None: no usable answer."""
        # Imported late: a sidecar whose key never changes does not need the client.
        import aiohttp  # noqa: PLC0415 - only with a probe
        from yarl import URL  # noqa: PLC0415 - only with a probe

        name, _, value = credential.header_line.decode("ascii").partition(": ")
        connector = aiohttp.TCPConnector(
            ssl=self._tls() if self._tls else True, limit=1, force_close=True
        )
        headers = {
            "Accept": "application/json",
            "User-Agent": self._options.user_agent,
            name: value.rstrip("\r\n"),
        }
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(
                        total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS
                    ),
                ) as session,
                session.request(
                    self._options.method,
                    URL(self._options.url, encoded=True),
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                return proof_of(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
