"""The API: name, connection, certificate, key and clock, each going wrong by itself."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from sidecar.commands.checks.api import Api, check_api
from sidecar.commands.checks.finding import Finding, Level
from sidecar.core.secrecy.secret import Secret
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.ca import make_certificate
from sidecar.emulator.state import Faults
from sidecar.errors import Exit
from tests.support.check_findings import by_name, levels, settings_with

SECRET = "fln_live_0123456789abcdef0123456789abcdef"
PROBE = "GET /contacts?limit=1"


def checked(
    base_url: str,
    *,
    secret: str | None = SECRET,
    probe: str | None = PROBE,
    now: float | None = None,
    ca_file: Path | None = None,
    **upstream: Any,
) -> list[Finding]:
    """Check an API with a key."""
    credential = {"secret_id": "a", "probe": probe}
    tables: dict[str, Any] = {
        "base_url": base_url,
        "credential": credential,
        "ca_file": ca_file,
    }
    tables |= upstream
    settings = settings_with(upstream=tables).upstreams["flownally"]
    key = None if secret is None else Secret(secret)
    api = Api("flownally", settings, settings.credential.rules, key)
    found = list(check_api(api, time.time() if now is None else now))
    assert SECRET not in str(found)
    return found


@contextmanager
def _speaking(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one connection: note what comes, answer with these bytes, close."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                heard.append(peer.recv(65536))
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        thread.join()


def test_an_api_that_takes_the_key(api: EmulatedApi) -> None:
    """Every step of one connection."""
    key = api.issue().key

    findings = checked(api.base_url, secret=key, ca_file=api.certificate.ca_file)

    assert levels(findings) == {
        "flownally: name": Level.OK,
        "flownally: connection": Level.OK,
        "flownally: TLS": Level.OK,
        "flownally: key": Level.OK,
        "flownally: clock": Level.OK,
    }
    assert key not in str(findings)


def test_a_name_without_address() -> None:
    """DNS first: nothing after it can work."""
    (found,) = checked("https://nobody.invalid/v1")

    assert (found.name, found.level, found.exit) == (
        "flownally: name",
        Level.FAIL,
        Exit.API,
    )
    assert "upstreams.flownally.base_url" in found.remedy


def test_a_port_on_which_nobody_listens() -> None:
    """Refused connections are told as such."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        findings = checked(f"https://127.0.0.1:{bound.getsockname()[1]}")

    found = by_name(findings, "flownally: connection")
    assert (found.level, found.exit) == (Level.FAIL, Exit.API)
    assert "connection refused" in found.detail


@pytest.mark.parametrize(
    ("options", "trusted", "reason", "remedy"),
    [
        pytest.param({}, False, "not trusted", "ca_file", id="unknown-authority"),
        pytest.param(
            {"names": ("other.example",)}, True, "another", "base_url", id="wrong-name"
        ),
        pytest.param(
            {"starts": timedelta(days=-60), "lifetime": timedelta(days=30)},
            True,
            "has expired",
            "renew",
            id="expired",
        ),
        pytest.param(
            {"starts": timedelta(days=30)}, True, "not yet valid", "OpenSSL", id="early"
        ),
    ],
)
def test_a_certificate_that_cannot_be_trusted(
    tmp_path: Path, options: dict[str, Any], trusted: bool, reason: str, remedy: str
) -> None:
    """Each for its own reason, with its own remedy."""
    certificate = make_certificate(tmp_path / "ca", **options)
    with EmulatedApi(tmp_path, certificate=certificate) as api:
        ca_file = certificate.ca_file if trusted else None
        findings = checked(api.base_url, ca_file=ca_file)

    found = by_name(findings, "flownally: TLS")
    assert (found.level, found.exit) == (Level.FAIL, Exit.API)
    assert reason in found.detail
    assert remedy in found.remedy


def test_a_certificate_that_expires_soon(tmp_path: Path) -> None:
    """It works today."""
    certificate = make_certificate(tmp_path / "ca", lifetime=timedelta(days=5))
    with EmulatedApi(tmp_path, certificate=certificate) as api:
        findings = checked(api.base_url, ca_file=certificate.ca_file)

    found = by_name(findings, "flownally: TLS")
    assert found.level is Level.WARN
    assert "expires in 4 days" in found.detail


def test_a_server_without_tls() -> None:
    """An https:// URL of a plain port."""
    with _speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _):
        findings = checked(url.replace("http:", "https:"))

    found = by_name(findings, "flownally: TLS")
    assert (found.level, found.exit) == (Level.FAIL, Exit.API)
    assert "handshake failed" in found.detail


@pytest.mark.parametrize(
    ("status", "level", "code", "words"),
    [
        (200, Level.OK, Exit.OK, "accepts the key"),
        (404, Level.OK, Exit.OK, "accepts the key"),
        (401, Level.FAIL, Exit.API, "wrong or revoked"),
        (403, Level.WARN, Exit.OK, "valid but lacks"),
        (302, Level.WARN, Exit.OK, "redirects"),
        (429, Level.WARN, Exit.OK, "neither accepts nor refuses"),
        (503, Level.WARN, Exit.OK, "neither accepts nor refuses"),
    ],
)
def test_what_the_answer_to_the_probe_means(
    status: int, level: Level, code: Exit, words: str
) -> None:
    """Only a 401 refuses the key."""
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
    with _speaking(answer) as (url, heard):
        findings = checked(f"{url}/v1")

    found = by_name(findings, "flownally: key")
    assert (found.level, found.exit) == (level, code)
    assert words in found.detail
    assert bool(found.remedy) is (level is not Level.OK)
    assert heard[0].startswith(b"GET /v1/contacts?limit=1 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {SECRET}\r\n".encode() in heard[0]


@pytest.mark.parametrize(
    ("options", "why"), [({"probe": None}, "no probe"), ({"secret": None}, "no key")]
)
def test_without_probe_or_key_none_is_sent(options: dict[str, Any], why: str) -> None:
    """The call is made for the clock only."""
    with _speaking(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n") as (url, heard):
        findings = checked(url, **options)

    found = by_name(findings, "flownally: key")
    assert found.level is Level.SKIP
    assert why in found.detail
    assert b"uthorization" not in heard[0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed"),
        pytest.param(b"220 smtp ready\r\n", id="not-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000, id="endless-head"),
    ],
)
def test_a_server_that_does_not_speak_http(answer: bytes) -> None:
    """Nothing of what it said is repeated."""
    with _speaking(answer) as (url, _):
        found = by_name(checked(url), "flownally: key")

    assert (found.level, found.exit) == (Level.FAIL, Exit.API)
    assert "smtp" not in found.detail


def test_a_server_that_never_answers() -> None:
    """The wait is bounded by connect_seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        findings = checked(
            f"http://127.0.0.1:{server.getsockname()[1]}",
            limits={"connect_seconds": 0.1},
        )

    assert "no answer in time" in by_name(findings, "flownally: key").detail


@pytest.mark.parametrize(
    ("off", "level", "words"),
    [
        (0, Level.OK, "agrees with this machine"),
        (4, Level.OK, "agrees with this machine"),
        (-60, Level.WARN, "60 s behind"),
        (60, Level.WARN, "60 s ahead"),
        (400, Level.FAIL, "400 s ahead"),
        (-400, Level.FAIL, "400 s behind"),
    ],
)
def test_the_clock_against_the_apis(off: int, level: Level, words: str) -> None:
    """AWS refuses signatures, and we webhooks, that are five minutes off."""
    now = 1_800_000_000
    date = formatdate(now - off, usegmt=True)
    answer = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()
    with _speaking(answer) as (url, _):
        found = by_name(checked(url, now=now), "flownally: clock")

    assert found.level is level
    assert words in found.detail
    assert found.exit is (Exit.CREDENTIAL if level is Level.FAIL else Exit.OK)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2020"])
def test_an_api_without_a_date_tells_no_clock(date: str) -> None:
    """Nothing to compare with."""
    answer = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()
    with _speaking(answer) as (url, _):
        assert "flownally: clock" not in levels(checked(url))


def test_a_revoked_key(api: EmulatedApi) -> None:
    """By the emulated API."""
    issued = api.issue()
    api.revoke(issued.id)

    findings = checked(api.base_url, secret=issued.key, ca_file=api.certificate.ca_file)

    assert by_name(findings, "flownally: key").exit is Exit.API


def test_an_api_that_is_down_refuses_no_key(api: EmulatedApi) -> None:
    """503 tells nothing of the key."""
    api.fail(Faults(status=503))

    findings = checked(api.base_url, ca_file=api.certificate.ca_file)

    assert by_name(findings, "flownally: key").level is Level.WARN
