"""
The admin port: health, metrics, status and two commands.

It is handed functions, not objects: what it can ask of the process is in `AdminHooks`.
No answer holds a secret: every text of `/status` passes the redactor once more.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sidecar.admin.guard import refusal
from sidecar.admin.health import Health, HealthFacts, livez, readyz, startupz
from sidecar.errors import RefreshResult
from sidecar.log import get_logger

RELOAD_SECONDS: Final = 4.0
"""How long a reload is waited for: `sidecar reload` itself waits 5 s."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "sidecar",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer that does not set them itself."""

_POINTER: Final = """\
This is the admin port of a sidecar.

GET  /livez /startupz /readyz   health, for probes
GET  /metrics                   numbers, for Prometheus
GET  /status                    the state of every key, as JSON
POST /-/reload                  look for new keys now (from this machine only)
POST /-/quit                    drain and end (from this machine only)
"""

_LOOKED: Final = frozenset({RefreshResult.UNCHANGED, RefreshResult.CHANGED})

_log = get_logger("sidecar.admin")


Document = Mapping[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AdminHooks:
    """What the admin port may ask of the process."""

    facts: Callable[[], HealthFacts]
    """What the probes go by, now."""
    status: Callable[[], Document]
    """The document of `/status`, see `sidecar.admin.status`."""
    exposition: Callable[[str], Awaitable[tuple[bytes, str]]]
    """`Metrics.exposition`: the text of a scrape and its type, for an `Accept` header."""
    reload: Callable[[], Awaitable[Mapping[str, RefreshResult]]]
    """Look at every source now: upstream -> how it ended. May be cancelled."""
    quit: Callable[[], None]
    """Begin to drain; returns at once."""
    redact: Callable[[str], str]
    """Mask secrets in a text."""
    page: Callable[[Callable[[], Document]], Handler] | None = None
    """Makes the handler of `/` out of what gives the (redacted) document."""


def admin_app(hooks: AdminHooks) -> web.Application:
    """
    Make the application.

    Serve it without an access log, and with `handle_signals=False`.
    """
    app = web.Application(middlewares=[_answer_in_json], client_max_size=1024)
    app.on_response_prepare.append(_add_headers)
    handlers = _Handlers(hooks)
    page = hooks.page(handlers.document) if hooks.page else handlers.pointer
    app.router.add_get("/", page)
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

    async def pointer(self, _: web.Request) -> web.Response:
        """What there is."""
        return web.Response(text=_POINTER)

    async def livez(self, _: web.Request) -> web.Response:
        """200: the loop has just answered."""
        return _health(livez())

    async def startupz(self, _: web.Request) -> web.Response:
        """200 once every upstream has had a key."""
        return _health(startupz(self._hooks.facts()))

    async def readyz(self, _: web.Request) -> web.Response:
        """200 while calls may come."""
        return _health(readyz(self._hooks.facts()))

    async def metrics(self, request: web.Request) -> web.Response:
        """Numbers, in the format that the scraper prefers."""
        accept = ",".join(request.headers.getall("Accept", []))
        body, content_type = await self._hooks.exposition(accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def status(self, _: web.Request) -> web.Response:
        """The document, every text of it redacted."""
        return _json(self.document())

    def document(self) -> Document:
        """The document, now, as it may be shown."""
        document: Document = _redacted(self._hooks.status(), self._hooks.redact)
        return document

    async def reload(self, request: web.Request) -> web.Response:
        """Look for new keys: 200 when every source answered, 502 when one did not."""
        _check(request)
        try:
            async with asyncio.timeout(RELOAD_SECONDS):
                results = await self._hooks.reload()
        except TimeoutError:
            return _json({"reload": "under way"}, 202)
        ended = {name: result.value for name, result in results.items()}
        fine = all(result in _LOOKED for result in results.values())
        return _json({"reload": ended}, 200 if fine else 502)

    async def quit(self, request: web.Request) -> web.Response:
        """Begin to drain."""
        _check(request)
        _log.info("quit_asked")
        self._hooks.quit()
        return _json({"quit": "draining"}, 202)


def _check(request: web.Request) -> None:
    """Refuse a command of a stranger."""
    reason = refusal(request.remote, request.headers)
    if reason is not None:
        _log.warning("command_refused", path=request.path, reason=reason)
        raise web.HTTPForbidden(reason=reason)


@web.middleware
async def _answer_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error a JSON body, and none of them a stack."""
    try:
        return await handler(request)
    except web.HTTPException as answer:
        code = {403: "forbidden", 404: "not_found", 405: "method_refused"}
        response = _error(
            answer.status, code.get(answer.status, "bad_request"), answer.reason
        )
        if "Allow" in answer.headers:
            response.headers["Allow"] = answer.headers["Allow"]
        return response
    except Exception:  # noqa: BLE001 - the outermost handler: nothing else may answer
        _log.exception("admin_failed", path=request.path)
        return _error(500, "internal", "A fault of the sidecar; its log tells more.")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add what an answer did not set itself."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    # aiohttp has set it already, with versions.
    response.headers["Server"] = HEADERS["Server"]


def _health(health: Health) -> web.Response:
    return _json(health.as_document(), 200 if health.ok else 503)


def _error(status: int, code: str, message: str) -> web.Response:
    """The same shape as the errors of the proxy."""
    return _json({"error": {"code": code, "message": message}}, status)


def _json(document: Any, status: int = 200) -> web.Response:
    text = json.dumps(document, indent=2) + "\n"
    return web.Response(text=text, status=status, content_type="application/json")


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Mask secrets in every text, and leave the structure as it is."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(one, redact) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(one, redact) for one in value]
    return value
