"""
The admin port: health, metrics, status and two commands.

It receives functions, not objects: `AdminHooks` holds all that it can do to the process.
No response holds a secret: every text of `/status` and of the page passes the redactor.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sidecar.admin.guard import refusal
from sidecar.admin.health import Health, HealthFacts, livez, readyz, startupz
from sidecar.admin.page import PAGE_HEADERS, page
from sidecar.errors import RefreshResult
from sidecar.limited_server import ConnectionLimitedServer
from sidecar.log import get_logger

MAX_CONNECTIONS: Final = 256
"""In a pod the port is open to the cluster: kubelet, Prometheus servers, some people."""
IDLE_SECONDS: Final = 10.0
"""The time for a request head, and between two requests on one connection."""
SHUTDOWN_SECONDS: Final = 1.0
RELOAD_SECONDS: Final = 4.0
"""How long a reload may take before the response is 202; `sidecar reload` waits 5 s."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "sidecar",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response that does not set them itself."""

_REFRESHED: Final = frozenset({RefreshResult.UNCHANGED, RefreshResult.CHANGED})
_CODES: Final = {403: "forbidden", 404: "not_found", 405: "method_refused"}

_log = get_logger("sidecar.admin")

Document = Mapping[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AdminHooks:
    """The functions of the process that the admin port may call."""

    facts: Callable[[], HealthFacts]
    """Return the present facts that the probes depend on."""
    status: Callable[[], Document]
    """Return the document of `/status`, see `sidecar.admin.status`."""
    exposition: Callable[[str], Awaitable[tuple[bytes, str]]]
    """`Metrics.exposition`: the text of a scrape and its type, for an `Accept` header."""
    reload: Callable[[], Awaitable[Mapping[str, RefreshResult]]]
    """Refresh every source: upstream -> result. May be cancelled."""
    quit: Callable[[], None]
    """Begin to drain; returns at once."""
    redact: Callable[[str], str]
    """Mask secrets in a text."""


class AdminRunner(web.AppRunner):
    """Serves the application of the admin port, with bounds."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, shutdown_timeout=SHUTDOWN_SECONDS)

    async def _make_server(self) -> web.Server:
        started = await super()._make_server()
        return ConnectionLimitedServer(
            started, MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS
        )


def admin_app(hooks: AdminHooks) -> web.Application:
    """Return the application that `AdminRunner` serves."""
    app = web.Application(middlewares=[_answer_in_json], client_max_size=1024)
    app.on_response_prepare.append(_add_headers)
    handlers = _Handlers(hooks)
    app.router.add_get("/", handlers.page)
    app.router.add_get("/livez", handlers.livez)
    app.router.add_get("/startupz", handlers.startupz)
    app.router.add_get("/readyz", handlers.readyz)
    app.router.add_get("/metrics", handlers.metrics)
    app.router.add_get("/status", handlers.status)
    app.router.add_post("/-/reload", handlers.reload)
    app.router.add_post("/-/quit", handlers.quit)
    return app


class _Handlers:
    """One method per path."""

    def __init__(self, hooks: AdminHooks) -> None:
        self._hooks = hooks

    async def page(self, _: web.Request) -> web.Response:
        """The status page for people."""
        return web.Response(
            text=page(self.document()), content_type="text/html", headers=PAGE_HEADERS
        )

    async def livez(self, _: web.Request) -> web.Response:
        """Always 200: the event loop has just answered."""
        return _health(livez())

    async def startupz(self, _: web.Request) -> web.Response:
        """200 once every upstream has had a key."""
        return _health(startupz(self._hooks.facts()))

    async def readyz(self, _: web.Request) -> web.Response:
        """200 while calls may be sent here."""
        return _health(readyz(self._hooks.facts()))

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics, in the format that the scraper prefers."""
        accept = ",".join(request.headers.getall("Accept", []))
        body, content_type = await self._hooks.exposition(accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def status(self, _: web.Request) -> web.Response:
        """The status document, redacted."""
        return _json(self.document())

    def document(self) -> Document:
        """Return the present status document, with every text redacted."""
        document: Document = _redacted(self._hooks.status(), self._hooks.redact)
        return document

    async def reload(self, request: web.Request) -> web.Response:
        """Refresh every source: 200 when all of them answered, 502 otherwise."""
        _check(request)
        try:
            async with asyncio.timeout(RELOAD_SECONDS):
                results = await self._hooks.reload()
        except TimeoutError:
            return _json({"reload": "under way"}, 202)
        found = {name: result.value for name, result in results.items()}
        status = 200 if _REFRESHED.issuperset(results.values()) else 502
        return _json({"reload": found}, status)

    async def quit(self, request: web.Request) -> web.Response:
        """Begin to drain."""
        _check(request)
        _log.info("quit_asked")
        self._hooks.quit()
        return _json({"quit": "draining"}, 202)


def _check(request: web.Request) -> None:
    """Answer 403 to a command that may not come from there."""
    reason = refusal(request.remote, request.headers)
    if reason is not None:
        _log.warning("command_refused", path=request.path, reason=reason)
        raise web.HTTPForbidden(reason=reason)


@web.middleware
async def _answer_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error a JSON body, and none of them a stack trace."""
    try:
        return await handler(request)
    except web.HTTPException as answer:
        code = _CODES.get(answer.status, "bad_request")
        response = _error(answer.status, code, answer.reason)
        if "Allow" in answer.headers:
            response.headers["Allow"] = answer.headers["Allow"]
        return response
    except Exception:  # noqa: BLE001 - the outermost handler: nothing else may answer
        _log.exception("admin_failed", path=request.path)
        return _error(
            500, "internal", "An error inside the sidecar; its log has the details."
        )


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that a response did not set itself."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    # aiohttp has set this one already, with versions.
    response.headers["Server"] = HEADERS["Server"]


def _health(health: Health) -> web.Response:
    return _json(health.as_document(), 200 if health.ok else 503)


def _error(status: int, code: str, message: str) -> web.Response:
    """Return an error in the same shape as the errors of the proxy."""
    return _json({"error": {"code": code, "message": message}}, status)


def _json(document: Any, status: int = 200) -> web.Response:
    text = json.dumps(document, indent=2) + "\n"
    return web.Response(text=text, status=status, content_type="application/json")


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Mask secrets in every text; the structure stays the same."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(one, redact) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(one, redact) for one in value]
    return value
