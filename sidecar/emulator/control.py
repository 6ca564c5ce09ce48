"""
The control port of an emulated API that runs as a process, and a client for it.

It hands out keys without asking who calls, so it listens on loopback only and exists
only beside the emulator.
"""

import http.client
import json
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from sidecar.emulator.key_ring import DEFAULT_ACCOUNT, DEFAULT_SCOPES, Issued
from sidecar.emulator.responses import WORLD, json_answer
from sidecar.emulator.state import NO_FAULTS, ApiState, Faults

FAULTS: Final = TypeAdapter(Faults)
TIMEOUT_SECONDS: Final = 10.0


def application(world: ApiState) -> web.Application:
    """Make the control port's application."""
    app = web.Application()
    app[WORLD] = world
    app.router.add_post("/keys", _issue)
    app.router.add_post("/keys/{id}/{order:revoke|expire|activate}", _order)
    app.router.add_post("/accounts", _account)
    app.router.add_get("/counts", _counts)
    app.router.add_put("/faults", _faults)
    return app


async def _issue(request: web.Request) -> web.Response:
    """`POST /keys`: issue a key."""
    issued = request.app[WORLD].ring.issue(**json.loads(await request.read()))
    return json_answer(asdict(issued), status=201)


async def _order(request: web.Request) -> web.Response:
    """`POST /keys/{id}/revoke`, `.../expire`, `.../activate`."""
    ring = request.app[WORLD].ring
    orders = {"revoke": ring.revoke, "expire": ring.expire, "activate": ring.activate}
    orders[request.match_info["order"]](request.match_info["id"])
    return json_answer({})


async def _account(request: web.Request) -> web.Response:
    """`POST /accounts`: add a service account or change its scopes."""
    fields = json.loads(await request.read())
    request.app[WORLD].ring.add_account(fields["id"], fields["name"], fields["scopes"])
    return json_answer({}, status=201)


async def _counts(request: web.Request) -> web.Response:
    """`GET /counts`: calls by status and by key id."""
    world = request.app[WORLD]
    return json_answer(
        {
            "status": world.by_status(),
            "key": world.by_key(),
            "inflight": world.inflight,
            "cancelled": world.cancelled,
        }
    )


async def _faults(request: web.Request) -> web.Response:
    """`PUT /faults`: set the switches; `{}` clears them."""
    try:
        request.app[WORLD].faults = FAULTS.validate_json(await request.read())
    except ValidationError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return json_answer({})


class Control:
    """The handle to an emulated API in another process; calls block."""

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
        """Let a key's time be over now."""
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
        """Send one order."""
        # http.client knows nothing of proxy variables: they must not apply here.
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
