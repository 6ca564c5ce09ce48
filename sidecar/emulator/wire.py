"""Handlers that show HTTP itself: echo, compression, streams, sizes, statuses."""

import asyncio
import functools
import gzip
import hashlib
from collections.abc import AsyncIterator
from typing import Final, Never

from aiohttp import web

from sidecar.emulator.responses import STATE, Rejected, json_answer
from sidecar.emulator.state import Echo, rest

BLOCK: Final = bytes(range(256)) * 1024
"""256 KiB of every byte value: what big answers are made of."""


async def echo(request: web.Request) -> web.Response:
    """`* /v1/echo/...`: the received call: method, raw target, headers in order, body."""
    recorded = await _record(request)
    request.app[STATE].echoes.append(recorded)
    return json_answer(_show(recorded))


async def zipped(request: web.Request) -> web.Response:
    """`* /v1/gzip`: the echo, with `Content-Encoding: gzip`."""
    plain = (await echo(request)).text or ""
    return web.Response(
        body=gzip.compress(plain.encode(), compresslevel=1),
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )


async def upload(request: web.Request) -> web.Response:
    """`POST|PUT /v1/upload`: count and hash a body of any size without holding it."""
    length, digest = await _drain(request)
    return json_answer({"bytes": length, "sha256": digest}, status=201)


async def events(request: web.Request) -> web.StreamResponse:
    """`GET /v1/events?count=0&interval=1`: server-sent events; 0 = without end."""
    count = int(_number(request, "count", 0))
    interval = _number(request, "interval", 1)
    stream = web.StreamResponse(headers={"Cache-Control": "no-store"})
    stream.content_type = "text/event-stream"
    await stream.prepare(request)
    n = 0
    while count == 0 or n < count:
        n += 1
        await stream.write(f'id: {n}\nevent: tick\ndata: {{"n":{n}}}\n\n'.encode())
        if n != count:
            await rest(interval)
    await stream.write_eof()
    return stream


async def slow(request: web.Request) -> web.StreamResponse:
    """`GET /v1/slow?seconds=1&where=head|body`: late answer, or late second half."""
    seconds = _number(request, "seconds", 1)
    body = b'{"slow":true}'
    if request.query.get("where", "head") == "head":
        await rest(seconds)
        return web.Response(body=body, content_type="application/json")
    stream = web.StreamResponse()
    stream.content_type = "application/json"
    stream.content_length = len(body)
    await stream.prepare(request)
    await stream.write(body[:6])
    await rest(seconds)
    await stream.write(body[6:])
    return stream


async def big(request: web.Request) -> web.StreamResponse:
    """
    `GET /v1/big?bytes=1048576&chunked=0&cut=0`: a streamed answer of that size.

    `X-Content-SHA256` is the digest of the whole body. With `cut`, the connection is
    closed after so many bytes.
    """
    size = int(_number(request, "bytes", 1 << 20))
    cut = int(_number(request, "cut", 0))
    stream = web.StreamResponse()
    stream.content_type = "application/octet-stream"
    stream.headers["X-Content-SHA256"] = await asyncio.to_thread(big_digest, size)
    if request.query.get("chunked", "0") == "1":
        stream.enable_chunked_encoding()
    else:
        stream.content_length = size
    await stream.prepare(request)
    async for block in _blocks(min(cut or size, size)):
        await stream.write(block)
    if cut:
        abort(request)
        raise ConnectionResetError
    return stream


async def status(request: web.Request) -> web.Response:
    """`* /v1/status/{code}?location=...`: an answer with that status, 200 to 599."""
    code = int(request.match_info["code"])
    if not 200 <= code <= 599:  # noqa: PLR2004  # RFC 9110, 15: final statuses
        raise Rejected(400, "invalid_status", "the status must be 200 to 599")
    answer = json_answer({"status": code}, status=code)
    location = request.query.get("location")
    if location is not None:
        answer.headers["Location"] = location
    return answer


async def half(request: web.Request) -> Never:
    """Announce a body, send half of it, close the connection."""
    stream = web.StreamResponse()
    stream.content_type = "application/json"
    stream.content_length = 1000
    await stream.prepare(request)
    await stream.write(b" " * 500)
    abort(request)
    raise ConnectionResetError


@functools.lru_cache(maxsize=64)
def big_digest(size: int) -> str:
    """SHA-256 of the first `size` bytes of a big answer."""
    digest = hashlib.sha256()
    whole, part = divmod(size, len(BLOCK))
    for _ in range(whole):
        digest.update(BLOCK)
    digest.update(BLOCK[:part])
    return digest.hexdigest()


def abort(request: web.Request) -> None:
    """Close the connection as it is, so that a cut answer is seen to be cut."""
    if request.transport is not None:
        request.transport.abort()


async def _blocks(size: int) -> AsyncIterator[bytes]:
    """Yield `size` bytes."""
    whole, part = divmod(size, len(BLOCK))
    for _ in range(whole):
        yield BLOCK
    yield BLOCK[:part]


async def _record(request: web.Request) -> Echo:
    """Record a call as it was received."""
    length, digest = await _drain(request)
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.raw_headers
    )
    return Echo(request.method, request.raw_path, headers, length, digest)


def _show(recorded: Echo) -> dict[str, object]:
    """Return a recorded call as JSON."""
    return {
        "method": recorded.method,
        "path": recorded.target,
        "headers": recorded.headers,
        "body_bytes": recorded.body_bytes,
        "body_sha256": recorded.body_sha256,
    }


async def _drain(request: web.Request) -> tuple[int, str]:
    """Read the body to its end: length and SHA-256."""
    digest = hashlib.sha256()
    length = 0
    async for block in request.content.iter_any():
        digest.update(block)
        length += len(block)
    return length, digest.hexdigest()


def _number(request: web.Request, name: str, default: float) -> float:
    """Read a number from the query."""
    try:
        value = float(request.query.get(name, default))
    except ValueError as error:
        raise Rejected(400, "invalid_query", f"{name} must be a number") from error
    if not 0 <= value <= 1 << 40:
        raise Rejected(400, "invalid_query", f"{name} is out of range")
    return value
