"""The call that proves a key: what is sent, what is made of the answer."""

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from sidecar.core.secrecy.secret import Credential, Secret, SecretRules, header_line
from sidecar.credential import probe as probe_module
from sidecar.credential.probe import ApiProbe, ProbeOptions

if TYPE_CHECKING:
    from sidecar.emulator.ca import Certificate

ResolveCalls = Callable[[web.Request], web.StreamResponse]


def credential(rules: SecretRules | None = None) -> Credential:
    """A key that is ready to be sent."""
    secret = Secret("fln_live_abc")
    line = header_line(rules or SecretRules(), secret)
    return Credential(secret, line, 1, "v1", "v1")


@asynccontextmanager
async def serving(
    answer: ResolveCalls, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Serve one answer to whatever is asked; give the address and what was asked."""
    seen: list[web.Request] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request | web.BaseRequest)
        seen.append(request)  # type: ignore[arg-type]  # a server without routes
        return answer(request)  # type: ignore[arg-type]  # a server without routes

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{port}", seen
    finally:
        await runner.cleanup()


def status(code: int, **headers: str) -> ResolveCalls:
    """Answer with a status."""
    return lambda _: web.Response(status=code, headers=headers)


@pytest.mark.parametrize(
    ("code", "proved"),
    [(200, True), (403, True), (404, True), (401, False), (500, None), (429, None)],
)
async def test_the_status_code_proves_or_refuses_the_key(
    code: int, proved: bool | None
) -> None:
    """401 refuses it; what knew who asked proves it; what is broken says nothing."""
    async with serving(status(code)) as (url, _):
        told = await ApiProbe(ProbeOptions("GET", url), None)(credential())

    assert told is proved


async def test_what_is_sent_is_what_the_settings_say() -> None:
    """Method, target byte for byte, and the key; nothing of the environment."""
    rules = SecretRules(header="X-Api-Key", scheme="")
    async with serving(status(200)) as (url, seen):
        options = ProbeOptions("HEAD", f"{url}/v1/a%2Fb//c?q=%41&r=a+b")
        await ApiProbe(options, None)(credential(rules))
    request = seen[0]

    assert request.method == "HEAD"
    assert request.raw_path == "/v1/a%2Fb//c?q=%41&r=a+b"
    assert request.headers["X-Api-Key"] == "fln_live_abc"
    assert request.headers["Accept"] == "application/json"
    assert "Cookie" not in request.headers


async def test_a_redirect_is_not_followed() -> None:
    """The key would go where the API points to."""
    async with serving(status(302, Location="/elsewhere")) as (url, seen):
        told = await ApiProbe(ProbeOptions("GET", url), None)(credential())

    assert told is True
    assert len(seen) == 1


async def test_a_proxy_of_the_environment_is_not_honoured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key would go through it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serving(status(200)) as (url, _):
        told = await ApiProbe(ProbeOptions("GET", url), None)(credential())

    assert told is True


async def test_an_api_that_refuses_connections_gives_no_answer() -> None:
    """Undecided."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        told = await ApiProbe(ProbeOptions("GET", url), None)(credential())

    assert told is None


async def test_an_api_that_hangs_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The probe ends by itself."""
    monkeypatch.setattr(probe_module, "TOTAL_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        told = await ApiProbe(ProbeOptions("GET", url), None)(credential())

    assert told is None


async def test_a_trusted_api_is_asked_over_tls(certificate: "Certificate") -> None:
    """With the context that it was given."""
    async with serving(status(403), certificate.server_context()) as (url, _):
        trusting = certificate.client_context()
        options = ProbeOptions("GET", url)
        told = await ApiProbe(options, lambda: trusting)(credential())

    assert told is True


async def test_an_api_that_is_not_trusted_never_sees_the_key(
    certificate: "Certificate",
) -> None:
    """The handshake fails before anything is sent."""
    async with serving(status(200), certificate.server_context()) as (url, seen):
        strict = ssl.create_default_context()
        options = ProbeOptions("GET", url)
        told = await ApiProbe(options, lambda: strict)(credential())

    assert told is None
    assert seen == []


@pytest.mark.parametrize("fault", ["garbage", "status", "cut"])
async def test_nothing_of_a_failure_is_logged(
    caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """What aiohttp raises holds the header with the key."""
    caplog.set_level(logging.DEBUG)
    answers = {
        "garbage": b"\x00\x01\x02 garbage\r\n\r\n",
        "status": b"HTTP/1.1 9999 no\r\n\r\n",
        "cut": b"HTTP/1.1 200 OK\r\nContent-",
    }
    async with raw(answers[fault]) as url:
        told = await ApiProbe(ProbeOptions("GET", url), None)(credential())

    assert told is None
    assert "fln_live_abc" not in caplog.text


@asynccontextmanager
async def raw(answer: bytes) -> AsyncIterator[str]:
    """Serve these bytes, whatever is asked."""
    import asyncio  # noqa: PLC0415 - only here

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_probe_shows_its_call_only() -> None:
    """There is nothing else to show."""
    shown = repr(ApiProbe(ProbeOptions("GET", "https://api/v1/contacts"), None))

    assert shown == "ApiProbe(GET https://api/v1/contacts)"
