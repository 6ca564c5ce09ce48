"""Handlers of the emulated API: contacts, service accounts, API keys."""

import json
import secrets
from typing import Any

from aiohttp import web

from sidecar.emulator.key_ring import Account, StoredKey
from sidecar.emulator.responses import STATE, NotFound, Rejected, json_answer

MAX_LIMIT = 100


async def list_contacts(request: web.Request) -> web.Response:
    """`GET /v1/contacts?limit=20&starting_after=c_00020`."""
    limit = _limit(request)
    contacts = list(request.app[STATE].contacts.values())
    after = request.query.get("starting_after")
    if after is not None:
        ids = [contact["id"] for contact in contacts]
        contacts = contacts[ids.index(after) + 1 :] if after in ids else []
    page = contacts[:limit]
    return json_answer({"data": page, "has_more": len(contacts) > len(page)})


async def get_contact(request: web.Request) -> web.Response:
    """`GET /v1/contacts/{id}`; unknown -> 404."""
    contact = request.app[STATE].contacts.get(request.match_info["id"])
    if contact is None:
        raise NotFound
    return json_answer(contact)


async def create_contact(request: web.Request) -> web.Response:
    """`POST /v1/contacts` with a JSON object that has a name -> 201."""
    fields = await _json_object(request)
    if not isinstance(fields.get("name"), str):
        raise Rejected(422, "invalid_contact", "name must be a string")
    contact = {**fields, "id": f"c_{secrets.token_hex(6)}"}
    request.app[STATE].contacts[str(contact["id"])] = contact
    return json_answer(contact, status=201)


async def patch_contact(request: web.Request) -> web.Response:
    """`PATCH /v1/contacts/{id}` with the fields to change."""
    contact = request.app[STATE].contacts.get(request.match_info["id"])
    if contact is None:
        raise NotFound
    contact.update(await _json_object(request), id=contact["id"])
    return json_answer(contact)


async def list_accounts(request: web.Request) -> web.Response:
    """`GET /v1/service-accounts`."""
    accounts = request.app[STATE].ring.accounts.values()
    return json_answer({"data": [_account(account) for account in accounts]})


async def get_account(request: web.Request) -> web.Response:
    """`GET /v1/service-accounts/{id}`."""
    return json_answer(_account(_find_account(request)))


async def list_keys(request: web.Request) -> web.Response:
    """`GET /v1/service-accounts/{id}/api-keys`; never with a key in it."""
    account = _find_account(request)
    keys = request.app[STATE].ring.of_account(account.id)
    return json_answer({"data": [_key(key) for key in keys]})


async def create_key(request: web.Request) -> web.Response:
    """`POST /v1/service-accounts/{id}/api-keys` -> 201, the key shown this once."""
    account = _find_account(request)
    fields = await _json_object(request) if request.can_read_body else {}
    environment = fields.get("environment", "live")
    if environment not in {"live", "test"}:
        raise Rejected(422, "invalid_key", "environment must be live or test")
    name = fields.get("name", "")
    if not isinstance(name, str):
        raise Rejected(422, "invalid_key", "name must be a string")
    ring = request.app[STATE].ring
    issued = ring.issue(account.id, name=name, environment=str(environment))
    answer = {**_key(ring.get(issued.id)), "key": issued.key}
    return json_answer(answer, status=201)


async def revoke_key(request: web.Request) -> web.Response:
    """`DELETE /v1/service-accounts/{id}/api-keys/{key_id}` -> 204, also if repeated."""
    account = _find_account(request)
    ring = request.app[STATE].ring
    key_id = request.match_info["key_id"]
    if not ring.has(key_id, account.id):
        raise NotFound
    ring.revoke(key_id)
    return web.Response(status=204)


def _find_account(request: web.Request) -> Account:
    """Find the account of the path; unknown -> 404."""
    account = request.app[STATE].ring.accounts.get(request.match_info["id"])
    if account is None:
        raise NotFound
    return account


def _account(account: Account) -> dict[str, object]:
    """Show an account."""
    scopes = sorted(account.scopes)
    return {"id": account.id, "name": account.name, "scopes": scopes}


def _key(key: StoredKey) -> dict[str, object]:
    """Show a key without its value."""
    return {
        "id": key.id,
        "name": key.name,
        "service_account_id": key.account,
        "hint": key.hint,
        "created_at": key.created,
        "expires_at": key.expires,
    }


def _limit(request: web.Request) -> int:
    """Read `limit`, 1 to 100."""
    text = request.query.get("limit", "20")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
        raise Rejected(400, "invalid_limit", f"limit must be 1 to {MAX_LIMIT}")
    return int(text)


async def _json_object(request: web.Request) -> dict[str, Any]:
    """Read a JSON object, sent as such."""
    if request.content_type != "application/json":
        raise Rejected(415, "not_json", "send Content-Type: application/json")
    try:
        fields = json.loads(await request.read())
    except ValueError as error:
        raise Rejected(400, "malformed_json", "the body is not JSON") from error
    if not isinstance(fields, dict):
        raise Rejected(400, "malformed_json", "the body must be a JSON object")
    return fields
