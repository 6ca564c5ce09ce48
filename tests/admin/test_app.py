"""The admin port over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sidecar.admin import app as admin
from sidecar.admin.app import HEADERS, AdminHooks, admin_app
from sidecar.admin.health import HealthFacts, UpstreamHealth
from sidecar.admin.page import POLICY
from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import MASK, Secret
from sidecar.errors import RefreshResult
from sidecar.log import configure
from sidecar.metrics import Metrics
from tests.log.conftest import KEY, Log, _logs as logs_fixture

logs = logs_fixture

FINE = HealthFacts([UpstreamHealth("flownally", "fresh", had_key=True, usable=True)])
MISSING = HealthFacts(
    [UpstreamHealth("flownally", "missing", had_key=False, usable=False)]
)
COMMANDS = ["/-/reload", "/-/quit"]

Client = TestClient[web.Request, web.Application]


@dataclass
class Process:
    """A process with an admin port."""

    facts: HealthFacts = FINE
    results: dict[str, RefreshResult] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=lambda: {"job": {"name": "x"}})
    reloads: int = 0
    quits: int = 0
    broken: bool = False
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Let sources answer at once, and teach the redactor `KEY`."""
        self.answers.set()
        self.metrics = Metrics("1.2.3")
        self.metrics.upstream("flownally")
        self.redactor = Redactor()
        self.redactor.learn(Secret(KEY))

    def status(self) -> Mapping[str, Any]:
        """Return the document, or fail."""
        if self.broken:
            raise RuntimeError(KEY)
        return self.document

    async def reload(self) -> Mapping[str, RefreshResult]:
        """Refresh the sources."""
        self.reloads += 1
        await self.answers.wait()
        return self.results

    def quit(self) -> None:
        """Begin to drain."""
        self.quits += 1

    def app(self) -> web.Application:
        """The application under test."""
        return admin_app(
            AdminHooks(
                facts=lambda: self.facts,
                status=self.status,
                exposition=self.metrics.exposition,
                reload=self.reload,
                quit=self.quit,
                redact=self.redactor.redact,
            )
        )


@pytest.fixture(name="process")
async def _process() -> Process:
    """A process in good health."""
    return Process()


async def serve(app: web.Application) -> TestServer:
    """Serve as the sidecar does: on loopback, without an access log."""
    server = TestServer(app)
    await server.start_server(access_log=None)
    return server


@pytest.fixture(name="client")
async def _client(process: Process) -> AsyncIterator[Client]:
    """A client on loopback."""
    async with TestClient(await serve(process.app())) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "facts", "status"),
    [
        pytest.param("/livez", FINE, 200, id="live"),
        pytest.param("/livez", MISSING, 200, id="live-without-a-key"),
        pytest.param(
            "/livez", HealthFacts(draining=True), 200, id="live-while-draining"
        ),
        pytest.param("/startupz", FINE, 200, id="started"),
        pytest.param("/startupz", MISSING, 503, id="not-started"),
        pytest.param("/readyz", FINE, 200, id="ready"),
        pytest.param("/readyz", MISSING, 503, id="not-ready"),
        pytest.param("/readyz", HealthFacts(draining=True), 503, id="draining"),
        pytest.param("/readyz", HealthFacts(leaks=("event",)), 503, id="leaking"),
    ],
)
async def test_probes_answer_by_the_facts(
    process: Process, client: Client, path: str, facts: HealthFacts, status: int
) -> None:
    """200 or 503, with the reasons."""
    process.facts = facts

    response = await client.get(path)

    document = await response.json()
    assert response.status == status
    assert document["status"] == ("ok" if status == 200 else "unavailable")
    assert ("reasons" in document) == (status == 503)


async def test_probes_follow_the_facts(process: Process, client: Client) -> None:
    """No result is kept between two probes."""
    process.facts = MISSING
    before = await client.get("/readyz")
    process.facts = FINE

    after = await client.get("/readyz")

    assert (before.status, after.status) == (503, 200)


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        pytest.param(None, "text/plain; version=0.0.4; charset=utf-8", b"", id="none"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
            b"# EOF\n",
            id="prometheus",
        ),
        pytest.param("text/html", "text/plain; version=0.0.4; charset=utf-8", b"", id="html"),
    ],
)  # fmt: skip
async def test_metrics_come_in_the_format_that_is_asked_for(
    client: Client, accept: str | None, content_type: str, end: bytes
) -> None:
    """Prometheus prefers OpenMetrics, a person gets text."""
    headers = {"Accept": accept} if accept else {}

    response = await client.get("/metrics", headers=headers)

    body = await response.read()
    assert response.headers["Content-Type"] == content_type
    assert b'sidecar_auth_failures_total{code="401"' in body
    assert body.endswith(end)


async def test_status_is_the_document(process: Process, client: Client) -> None:
    """The response is the present document as JSON."""
    process.document = {"job": {"name": "production-crm-sync"}, "n": [1, None, True]}

    response = await client.get("/status")

    assert response.status == 200
    assert response.content_type == "application/json"
    assert await response.json() == process.document


async def test_no_answer_shows_a_secret(process: Process, client: Client) -> None:
    """Neither in an error text nor in a name or a label of the metrics."""
    process.document = {
        "upstreams": {
            KEY: {"last_error": f"refused {KEY}", "list": (KEY, "Bearer abc")}
        }
    }

    text = await (await client.get("/status")).text()

    assert json.loads(text) == {
        "upstreams": {
            MASK: {"last_error": f"refused {MASK}", "list": [MASK, f"Bearer {MASK}"]}
        }
    }
    for path in ("/", "/livez", "/metrics", "/nowhere"):
        assert KEY not in await (await client.get(path)).text()


async def test_the_page_shows_the_redacted_document(
    process: Process, client: Client
) -> None:
    """The page for people shows no more than `/status` does."""
    process.document = {"upstreams": {"crm": {"last_error": f"refused {KEY}"}}}

    response = await client.get("/")

    text = await response.text()
    assert response.content_type == "text/html"
    assert f"refused {MASK}" in text
    assert KEY not in text


async def test_the_page_has_its_own_policy_beside_the_common_headers(
    client: Client,
) -> None:
    """The style and the script are allowed by their hash; all else is as everywhere."""
    headers = (await client.get("/")).headers

    assert headers["Content-Security-Policy"] == POLICY
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    for name in HEADERS.keys() - {"Content-Security-Policy"}:
        assert headers[name] == HEADERS[name]


async def test_the_page_names_the_machine_readable_paths(client: Client) -> None:
    """A person who opens the port learns where the same facts are for programs."""
    text = await (await client.get("/")).text()

    assert "/status" in text
    assert "/metrics" in text


@pytest.mark.parametrize(
    ("results", "status"),
    [
        pytest.param({}, 200, id="no-upstream"),
        pytest.param({"a": RefreshResult.UNCHANGED}, 200, id="unchanged"),
        pytest.param({"a": RefreshResult.CHANGED}, 200, id="changed"),
        pytest.param({"a": RefreshResult.DENIED}, 502, id="denied"),
        pytest.param(
            {"a": RefreshResult.CHANGED, "b": RefreshResult.UNREACHABLE}, 502, id="one"
        ),
    ],
)
async def test_reload_returns_the_result_of_every_refresh(
    process: Process, client: Client, results: dict[str, RefreshResult], status: int
) -> None:
    """200 only when every source answered."""
    process.results = results

    response = await client.post("/-/reload")

    assert response.status == status
    assert await response.json() == {"reload": {k: str(v) for k, v in results.items()}}
    assert process.reloads == 1


async def test_a_slow_reload_is_answered_before_it_ends(
    process: Process, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response comes before the caller's own deadline."""
    monkeypatch.setattr(admin, "RELOAD_SECONDS", 0.01)
    process.answers.clear()

    response = await client.post("/-/reload")

    assert response.status == 202
    assert await response.json() == {"reload": "under way"}


async def test_quit_begins_to_drain(process: Process, client: Client) -> None:
    """The response is sent before the drain starts."""
    response = await client.post("/-/quit")

    assert response.status == 202
    assert process.quits == 1


@pytest.mark.parametrize("path", COMMANDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_commands_are_posts(
    process: Process, client: Client, path: str, method: str
) -> None:
    """A link or an image cannot stop a process."""
    response = await client.request(method, path)

    assert response.status == 405
    assert response.headers["Allow"] == "POST"
    assert (process.reloads, process.quits) == (0, 0)


@pytest.mark.parametrize("path", COMMANDS)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "http://evil.example"}, id="another-site"),
        pytest.param({"Origin": "null"}, id="sandboxed-frame"),
        pytest.param({"Origin": "http://127.0.0.1:8701"}, id="our-own-page"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, id="browser"),
        pytest.param({"X-Forwarded-For": "127.0.0.1"}, id="proxy"),
    ],
)
async def test_commands_through_browsers_and_proxies_are_refused(
    process: Process, client: Client, path: str, headers: dict[str, str]
) -> None:
    """A cross-site request or a published port cannot steer the process."""
    response = await client.post(path, headers=headers)

    assert response.status == 403
    assert (await response.json())["error"]["code"] == "forbidden"
    assert (process.reloads, process.quits) == (0, 0)


@pytest.mark.parametrize("path", COMMANDS)
async def test_commands_of_other_machines_are_refused(
    process: Process, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pod the cluster can reach the port, but not its commands."""
    monkeypatch.setattr(web.BaseRequest, "remote", "10.1.2.3")
    async with TestClient(await serve(process.app())) as client:
        response = await client.post(path)

    assert response.status == 403
    assert (process.reloads, process.quits) == (0, 0)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/metrics/", "/status/x", "/-/", "/..%2fstatus", "/contacts"]
)
async def test_unknown_paths_are_404_in_json(client: Client, path: str) -> None:
    """No path leads to the proxy."""
    response = await client.get(path)

    assert response.status == 404
    assert (await response.json())["error"]["code"] == "not_found"


async def test_a_fault_shows_no_stack(
    process: Process, client: Client, logs: Log
) -> None:
    """The response refers to the log; the log names the type and the place."""
    process.broken = True

    response = await client.get("/status")

    assert response.status == 500
    assert (await response.json())["error"]["code"] == "internal"
    assert KEY[5:20] not in await response.text() + logs.text
    assert "RuntimeError" in logs.line["exception"]


async def test_a_refused_command_is_logged(client: Client, logs: Log) -> None:
    """The log line names the reason."""
    await client.post("/-/quit", headers={"Origin": "http://evil.example"})

    assert logs.line["event"] == "command_refused"
    assert "Origin" in logs.line["reason"]


async def test_reads_are_not_logged(client: Client, logs: Log) -> None:
    """Probes come every few seconds and would fill the log."""
    configure("debug", "json", logs.redactor, logs.stream)
    for path in ("/livez", "/readyz", "/metrics", "/status", "/nowhere"):
        await client.get(path)

    assert logs.text == ""


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/status", "/nowhere"])
async def test_every_answer_has_the_security_headers(client: Client, path: str) -> None:
    """Errors have them, too; `Server` holds no version."""
    response = await client.get(path)

    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/status"])
async def test_head_is_answered_without_a_body(client: Client, path: str) -> None:
    """Some load balancers probe with HEAD."""
    response = await client.head(path)

    assert response.status == 200
    assert await response.read() == b""


async def test_a_body_is_not_waited_for(process: Process, client: Client) -> None:
    """Commands have none; a large one changes nothing."""
    response = await client.post("/-/quit", data=b"x" * 100_000)

    assert response.status == 202
    assert process.quits == 1
