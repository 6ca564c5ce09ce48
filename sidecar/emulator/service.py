"""
The emulated API as an aiohttp application: routes, scopes, keys, faults, counts.

It also serves load tests, so a call costs only one middleware and one handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Final

from aiohttp import web

from sidecar.emulator import resources, wire
from sidecar.emulator.key_ring import MANAGE, KeyFault
from sidecar.emulator.responses import (
    STATE,
    NotFound,
    Rejected,
    forbidden,
    unauthorized,
)
from sidecar.emulator.state import NO_FAULTS, ApiState, Cut, rest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READ, WRITE = "contacts:read", "contacts:write"
KEYS: Final = "/v1/service-accounts/{id}/api-keys"
NO_SCOPE: Final = ""

ROUTES: Final[tuple[tuple[str, str, Handler, str], ...]] = (
    ("GET", "/v1/contacts", resources.list_contacts, READ),
    ("POST", "/v1/contacts", resources.create_contact, WRITE),
    ("GET", "/v1/contacts/{id}", resources.get_contact, READ),
    ("PATCH", "/v1/contacts/{id}", resources.patch_contact, WRITE),
    ("GET", "/v1/service-accounts", resources.list_accounts, MANAGE),
    ("GET", "/v1/service-accounts/{id}", resources.get_account, MANAGE),
    ("GET", KEYS, resources.list_keys, MANAGE),
    ("POST", KEYS, resources.create_key, MANAGE),
    ("DELETE", KEYS + "/{key_id}", resources.revoke_key, MANAGE),
    ("*", "/v1/echo{rest:(?:/.*)?}", wire.echo, NO_SCOPE),
    ("*", "/v1/gzip", wire.zipped, NO_SCOPE),
    ("POST", "/v1/upload", wire.upload, NO_SCOPE),
    ("PUT", "/v1/upload", wire.upload, NO_SCOPE),
    ("GET", "/v1/events", wire.events, NO_SCOPE),
    ("GET", "/v1/slow", wire.slow, NO_SCOPE),
    ("GET", "/v1/big", wire.big, NO_SCOPE),
    ("*", r"/v1/status/{code:\d{3}}", wire.status, NO_SCOPE),
)
"""Method, path, handler and the scope that a key needs: all that the API can do."""

SCOPES: Final = MappingProxyType({handler: scope for _, _, handler, scope in ROUTES})


def application(state: ApiState) -> web.Application:
    """Return the aiohttp application."""
    app = web.Application(middlewares=[_call], client_max_size=1 << 20)
    app[STATE] = state
    for method, path, handler, _ in ROUTES:
        if method == "GET":
            app.router.add_get(path, handler)  # HEAD too
        else:
            app.router.add_route(method, path, handler)
    return app


@web.middleware
async def _call(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check, answer and count one call."""
    state = request.app[STATE]
    key, fault = state.ring.check(request.headers.get("Authorization"))
    key_id = "-" if key is None else key.id
    status = 0
    state.inflight += 1
    try:
        answer = await _apply_faults(request, state)
        if answer is None:
            if key is None or fault is not None:
                answer = unauthorized(fault or KeyFault.UNKNOWN)
            else:
                scopes = state.ring.accounts[key.account].scopes
                answer = await _answer(request, handler, scopes)
        status = answer.status
    except asyncio.CancelledError:
        state.cancelled += 1
        raise
    except ConnectionError:
        # The client disconnected, or a fault cut the connection: this answer is not sent.
        state.cancelled += 1
        return web.Response()
    finally:
        state.inflight -= 1
        state.counts[key_id, status] += 1
    return answer


async def _apply_faults(
    request: web.Request, state: ApiState
) -> web.StreamResponse | None:
    """Apply the faults that are switched on; None = answer the call normally."""
    faults = state.fault_for(request.raw_path)
    if faults is NO_FAULTS:
        return None
    await rest(faults.delay_seconds)
    if faults.cut is Cut.HEAD:
        wire.abort(request)
        raise ConnectionResetError
    if faults.cut is Cut.BODY:
        await wire.half(request)
    if faults.unauthorized:
        return unauthorized(KeyFault.REVOKED)
    if faults.forbidden:
        return forbidden("everything")
    if faults.status:
        message = "this fault is switched on in the emulator"
        return Rejected(faults.status, "fault", message).answer()
    return None


async def _answer(
    request: web.Request, handler: Handler, scopes: frozenset[str]
) -> web.StreamResponse:
    """Answer an authenticated call."""
    needed = SCOPES.get(request.match_info.handler, NO_SCOPE)
    if needed and needed not in scopes:
        return forbidden(needed)
    try:
        return await handler(request)
    except Rejected as rejected:
        return rejected.answer()
    except web.HTTPNotFound:
        return NotFound().answer()
    except web.HTTPException as other:
        return Rejected(other.status, "rejected", other.reason).answer()
