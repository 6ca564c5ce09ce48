"""
The control port of an emulated API that runs as a process, and a client for it.

It creates keys without authentication, so it listens on loopback only.
"""

import http.client
import json
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from sidecar.emulator.key_ring import DEFAULT_ACCOUNT, DEFAULT_SCOPES, Issued
from sidecar.emulator.responses import STATE, json_answer
from sidecar.emulator.state import NO_FAULTS, ApiState, Faults

FAULTS: Final = TypeAdapter(Faults)
TIMEOUT_SECONDS: Final = 10.0


def application(state: ApiState) -> web.Application:
    """Make the control port's application."""
    app = web.Application()
    app[STATE] = state
    app.router.add_post("/keys", _issue)
    app.router.add_post("/keys/{id}/{action:revoke|expire|activate}", _change_key)
    app.router.add_post("/accounts", _account)
    app.router.add_get("/counts", _counts)
    app.router.add_put("/faults", _faults)
    return app


async def _issue(request: web.Request) -> web.Response:
    """`POST /keys`: issue a key."""
    issued = request.app[STATE].ring.issue(**json.loads(await request.read()))
    return json_answer(asdict(issued), status=201)


async def _change_key(request: web.Request) -> web.Response:
    """`POST /keys/{id}/revoke`, `.../expire`, `.../activate`."""
    ring = request.app[STATE].ring
    actions = {"revoke": ring.revoke, "expire": ring.expire, "activate": ring.activate}
    actions[request.match_info["action"]](request.match_info["id"])
    return json_answer({})


async def _account(request: web.Request) -> web.Response:
    """`POST /accounts`: add a service account or change its scopes."""
    fields = json.loads(await request.read())
    request.app[STATE].ring.add_account(fields["id"], fields["name"], fields["scopes"])
    return json_answer({}, status=201)


async def _counts(request: web.Request) -> web.Response:
    """`GET /counts`: calls by status and by key id."""
    state = request.app[STATE]
    return json_answer(
        {
            "status": state.by_status(),
            "key": state.by_key(),
            "inflight": state.inflight,
            "cancelled": state.cancelled,
        }
    )


async def _faults(request: web.Request) -> web.Response:
    """`PUT /faults`: set the switches; `{}` clears them."""
    try:
        request.app[STATE].faults = FAULTS.validate_json(await request.read())
    except ValidationError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return json_answer({})


class Control:
    """Controls an emulated API in another process; calls block."""

    def __init__(self, port: int) -> None:
        self._port = port

    def issue(
        self,
        account: str = DEFAULT_ACCOUNT,
        *,
        environment: str = "live",
        ttl_seconds: float | None = None,
        active: bool = True,
    ) -> Issued:
        """Make a key."""
        fields = {
            "account": account,
            "environment": environment,
            "ttl_seconds": ttl_seconds,
            "active": active,
        }
        return Issued(**self._send("POST", "/keys", fields))

    def revoke(self, key_id: str) -> None:
        """Refuse a key from now on."""
        self._send("POST", f"/keys/{key_id}/revoke")

    def expire(self, key_id: str) -> None:
        """Let a key expire now."""
        self._send("POST", f"/keys/{key_id}/expire")

    def activate(self, key_id: str) -> None:
        """Let a key that was issued inactive work from now on."""
        self._send("POST", f"/keys/{key_id}/activate")

    def add_account(self, id_: str, scopes: frozenset[str] = DEFAULT_SCOPES) -> None:
        """Add a service account, or change its scopes."""
        fields = {"id": id_, "name": id_, "scopes": sorted(scopes)}
        self._send("POST", "/accounts", fields)

    def counts(self) -> dict[str, Any]:
        """Calls so far: `status` and `key` -> n, `inflight`, `cancelled`."""
        return self._send("GET", "/counts")

    def fail(self, faults: Faults = NO_FAULTS) -> None:
        """Switch faults on; without an argument, off."""
        self._send("PUT", "/faults", asdict(faults))

    def _send(
        self, method: str, path: str, fields: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send one request."""
        # http.client ignores proxy variables, which must not apply here.
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=TIMEOUT_SECONDS
        )
        body = None if method == "GET" else json.dumps(fields or {})
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status not in {200, 201}:
            message = f"{method} {path}: {answer.status} {text}"
            raise ValueError(message)
        found: dict[str, Any] = json.loads(text)
        return found
