"""
Forwards a verified delivery to the app on this machine.

Rule 1: the app gets the exact bytes of the body.
Rule 2: only a 2xx means that the app accepted the delivery. Redirects are not followed.
Rule 3: a delivery is sent once. aiohttp repeats idempotent methods when an idle
connection is dead, but not POST. Idle connections are closed before the app's own idle
timeout (gunicorn: 2 s), so that a dead one is unlikely.
"""

import asyncio
import io
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self

import aiohttp
from yarl import URL

from sidecar.errors import SidecarError

CONNECT_SECONDS: Final = 2
"""Seconds to connect; the app is on this machine."""

IDLE_SECONDS: Final = 1.5
"""Below gunicorn's 2 s and uvicorn's and Node's 5 s."""

DRAIN_BYTES: Final = 65_536
"""How much of an answer's body is read, so that its connection can be reused."""

DRAIN_SECONDS: Final = 1
"""Seconds to read it, while the sender waits."""

LARGE_BYTES: Final = 1_048_576
"""From this size on, aiohttp needs a file to write the body in pieces."""

# Fields that aiohttp would add if the sender did not send them.
_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class Target:
    """Where an endpoint's deliveries go: a URL, reached by TCP or through a socket."""

    url: URL
    socket: str = ""
    """Path of the app's Unix socket; empty for TCP."""

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read `http://127.0.0.1:3000/hooks` or `unix:/run/app.sock:/hooks`."""
        if text.startswith("unix:"):
            socket, _, path = text.removeprefix("unix:").partition(":")
            # encoded=True: the path leaves as it was written, not as yarl likes it.
            return cls(URL(f"http://localhost{path or '/'}", encoded=True), socket)
        return cls(URL(text, encoded=True))


class AppUnreachable(SidecarError):
    """The app refuses connections or does not answer in time."""


class AppFailed(SidecarError):
    """The app accepted the connection and gave no HTTP answer."""


class AppClient:
    """The connections to the apps; an async context manager."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def deliver(
        self,
        target: Target,
        fields: Sequence[tuple[str, str]],
        body: bytes,
        response_seconds: float,
    ) -> int:
        """
        Send a delivery and return the status of the app's answer.

        Raises:
            AppUnreachable: no connection, or no answer in time.
            AppFailed: the connection ended, or the answer was not HTTP.
        """
        session = await self._session(target.socket)
        # aiohttp's exceptions carry headers and addresses: they must not leave this file.
        try:
            async with asyncio.timeout(response_seconds):
                answer = await session.post(
                    target.url,
                    data=io.BytesIO(body) if len(body) >= LARGE_BYTES else body,
                    headers=fields,
                    skip_auto_headers=_NOT_ADDED,
                    allow_redirects=False,
                )
        except TimeoutError:
            message = f"the app did not answer within {response_seconds:g} s"
            raise AppUnreachable(message) from None
        except aiohttp.ClientConnectorError as error:
            # strerror names the cause (refused, no such socket, no permission) without an address.
            message = f"the app cannot be reached ({error.strerror or 'no connection'})"
            raise AppUnreachable(message) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"the app gave no HTTP answer ({type(error).__name__})"
            raise AppFailed(message) from None
        async with answer:
            await _drain(answer)
        return answer.status

    async def _session(self, socket: str) -> aiohttp.ClientSession:
        """Return the session of a socket, or the one for TCP (empty path)."""
        session = self._sessions.get(socket)
        if session is None:
            session = aiohttp.ClientSession(
                # The receiver limits the deliveries; a second queue would hide them.
                connector=(
                    aiohttp.UnixConnector(
                        socket, limit=0, keepalive_timeout=IDLE_SECONDS
                    )
                    if socket
                    else aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,  # HTTP_PROXY does not apply to this machine
                auto_decompress=False,
            )
            self._sessions[socket] = session
            self._stack.push_async_callback(session.close)
        return session


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read a small body, so that the connection can be reused; otherwise close it."""
    length = answer.content_length
    if length is None and not answer.headers.get("Transfer-Encoding"):
        # The body ends with the connection, or there is none (204, 304).
        return
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0 and not answer.content.at_eof():
                left -= len(await answer.content.readany())
    except (aiohttp.ClientError, OSError):
        # The status is valid without the body. (TimeoutError is an OSError.)
        answer.close()
