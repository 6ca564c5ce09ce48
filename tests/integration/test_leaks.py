"""
Whether a real process leaks a key, by any log path or failure, at debug level.

Each process runs with the debug modes of Python and asyncio, with warnings, at debug
level; the key has characters that encoders change. After every kind of failure all shown
text is searched for the key in every encoding.
"""

import base64
import gzip
import html
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import pytest

from sidecar.emulator.aws import AwsClient
from sidecar.errors import Code
from tests.support.attack_rig import HOST, limits
from tests.support.faulty_aws import AwsFault, FaultyAws
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import (
    OK,
    RawApi,
    RawClient,
    always,
    file_settings,
)

# Characters that encoders change: quotes, slashes, HTML, percent signs, base64.
KEY: Final = "fln_live_\"q'1>&</+=%41\\u0041~{k}[3]$HOME`x`;|*?!"
OLD_KEY: Final = "fln_live_0ld\"Key'>&</%42\\n~9f8e7d6c5b"
GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
DEBUG: Final = {
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONWARNINGS": "always",
}


def forms(key: str) -> Iterator[tuple[str, str]]:
    """Yield the key in every encoding, each with its name."""
    raw = key.encode()
    tail = key.removeprefix("fln_live_")
    yield "plain", key
    yield "tail", tail
    yield "json", json.dumps(key)[1:-1]
    yield "json twice", json.dumps(json.dumps(key))[3:-3]
    yield "repr", repr(key)[1:-1]
    yield "repr of bytes", repr(raw)[2:-1]
    yield "percent", quote(key, safe="")
    yield "percent of a path", quote(key)
    yield "form", quote_plus(key)
    yield "html", html.escape(key)
    yield "hex", raw.hex()
    yield "escapes", "".join(f"\\x{byte:02x}" for byte in raw)
    for before in ("", "Bearer ", ":", "::"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode((before + key).encode()).decode().rstrip("=")
            yield f"base64 after {before!r}", coded[-40:-1]
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + raw).decode()
        yield f"base64 at {offset}", coded[4:-4]
    yield "reversed", key[::-1]


def assert_hidden(places: dict[str, str], *keys: str) -> None:
    """Search all shown text for the keys."""
    for place, text in places.items():
        for key in keys:
            for name, form in forms(key):
                assert form not in text, f"the key is in {place}, as {name}"


class ConsoleProcess(SidecarProcess):
    """A process whose log is for people."""

    def logs(self, event: str | None = None) -> list[dict[str, str]]:
        """Return the lines as dictionaries."""
        found = []
        for line in self.output().splitlines():
            words = line.split()
            if len(words) > 3 and event in {None, words[2]}:
                pairs = (word.partition("=") for word in words[4:])
                found.append({name: value for name, _, value in pairs})
        return found


@contextmanager
def leaky(directory: Path, settings: Settings, **env: str) -> Iterator[SidecarProcess]:
    """Run a sidecar with the most verbose log."""
    talkative = {"log": {"level": "debug", "access": "all"}}
    console = settings.get("log", {}).get("format") == "console"
    kind = ConsoleProcess if console else SidecarProcess
    process = kind(directory / "sidecar", merge(settings, talkative), env=DEBUG | env)
    try:
        yield process
    finally:
        process.close()


def shown(process: SidecarProcess) -> dict[str, str]:
    """Return all text that a process shows."""
    places = {"output": process.output()}
    if process.process.poll() is None:
        for path in ("/metrics", "/status", "/", "/livez", "/readyz", "/startupz"):
            answer = process.admin(path)
            places[path] = answer.body.decode() + str(answer.headers)
    return places


ANSWERS: Final = {
    "good": OK,
    "reflecting": b"HTTP/1.1 200 OK\r\nX-Key: {key}\r\nContent-Length: {n}\r\n\r\n{key}",
    "unauthorized": b"HTTP/1.1 401 {key}\r\nContent-Length: {n}\r\n\r\n{key}",
    "forbidden": b"HTTP/1.1 403 A\r\nWWW-Authenticate: Bearer {key}\r\nContent-Length: 0\r\n\r\n",
    "error": b"HTTP/1.1 500 {key}\r\nContent-Length: {n}\r\n\r\n{key}",
    "broken": b"{key}\r\n\r\n",
    "broken-field": b"HTTP/1.1 200 OK\r\n{key}\r\n\r\n",
    "broken-length": b"HTTP/1.1 200 OK\r\nContent-Length: {key}\r\n\r\n",
    "broken-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{key}",
    "compressed": b"",
    "silent": b"HTTP/1.1 200 OK\r\n",
}  # fmt: skip


def filled(name: str) -> bytes:
    """Put the key into an answer."""
    if name == "compressed":
        body = gzip.compress(KEY.encode())
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        )
        return head % len(body) + body
    raw = KEY.encode()
    return ANSWERS[name].replace(b"{key}", raw).replace(b"{n}", b"%d" % len(raw))


def requests() -> Iterator[bytes]:
    """Yield calls that hold the key, one for every reason of refusal."""
    raw = KEY.encode()
    quoted = quote(KEY, safe="").encode()
    yield b"GET /%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST)
    yield b"GET /a?key=%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST)
    yield b"GET /../%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST)
    yield b"%b / HTTP/1.1\r\n%b\r\n" % (raw, HOST)
    yield b"GET / %b\r\n%b\r\n" % (raw, HOST)
    yield b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % raw
    fields = (
        "Authorization: Bearer",
        "Cookie:",
        "X-Key:",
        "Origin:",
        "Via:",
        "Upgrade:",
    )
    for field in (
        *fields,
        "Expect:",
        "Connection:",
        "Transfer-Encoding:",
        "Content-Length:",
    ):
        yield b"GET / HTTP/1.1\r\n%b%b %b\r\n\r\n" % (HOST, field.encode(), raw)
    yield b"GET / HTTP/1.1\r\n%b%b: a\r\n\r\n" % (HOST, raw)
    yield b"TRACE /%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST)
    yield b"POST /service-accounts/%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST)
    yield b"GET /%b HTTP/1.1\r\n%b\r\n" % (quoted * 99, HOST)
    yield b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(raw), raw)
    chunked = b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST
    yield chunked + b"%b\r\n" % raw
    yield chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)


def test_no_failure_of_a_call_shows_the_key(tmp_path: Path) -> None:
    """This holds for every answer of the API, every refusal, and a crash."""
    with RawApi() as api:
        settings = file_settings(tmp_path, api.base_url, KEY)
        fast = limits(response_seconds=0.5, idle_seconds=0.5, header_seconds=0.5)
        with leaky(tmp_path, merge(settings, fast)) as process:
            process.wait_ready()
            bodies = {}
            for name in ANSWERS:
                api.hang_up()
                api.script = always(filled(name))
                with RawClient(process.address()) as client:
                    client.send(GET)
                    client.sock.settimeout(20)
                    client.answer()
                    bodies[name] = client.raw.decode("latin-1")
            api.hang_up()
            api.script = always(OK)
            for number, request in enumerate(requests()):
                with RawClient(process.address()) as client:
                    client.send(request)
                    client.answer(request.partition(b" ")[0] if number == 0 else b"GET")
                    bodies[f"request {number}"] = client.raw.decode("latin-1")
            assert_hidden(bodies, KEY)
            assert_hidden(shown(process), KEY)
            codes = process.metrics().labels("sidecar_rejections_total")
            assert {label["reason"] for label in codes} >= {Code.TRIPWIRE}

            process.send(signal.SIGABRT)
            process.wait()
            assert "Fatal Python error" in process.output(), "faulthandler was on"
            assert_hidden(shown(process), KEY)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in left:
        if path.name != "key":
            assert_hidden({str(path): path.read_text(errors="replace")}, KEY)


AWS_FAULTS: Final = [
    AwsFault(error="AccessDeniedException"),
    AwsFault(error="ThrottlingException"),
    AwsFault(error="InternalServiceError", status=500),
    AwsFault(cut=True),
    AwsFault(body=b"{}"),
    AwsFault(body=b"not json " + KEY.encode()),
    AwsFault(body=json.dumps({"SecretString": KEY, "VersionId": 1}).encode()),
    AwsFault(body=json.dumps({"SecretString": 1, "Name": KEY}).encode()),
    AwsFault(error="DecryptionFailure"),
]


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_failure_of_aws_shows_the_key(
    tmp_path: Path, moto: AwsClient, style: str
) -> None:
    """botocore, urllib3 and the credential manager log the failure, not a value."""
    moto.put_secret(SECRET_ID, OLD_KEY)
    with RawApi() as api, FaultyAws(moto.endpoint) as faulty_aws:
        changes: Settings = {
            "upstreams": {
                UPSTREAM: {
                    "credential": {
                        "file": None,
                        "secret_id": SECRET_ID,
                        "refresh_seconds": 0.1,
                        "probe": "GET /probe",
                    }
                }
            },
            "aws": {"region": "eu-west-1", "endpoint_url": faulty_aws.endpoint},
            "log": {"format": style},
        }
        settings = merge(file_settings(tmp_path, api.base_url), changes)
        with leaky(tmp_path, settings) as process:
            process.wait_ready()
            moto.rotate(SECRET_ID, KEY)
            for fault in AWS_FAULTS:
                faulty_aws.fail(fault)
                asked(faulty_aws, 2)
                assert process.admin("/status").status == 200
            faulty_aws.fail()
            wait_until(lambda: "promoted" in cutovers(process), "the new key")
            for bad in ("", "Bearer " + KEY, "\n" + KEY + "\r\n", KEY + "\u20ac", "{"):
                moto.rotate(SECRET_ID, bad or " ")
                asked(faulty_aws, 4)
            api.script = always(filled("unauthorized"))
            api.hang_up()
            with RawClient(process.address()) as client:
                client.send(GET)
                assert client.answer().status == 401
                assert_hidden({"answer": client.raw.decode("latin-1")}, KEY, OLD_KEY)
            process.send(signal.SIGHUP)
            wait_until(lambda: "reload_asked" in process.output())
            assert_hidden(shown(process), KEY, OLD_KEY)
            assert process.stop() == 0
            assert_hidden(shown(process), KEY, OLD_KEY)


def asked(faulty_aws: FaultyAws, times: int) -> None:
    """Wait until AWS has received this many more requests."""
    target = faulty_aws.calls.total() + times
    wait_until(lambda: faulty_aws.calls.total() >= target, "a refresh", 20)


def cutovers(process: SidecarProcess) -> set[str]:
    """Return the results of cutovers that have happened."""
    metrics = process.metrics()
    return {
        label["result"]
        for label in metrics.labels("sidecar_credential_cutovers_total")
        if metrics.value("sidecar_credential_cutovers_total", result=label["result"])
    }


# A bug in any part: an exception with the key in its arguments and local variables.
BUG: Final = """
import importlib, sys
module, name, what = sys.argv.pop(1).rsplit(":", 2)
def bug(*args, **kwargs):
    key = what
    raise RuntimeError({"Authorization": f"Bearer {key}"}, key, args)
owner = importlib.import_module(module)
*parents, last = name.split(".")
for parent in parents:
    owner = getattr(owner, parent)
setattr(owner, last, bug)
from sidecar.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "place",
    [
        "sidecar.proxy.context:UpstreamContext.admit",
        "sidecar.proxy.exchange:Exchange.send",
        "sidecar.proxy.exchange:Exchange.answered",
        "sidecar.proxy.upstream:UpstreamConnection.begin",
        "sidecar.proxy.connect:Connector._open",
        "sidecar.credential.manager:CredentialManager._refresh_finished",
        "sidecar.credential.source_calls:SourceCalls.describe",
        "sidecar.admin.page:body",
        "sidecar.status_report:status_document",
    ],
)
def test_a_bug_anywhere_shows_where_and_not_what(tmp_path: Path, place: str) -> None:
    """The log names the place; log and answer do not show the key."""
    module, _, name = place.partition(":")
    probe = "import importlib; o = importlib.import_module(%r)\nfor n in %r.split('.'): o = getattr(o, n)"
    known = subprocess.run([sys.executable, "-c", probe % (module, name)], check=False)
    if known.returncode:
        pytest.fail(f"{place} is no longer there")
    with RawApi() as api:
        process = SidecarProcess(
            tmp_path / "sidecar",
            file_settings(tmp_path, api.base_url, KEY),
            env=DEBUG,
            program=[sys.executable, "-c", BUG, f"{place}:{KEY}"],
        )
        try:
            bodies = provoke(process)
            process.send(signal.SIGTERM)
            process.wait(20)
        finally:
            process.close()
        text = process.output()

    assert "RuntimeError" in text
    assert_hidden({"output": text, **bodies}, KEY)


def provoke(process: SidecarProcess) -> dict[str, str]:
    """Use a process until the call with the bug."""
    bodies: dict[str, str] = {}

    def met() -> bool:
        if "RuntimeError" in process.output():
            return True
        try:
            for path in ("/status", "/", "/readyz"):
                bodies[path] = process.admin(path).body.decode()
            with RawClient(process.address()) as client:
                client.send(GET)
                client.answer()
                bodies["call"] = client.raw.decode("latin-1")
        except (OSError, AssertionError):
            return "RuntimeError" in process.output()
        return False

    wait_until(met, "the bug", 20)
    return bodies


def test_the_key_is_in_no_argument_and_no_environment(tmp_path: Path) -> None:
    """The key is not in the working directory or in a temporary file either."""
    with RawApi() as api:
        settings = file_settings(tmp_path, api.base_url, KEY)
        with leaky(tmp_path, settings, TMPDIR=str(tmp_path / "tmp")) as process:
            (tmp_path / "tmp").mkdir()
            process.wait_ready()
            with RawClient(process.address()) as client:
                client.send(GET)
                assert client.answer().status == 200
            proc = Path(f"/proc/{process.pid}")
            places = {
                name: (proc / name).read_bytes().decode("latin-1")
                for name in ("cmdline", "environ", "comm", "maps", "status", "wchan")
            }
            opened = [str(link.readlink()) for link in (proc / "fd").iterdir()]
            assert_hidden(places | {"fd": "\n".join(opened)}, KEY)
            assert list((tmp_path / "tmp").iterdir()) == []
            assert not [
                name for name in opened if name.startswith(("/tmp/tmp", "/var"))
            ]
