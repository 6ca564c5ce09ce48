"""
The aiohttp proxy that ours is compared with: a handler and a `ClientSession`.

It streams what is long, keeps connections, and does nothing else: no guard, no check of
targets and headers, no look at the key after its start.
"""

import argparse
import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
DROPPED: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
WHOLE: Final = 65536
"""Answers up to this are held: one write instead of several."""


def end_to_end(fields: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return what a proxy hands on."""
    kept = ((k, v) for k, v in fields.items() if k.lower() not in DROPPED)
    return CIMultiDict(kept)


def make_handler(session: ClientSession, base: str, key: str) -> Handle:
    """Return the handler."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        fields = end_to_end(request.headers)
        fields["Authorization"] = f"Bearer {key}"
        async with session.request(
            request.method,
            URL(base + request.raw_path, encoded=True),
            headers=fields,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as found:
            kept = end_to_end(found.headers)
            if found.content_length is not None and found.content_length < WHOLE:
                body = await found.read()
                return web.Response(status=found.status, headers=kept, body=body)
            answer = web.StreamResponse(status=found.status, headers=kept)
            await answer.prepare(request)
            async for chunk in found.content.iter_any():
                await answer.write(chunk)
            await answer.write_eof()
            return answer

    return handle


async def serve(port: int, base: str, ca_file: str, key: str) -> None:
    """Serve for ever."""
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
    session = ClientSession(
        connector=TCPConnector(limit=256, ssl=tls),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
    )
    server = web.Server(make_handler(session, base, key), access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=8192).start()
    await asyncio.Event().wait()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--base")
    parser.add_argument("--ca")
    parser.add_argument("--key-file", type=Path)
    args = parser.parse_args()
    uvloop.run(serve(args.port, args.base, args.ca, args.key_file.read_text()))


if __name__ == "__main__":
    main()
