"""
A proxy between a client that sends bytes and an API that follows a script.

Both ends are raw sockets, so a test says exactly what is sent, and sees exactly what
leaves the proxy. The API speaks plain HTTP on loopback; TLS has tests of its own.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from sidecar.core.access.operations import Operations
from sidecar.core.http.request_head import RequestRules
from sidecar.core.http.response_head import ResponseRules
from sidecar.core.http.target import BaseUrl
from sidecar.core.keylife.messages import PassThrough, Verdict
from sidecar.core.secrecy.masking import KeyMatcher
from sidecar.core.secrecy.secret import Credential, Secret, SecretRules, header_line
from sidecar.credential.manager import CredentialManager
from sidecar.errors import Code
from sidecar.metrics import Metrics
from sidecar.proxy.connect import Connector
from sidecar.proxy.runner import LimitedSite, ProxyRunner, bind
from sidecar.proxy.server import ProxyServer
from sidecar.settings.tables import (
    CredentialSettings,
    GuardSettings,
    LimitSettings,
    UpstreamSettings,
)

KEY = "fln_test_0123456789abcdefghijKLMN"
OTHER_KEY = "fln_test_zyxwvutsrqponmlkjihg9876"
SECONDS = 10.0


def credential(key: str = KEY, generation: int = 1) -> Credential:
    """Return a credential as the credential manager makes it."""
    secret = Secret(key)
    return Credential(
        secret=secret,
        header_line=header_line(SecretRules(), secret),
        generation=generation,
        version_id=f"version-{generation}",
        fingerprint=f"version-{generation}"[:8],
    )


class FakeKeys:
    """A credential manager whose verdicts the test chooses."""

    def __init__(self) -> None:
        self.current: Credential | None = credential()
        self.wants_outcomes = False
        self.unavailable_code = Code.CREDENTIAL_UNAVAILABLE
        self.verdict: Verdict | asyncio.Future[Verdict] = PassThrough()
        self.later: list[Verdict] = []
        """Verdicts for the challenges after the first; without any, the same again."""
        self.challenges: list[Credential] = []
        self.calls: list[bytes] = []
        self.trials: list[tuple[Credential, bool | None]] = []
        self.arrived = asyncio.Event()

    async def wait(self, seconds: float) -> Credential | None:
        """Wait for the test to set `arrived`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, 0.2)):
                await self.arrived.wait()
        return self.current

    def challenge(
        self,
        used: Credential,
        *,
        replayable: bool = True,
        call: bytes = b"",
    ) -> Verdict | asyncio.Future[Verdict]:
        """Return the test's verdict."""
        if self.challenges and self.later:
            self.verdict = self.later.pop(0)
        self.challenges.append(used)
        self.calls.append(call)
        return self.verdict if replayable else PassThrough()

    def tried(
        self,
        credential: Credential,
        proved: bool | None,
        call: bytes = b"",
    ) -> None:
        """Record it."""
        self.calls.append(call)
        self.trials.append((credential, proved))


@dataclass
class Request:
    """What reached the API."""

    head: bytes
    body: bytes
    fields: dict[bytes, list[bytes]] = field(default_factory=dict)

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0]


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until something is true, for at most `SECONDS`."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        await asyncio.sleep(0.005)


class Peer:
    """One end of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Read up to and with the empty line."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Read until the end; a reset counts as one."""
        data = b""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                while chunk := await self.reader.read(65536):
                    data += chunk
        return data

    async def ended(self) -> bool:
        """Wait until the other side has closed or reset, with nothing more to read."""
        return await self.rest() == b""

    async def chunks(self) -> bytes:
        """Read a chunked body to its end."""
        body = b""
        async with asyncio.timeout(SECONDS):
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
                body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
                if size == 0:
                    return body

    async def request(self) -> Request:
        """Read one whole request."""
        head = await self.head()
        fields = parse(head)
        if b"chunked" in fields.get(b"transfer-encoding", []):
            body = await self.chunks()
        else:
            length = int(fields.get(b"content-length", [b"0"])[0])
            body = await self.exactly(length)
        return Request(head, body, fields)

    async def answer(self, method: str = "GET") -> "Answer":
        """Read one whole answer."""
        head = await self.head()
        fields = parse(head)
        status = int(head[9:12])
        if method == "HEAD" or status in {204, 304} or status < 200:
            body = b""
        elif b"chunked" in fields.get(b"transfer-encoding", []):
            body = await self.chunks()
        elif b"content-length" in fields:
            body = await self.exactly(int(fields[b"content-length"][0]))
        else:
            body = await self.rest()
        return Answer(status, head, body, fields)

    def close(self) -> None:
        """Close politely."""
        self.writer.close()

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Answer:
    """What the client saw."""

    status: int
    head: bytes
    body: bytes
    fields: dict[bytes, list[bytes]]

    @property
    def code(self) -> str:
        """The sidecar's own code, or empty."""
        return self.fields.get(b"x-sidecar-error", [b""])[0].decode()


def parse(head: bytes) -> dict[bytes, list[bytes]]:
    """Return fields by lower-case name, repeated ones in order."""
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        fields.setdefault(name.lower(), []).append(value.strip())
    return fields


def ok(body: bytes = b"{}", extra: bytes = b"") -> bytes:
    """Return a plain answer."""
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (
        extra,
        len(body),
        body,
    )


def unauthorized() -> bytes:
    """Return a 401."""
    return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"


GET = b"GET /contacts HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(body: bytes) -> bytes:
    """Return a POST with a length."""
    return (
        b"POST /contacts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )


Script = Callable[[Peer], Awaitable[None]]


class Harness:
    """The proxy, its API and its clients."""

    def __init__(self) -> None:
        self.keys = FakeKeys()
        self.metrics = Metrics("0")
        self.stats = self.metrics.upstream("api")
        self.connections: list[Peer] = []
        """Of the proxy to the API, in order of their opening."""
        self.requests: list[Request] = []
        self.script: Script = self.always(ok())
        self.server: ProxyServer
        self.address: tuple[str, int]
        self.clients: list[Peer] = []
        self.runner: ProxyRunner

    def always(self, *answers: bytes) -> Script:
        """Return these answers in turn, the last one repeatedly; record the requests."""
        left = list(answers)

        async def script(peer: Peer) -> None:
            while True:
                self.requests.append(await peer.request())
                await peer.send(left.pop(0) if len(left) > 1 else left[0])

        return script

    async def connection(self, number: int) -> Peer:
        """Wait for the connection to the API of this number, from 0."""
        await until(lambda: len(self.connections) > number, f"connection {number}")
        return self.connections[number]

    async def client(self) -> Peer:
        """Connect to the proxy."""
        peer = Peer(*await asyncio.open_connection(*self.address))
        self.clients.append(peer)
        return peer

    async def call(self, request: bytes = GET, method: str = "GET") -> Answer:
        """Send one request on a connection of its own and read the answer."""
        peer = await self.client()
        await peer.send(request)
        return await peer.answer(method)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = Peer(reader, writer)
        self.connections.append(peer)
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, TimeoutError
        ):
            await self.script(peer)
        with contextlib.suppress(ConnectionError):
            writer.close()


@contextlib.asynccontextmanager
async def running(
    *,
    limits: LimitSettings | None = None,
    guards: GuardSettings | None = None,
    allow: Sequence[str] | None = None,
    deny: Sequence[str] = ("* /service-accounts/**",),
    known: Sequence[str] = (KEY,),
    dead_api: bool = False,
    access: Literal["off", "errors", "all"] = "errors",
) -> AsyncIterator[Harness]:
    """Run a proxy with these options until the block ends."""
    harness = Harness()
    guards = guards or GuardSettings()
    api = await asyncio.start_server(
        harness._serve, "127.0.0.1", 0, limit=1 << 17, start_serving=not dead_api
    )
    # A dead one keeps its port, and does not listen: else the proxy may get it.
    host, port = api.sockets[0].getsockname()
    upstream = UpstreamSettings(
        base_url=f"http://{host}:{port}/v1",
        credential=CredentialSettings(secret_id="key"),
        limits=limits or LimitSettings(),
    )
    async with asyncio.TaskGroup() as group:
        server = ProxyServer(
            "api",
            upstream,
            guards=guards,
            access=access,
            keys=cast("CredentialManager", harness.keys),
            operations=Operations(
                None if allow is None else [(entry, ()) for entry in allow], deny
            ),
            rules=RequestRules(
                inspect=guards.reflection == "mask",
                browser=guards.browser == "block",
                forwarded=guards.forwarded,
            ),
            connector=Connector(
                BaseUrl.parse(upstream.base_url),
                None,
                ResponseRules(),
                upstream.limits.connect_seconds,
            ),
            stats=harness.stats,
            clock=time.perf_counter,
            monotonic=time.monotonic,
            group=group,
        )
        server.learn(KeyMatcher(Secret(key) for key in known))
        harness.server = server
        runner = harness.runner = ProxyRunner(server, shutdown_timeout=0.5)
        await runner.setup()
        sock = bind(("127.0.0.1", 0))
        harness.address = sock.getsockname()
        await LimitedSite(runner, sock, group).start()
        try:
            yield harness
        finally:
            for client in harness.clients:
                client.writer.transport.abort()
            await runner.cleanup()
            api.close()
            for peer in harness.connections:
                peer.writer.transport.abort()
