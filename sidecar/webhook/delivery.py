"""
Hands a verified delivery to the app on this machine.

Rule 1: the app gets the exact bytes; nothing is decoded, re-encoded or added to.
Rule 2: only a 2xx says that the app has it. A redirect is not followed and is no 2xx.
Rule 3: a delivery is sent once. aiohttp repeats some methods by itself when an idle
connection turns out dead; POST is not one of them, and connections are given up before
an app's own idle timeout (gunicorn: 2 s) makes that likely.
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
"""To this machine; an app that is so slow to accept is not there."""

IDLE_SECONDS: Final = 1.5
"""Below gunicorn's 2 s and uvicorn's and Node's 5 s."""

DRAIN_BYTES: Final = 65_536
"""Of an answer's body, so that its connection can be used again; never looked at."""

DRAIN_SECONDS: Final = 1
"""For that: a sender is waiting."""

LARGE_BYTES: Final = 1_048_576
"""From here on aiohttp wants a body that it can write piece by piece."""

# What aiohttp would add of its own when the sender did not send it.
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
    """The app is not there or does not answer in time."""


class AppBroke(SidecarError):
    """The app took the call and gave no HTTP answer."""


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
            AppBroke: the connection ended, or what came was not HTTP.
        """
        session = await self._session(target.socket)
        # Translated here, once: aiohttp's exceptions carry headers and addresses.
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
            # Refused, no such socket, no permission: by errno, not by text.
            message = f"the app cannot be reached ({error.strerror or 'no connection'})"
            raise AppUnreachable(message) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"the app gave no HTTP answer ({type(error).__name__})"
            raise AppBroke(message) from None
        async with answer:
            await _drain(answer)
        return answer.status

    async def _session(self, socket: str) -> aiohttp.ClientSession:
        """Return the session of a socket, or the one for TCP (empty path)."""
        session = self._sessions.get(socket)
        if session is None:
            session = aiohttp.ClientSession(
                # The receiver bounds what is under way; a second queue would hide it.
                connector=(
                    aiohttp.UnixConnector(
                        socket, limit=0, keepalive_timeout=IDLE_SECONDS
                    )
                    if socket
                    else aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,  # HTTP_PROXY never applies to this machine
                auto_decompress=False,
            )
            self._sessions[socket] = session
            self._stack.push_async_callback(session.close)
        return session


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read a small body, so that the connection can be used again; else give it up."""
    length = answer.content_length
    if length is None and not answer.headers.get("Transfer-Encoding"):
        # It ends with its connection, or (204, 304) it has ended already.
        return
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0 and not answer.content.at_eof():
                left -= len(await answer.content.readany())
    except (aiohttp.ClientError, OSError):
        # The status stands, whatever becomes of the body. (TimeoutError is an OSError.)
        answer.close()
