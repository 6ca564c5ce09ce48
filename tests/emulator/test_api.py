"""The emulated API, called as a client calls it."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.key_ring import DEFAULT_SCOPES, MANAGE
from sidecar.emulator.state import Cut, Faults
from tests.support.processes import wait_until

KEYS = "/service-accounts/sa_crm_sync/api-keys"


@dataclass
class Client:
    """Calls the emulated API with one key."""

    session: aiohttp.ClientSession
    api: EmulatedApi
    key: str

    async def __call__(
        self, target: str, method: str = "GET", **options: Any
    ) -> tuple[int, Any]:
        """Make a call: status and parsed body (None when empty)."""
        status, _, body = await self.raw(target, method, **options)
        return status, json.loads(body) if body else None

    async def raw(
        self, target: str, method: str = "GET", **options: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Make a call: status, headers, body."""
        headers = {"Authorization": f"Bearer {self.key}"}
        headers.update(options.pop("headers", {}))
        async with self.session.request(
            method,
            self.api.base_url + target,
            ssl=self.api.certificate.client_context(),
            headers=headers,
            allow_redirects=False,
            **options,
        ) as answer:
            return answer.status, dict(answer.headers), await answer.read()


@pytest.fixture(name="client")
async def _client(api: EmulatedApi) -> AsyncIterator[Client]:
    """Hold a key of an account of its own, with the usual scopes."""
    api.state.ring.add_account("sa_client", "client", DEFAULT_SCOPES)
    async with aiohttp.ClientSession() as session:
        yield Client(session, api, api.issue("sa_client").key)


@pytest.fixture(name="manager")
async def _manager(client: Client, api: EmulatedApi) -> Client:
    """Hold a key that may manage keys."""
    api.state.ring.add_account("sa_admin", "production-key-admin", [MANAGE])
    return Client(client.session, api, api.issue("sa_admin").key)


async def test_contacts_are_listed_page_by_page(client: Client) -> None:
    """`limit` and `starting_after` walk through all of them."""
    _, first = await client("/contacts?limit=20")
    last = first["data"][-1]["id"]
    status, second = await client(f"/contacts?limit=20&starting_after={last}")

    assert status == 200
    assert len(first["data"]) == 20
    assert first["has_more"]
    assert len(second["data"]) == 5
    assert not second["has_more"]


async def test_a_contact_is_created_read_and_changed(client: Client) -> None:
    """What one call writes, the next one reads."""
    created, contact = await client("/contacts", "POST", json={"name": "Ada"})
    changed, _ = await client(
        f"/contacts/{contact['id']}", "PATCH", json={"name": "Ada L.", "id": "mine"}
    )
    status, found = await client(f"/contacts/{contact['id']}")

    assert (created, changed, status) == (201, 200, 200)
    assert found == {"id": contact["id"], "name": "Ada L."}


@pytest.mark.parametrize(
    ("method", "target", "options", "refusal"),
    [
        pytest.param("GET", "/contacts/c_none", {}, (404, "not_found"), id="contact"),
        pytest.param(
            "PATCH", "/contacts/c_none", {"json": {}}, (404, "not_found"), id="patch"
        ),
        pytest.param("GET", "/nothing", {}, (404, "not_found"), id="route"),
        pytest.param("DELETE", "/contacts", {}, (405, "rejected"), id="method"),
        pytest.param(
            "GET", "/contacts?limit=0", {}, (400, "invalid_limit"), id="limit"
        ),
        pytest.param(
            "POST", "/contacts", {"data": b"{}"}, (415, "not_json"), id="content-type"
        ),
        pytest.param(
            "POST", "/contacts", {"json": []}, (400, "malformed_json"), id="array"
        ),
        pytest.param(
            "POST", "/contacts", {"json": {}}, (422, "invalid_contact"), id="no-name"
        ),
        pytest.param("GET", "/slow?seconds=x", {}, (400, "invalid_query"), id="number"),
        pytest.param("GET", "/big?bytes=-1", {}, (400, "invalid_query"), id="range"),
        pytest.param("GET", "/status/199", {}, (400, "invalid_status"), id="status"),
    ],
)
async def test_a_wrong_call_is_told_what_is_wrong(
    client: Client, method: str, target: str, options: Any, refusal: tuple[int, str]
) -> None:
    """Every refusal is JSON with a code."""
    status, body = await client(target, method, **options)

    assert (status, body["error"]["code"]) == refusal


async def test_bytes_that_are_not_json_are_refused(client: Client) -> None:
    """A content type alone makes no JSON."""
    headers = {"Content-Type": "application/json"}
    status, body = await client("/contacts", "POST", data=b"{", headers=headers)

    assert (status, body["error"]["code"]) == (400, "malformed_json")


async def test_the_kinds_of_401_are_told_apart(
    client: Client, api: EmulatedApi
) -> None:
    """The body names the kind; the challenge follows RFC 6750."""
    expired, revoked = api.issue(), api.issue()
    api.expire(expired.id)
    api.revoke(revoked.id)
    codes, challenges = [], []
    for value in ("Bearer x", f"Bearer {expired.key}", f"Bearer {revoked.key}"):
        headers = {"Authorization": value}
        status, fields, body = await client.raw("/contacts", headers=headers)
        codes.append((status, json.loads(body)["error"]["code"]))
        challenges.append(fields["WWW-Authenticate"].split(",")[1].strip())

    assert codes == [
        (401, "malformed_key"),
        (401, "expired_key"),
        (401, "revoked_key"),
    ]
    assert challenges == [
        'error="invalid_request"',
        'error="invalid_token"',
        'error="invalid_token"',
    ]


async def test_a_call_without_a_key_gets_a_bare_challenge(api: EmulatedApi) -> None:
    """RFC 6750, 3.1: no error code where nothing was sent."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            api.base_url + "/contacts", ssl=api.certificate.client_context()
        ) as answer,
    ):
        body = await answer.json()

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="flownally"'
    assert body["error"]["code"] == "missing_key"


async def test_a_key_without_the_scope_is_known_but_not_allowed(
    client: Client, api: EmulatedApi
) -> None:
    """403 names the scope that is missing."""
    api.state.ring.add_account("sa_reader", "reader", ["contacts:read"])
    reader = Client(client.session, api, api.issue("sa_reader").key)
    read, _ = await reader("/contacts")
    status, body = await reader("/contacts", "POST", json={"name": "x"})

    assert read == 200
    assert status == 403
    assert body["error"]["required_scopes"] == ["contacts:write"]


async def test_a_key_is_shown_once_and_can_be_revoked(
    manager: Client, api: EmulatedApi
) -> None:
    """Create, use, list without the value, revoke twice, refused."""
    wanted = {"environment": "test", "name": "staging-crm-sync"}
    created, made = await manager(KEYS, "POST", json=wanted)
    user = Client(manager.session, api, made["key"])
    used, _ = await user("/contacts")
    _, listed = await manager(KEYS)
    revoked = [(await manager(f"{KEYS}/{made['id']}", "DELETE"))[0] for _ in range(2)]
    refused, body = await user("/contacts")
    _, left = await manager(KEYS)

    assert (created, used, revoked) == (201, 200, [204, 204])
    assert made["key"].startswith("fln_test_")
    assert made["key"] not in json.dumps(listed)
    assert [(key["id"], key["name"]) for key in listed["data"]] == [
        (made["id"], "staging-crm-sync")
    ]
    assert left == {"data": []}
    assert (refused, body["error"]["code"]) == (401, "revoked_key")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        pytest.param("POST", KEYS, 201, id="no-body"),
        pytest.param("GET", "/service-accounts", 200, id="accounts"),
        pytest.param("GET", "/service-accounts/sa_crm_sync", 200, id="account"),
        pytest.param("GET", "/service-accounts/sa_none", 404, id="no-account"),
        pytest.param("POST", "/service-accounts/sa_none/api-keys", 404, id="no-owner"),
        pytest.param("DELETE", f"{KEYS}/key_none", 404, id="no-key"),
    ],
)
async def test_service_accounts_and_keys_are_resources(
    manager: Client, method: str, target: str, status: int
) -> None:
    """What exists is found; what does not is not told from what is invisible."""
    assert (await manager(target, method))[0] == status


@pytest.mark.parametrize("fields", [{"environment": "prod"}, {"name": 1}])
async def test_a_malformed_wish_for_a_key_is_refused(
    manager: Client, fields: dict[str, object]
) -> None:
    """Keys are live or test, and their names are text."""
    status, body = await manager(KEYS, "POST", json=fields)

    assert (status, body["error"]["code"]) == (422, "invalid_key")


async def test_the_echo_tells_what_came_byte_for_byte(
    client: Client, api: EmulatedApi
) -> None:
    """Raw target, headers in order with repeats, length and digest of the body."""
    headers = [("X-Twice", "one"), ("X-Twice", "two")]
    async with client.session.post(
        api.base_url + "/echo/a%2Fb?q=%20",
        ssl=api.certificate.client_context(),
        headers=[*headers, ("Authorization", f"Bearer {client.key}")],
        data=b"abc",
    ) as answer:
        heard = await answer.json()

    assert heard["method"] == "POST"
    assert heard["path"] == "/v1/echo/a%2Fb?q=%20"
    assert [h for h in heard["headers"] if h[0] == "X-Twice"] == [
        ["X-Twice", "one"],
        ["X-Twice", "two"],
    ]
    assert heard["body_bytes"] == 3
    assert heard["body_sha256"] == hashlib.sha256(b"abc").hexdigest()
    assert api.state.echoes[-1].target == "/v1/echo/a%2Fb?q=%20"


async def test_the_zipped_echo_is_zipped(client: Client) -> None:
    """A client that inflates sees the echo."""
    status, headers, body = await client.raw("/gzip")

    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert json.loads(body)["path"] == "/v1/gzip"


@pytest.mark.parametrize("chunked", ["0", "1"])
async def test_a_big_answer_announces_its_digest(client: Client, chunked: str) -> None:
    """Size and digest hold, framed either way."""
    size = (1 << 18) + 7
    _, headers, body = await client.raw(f"/big?bytes={size}&chunked={chunked}")

    assert len(body) == size
    assert hashlib.sha256(body).hexdigest() == headers["X-Content-SHA256"]
    assert ("Content-Length" in headers) is (chunked == "0")


@pytest.mark.parametrize("chunked", ["0", "1"])
async def test_a_cut_answer_is_seen_to_be_cut(client: Client, chunked: str) -> None:
    """The connection ends before the message does."""
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.raw(f"/big?bytes=1000000&cut=1000&chunked={chunked}")


async def test_an_upload_is_counted(client: Client) -> None:
    """Bytes and digest come back."""
    body = b"x" * 300_000
    status, told = await client("/upload", "PUT", data=body)

    assert status == 201
    assert told == {"bytes": 300_000, "sha256": hashlib.sha256(body).hexdigest()}


async def test_events_stream(client: Client) -> None:
    """Each event has an id and data."""
    _, headers, body = await client.raw("/events?count=2&interval=0")

    assert headers["Content-Type"] == "text/event-stream"
    assert body.count(b"\n\n") == 2
    assert b'id: 2\nevent: tick\ndata: {"n":2}\n\n' in body


async def test_a_client_that_leaves_is_noticed_at_once(
    client: Client, api: EmulatedApi
) -> None:
    """The handler ends with its connection: tests of cancellation look at this."""
    with pytest.raises(TimeoutError):
        await client.raw("/slow?seconds=60", timeout=aiohttp.ClientTimeout(total=0.3))

    wait_until(lambda: api.state.cancelled == 1, "the handler's end")
    assert api.state.inflight == 0
    assert api.state.by_status()[0] == 1


@pytest.mark.parametrize("where", ["head", "body"])
async def test_a_slow_answer_is_whole(client: Client, where: str) -> None:
    """Late, not cut."""
    status, body = await client(f"/slow?seconds=0.01&where={where}")

    assert (status, body) == (200, {"slow": True})


async def test_any_status_can_be_asked_for(client: Client) -> None:
    """Redirects too, with their Location."""
    status, headers, _ = await client.raw("/status/307?location=/v1/contacts")

    assert (status, headers["Location"]) == (307, "/v1/contacts")


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        pytest.param(Faults(status=503), 503, id="status"),
        pytest.param(Faults(unauthorized=True), 401, id="unauthorized"),
        pytest.param(Faults(forbidden=True), 403, id="forbidden"),
        pytest.param(Faults(delay_seconds=0.01), 200, id="delay"),
        pytest.param(Faults(status=503, path="/v1/echo"), 200, id="other-path"),
    ],
)
async def test_faults_meet_good_calls(
    client: Client, api: EmulatedApi, faults: Faults, status: int
) -> None:
    """What is switched on happens until it is switched off."""
    api.fail(faults)
    first, _ = await client("/contacts")
    api.fail()
    second, _ = await client("/contacts")

    assert (first, second) == (status, 200)


@pytest.mark.parametrize("cut", [Cut.HEAD, Cut.BODY])
async def test_a_fault_can_cut_and_be_counted_down(
    client: Client, api: EmulatedApi, cut: Cut
) -> None:
    """One call is cut, the next one is not."""
    api.fail(Faults(cut=cut, times=1))
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
        await client("/contacts", "POST", json={"name": "x"})
    status, _ = await client("/contacts")

    assert status == 200


async def test_a_fault_for_two_calls_meets_two(
    client: Client, api: EmulatedApi
) -> None:
    """`times` counts calls that were met."""
    api.fail(Faults(status=500, times=2))

    assert [(await client("/contacts"))[0] for _ in range(3)] == [500, 500, 200]


async def test_calls_are_counted_by_status_and_key(
    client: Client, api: EmulatedApi
) -> None:
    """A revoked key is still counted as that key."""
    issued = api.issue()
    user = Client(client.session, api, issued.key)
    await user("/contacts")
    api.revoke(issued.id)
    await user("/contacts")
    await client("/contacts", headers={"Authorization": "Bearer x"})

    assert api.state.by_status() == {200: 1, 401: 2}
    assert api.state.by_key() == {issued.id: 2, "-": 1}


async def test_it_comes_back_on_the_same_port(client: Client, api: EmulatedApi) -> None:
    """Stopped, it refuses; started, it knows the keys it knew."""
    before = api.base_url
    api.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client("/contacts")
    api.start()

    assert api.base_url == before
    assert (await client("/contacts"))[0] == 200


def test_a_taken_port_is_an_error(api: EmulatedApi, tmp_path: Any) -> None:
    """Nobody waits for a listener that cannot be."""
    second = EmulatedApi(tmp_path, certificate=api.certificate, tls=False)
    second.port = api.port

    with pytest.raises(RuntimeError, match="did not start"):
        second.start()
    assert second.base_url.startswith("http://")
