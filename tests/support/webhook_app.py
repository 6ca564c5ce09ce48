"""
An app that receives deliveries, with an answer that a test chooses.

`App` reads and writes HTTP itself, so that a test sees the exact bytes and can send any
answer, or none.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"

Behaviour = Callable[["App", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """A request as it was received."""

    line: str
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        """Return the only field of a name."""
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(found) < 2
        return found[0] if found else None


class App:
    """An app; an async context manager."""

    def __init__(self, answer: bytes | Behaviour = NO_CONTENT, path: str = "") -> None:
        self.answer = answer
        self.path = path
        """Of its Unix socket; TCP when empty."""
        self.seen: list[Seen] = []
        self.connections = 0
        self.release = asyncio.Event()
        """Set by a test to release behaviours that wait."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.serving = False

    async def __aenter__(self) -> Self:
        server = await (
            asyncio.start_unix_server(self._serve, self.path)
            if self.path
            else asyncio.start_server(self._serve, "127.0.0.1", 0)
        )
        self._server = server
        self.serving = True
        if not self.path:
            self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where deliveries go, as in the settings."""
        if self.path:
            return f"unix:{self.path}:/hooks/flownally"
        return f"http://127.0.0.1:{self.port}/hooks/flownally"

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._request(reader):
                if isinstance(self.answer, bytes):
                    writer.write(self.answer)
                    await writer.drain()
                else:
                    await self.answer(self, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        """Read one request; False at the end of the connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        line, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = [field.partition(": ") for field in rest]
        fields = [(name, value) for name, _, value in pairs]
        length = next(
            (int(v) for n, v in fields if n.lower() == "content-length"), None
        )
        assert length is not None, "a delivery is never chunked"
        self.seen.append(Seen(line, fields, await reader.readexactly(length)))
        return True


async def silent(app: App, _writer: asyncio.StreamWriter) -> None:
    """Do not answer until the test sets `release`."""
    await app.release.wait()


async def closing(_app: App, writer: asyncio.StreamWriter) -> None:
    """Close instead of answering."""
    writer.close()


async def resetting(_app: App, writer: asyncio.StreamWriter) -> None:
    """Cut the connection instead of answering."""
    writer.transport.abort()


async def waiting(app: App, writer: asyncio.StreamWriter) -> None:
    """Answer 204 when the test sets `release`."""
    await app.release.wait()
    writer.write(NO_CONTENT)
