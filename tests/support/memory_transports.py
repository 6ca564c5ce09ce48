"""
Both protocols of the proxy without a socket: what a call costs in Python alone.

`make` gives the two ends of a proxy with all defaults on, over transports that drop what
is written; a call is `client.data_received(request)`, `connection.data_received(ANSWER)`.
"""

import asyncio
import time
from typing import Any, cast

from sidecar.core.access.operations import Operations
from sidecar.core.http.line_cache import LineCache
from sidecar.core.http.request_head import RequestRules
from sidecar.core.http.response_head import ResponseRules
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.secret import Credential, Secret, SecretRules, header_line
from sidecar.metrics import Metrics
from sidecar.proxy.client import ClientConnection
from sidecar.proxy.server import ProxyServer
from sidecar.proxy.upstream import UpstreamConnection
from sidecar.settings.tables import (
    CredentialSettings,
    GuardSettings,
    UpstreamSettings,
)

KEY = "fln_live_benchsecretvalue0123456789abcdef"
BODY = (
    b'{"data":[' + b'{"id":"c_00001","name":"Contact 1","tags":["vip"]},' * 19 + b"]}"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 02:41:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n"
    b"Last-Modified: Tue, 24 Nov 2026 02:41:00 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "6565-3c1"\r\nAccept-Ranges: bytes\r\n\r\n%b' % (len(BODY), BODY)
)
REQUESTS = {
    "bare": b"GET /contacts HTTP/1.1\r\nHost: 127.0.0.1:8700\r\n\r\n",
    "client": (
        b"GET /contacts?limit=20&cursor=abc HTTP/1.1\r\nHost: 127.0.0.1:8700\r\n"
        b"User-Agent: python-httpx/0.28.1\r\nAccept: */*\r\n"
        b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
        b"X-Request-Id: 0b5e1c1e-8a40-4a4e-9c2b-0b9a0b1c2d3e\r\n\r\n"
    ),
    "post": (
        b"POST /contacts HTTP/1.1\r\nHost: 127.0.0.1:8700\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1664\r\n\r\n"
        + b'{"name":"x"},'
        * 128
    ),
}


class Wire:
    """A transport that drops what is written."""

    written = 0

    def write(self, data: bytes) -> None:
        """Drop it."""

    def get_extra_info(self, _name: str) -> None:
        """Know nothing."""

    def close(self) -> None:
        """Do nothing."""

    abort = pause_reading = resume_reading = close


class Keys:
    """A credential manager with one key."""

    wants_outcomes = False

    def __init__(self) -> None:
        secret = Secret(KEY)
        line = header_line(SecretRules(), secret)
        self.current = Credential(secret, line, 1, "v", "v")


def make() -> tuple[ClientConnection, UpstreamConnection]:
    """Return both ends of a proxy with all defaults on."""
    upstream = UpstreamSettings(
        base_url="https://api.flownally.com/v1",
        credential=CredentialSettings(secret_id="key"),
    )
    server = ProxyServer(
        "api",
        upstream,
        guards=GuardSettings(),
        access="errors",
        keys=cast("Any", Keys()),
        operations=Operations(None, ["* /service-accounts/**"]),
        rules=RequestRules(),
        connector=cast("Any", None),
        stats=Metrics("0").upstream("api", ("*",)),
        clock=time.perf_counter,
        monotonic=time.monotonic,
        group=cast("asyncio.TaskGroup", None),
    )
    server.learn(KeyMatcher([Secret(KEY)]))
    client = server()
    client.connection_made(cast("Any", Wire()))
    rules = ResponseRules()
    connection = UpstreamConnection(server.pool, rules, LineCache(rules))
    connection.connection_made(cast("Any", Wire()))
    server.pool._idle.append(connection)
    return client, connection
