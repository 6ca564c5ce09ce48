"""
The main job through a real process: no key in the service, TLS and a key at the API.

One process and one emulated API for all of it, with a key from Secrets Manager and every
default on. The rules are tested one by one elsewhere; here is what a service relies on.
"""

import hashlib
import http.client
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest

from sidecar.emulator.aws import EmulatedAws
from sidecar.emulator.ca import Certificate
from sidecar.emulator.key_ring import Issued
from sidecar.emulator.state import Cut, Faults
from tests.support.bad_input import Witness
from tests.support.default_sidecar import DefaultSidecar, default_sidecar
from tests.support.processes import (
    SECRET_ID,
    HttpResponse,
    wait_until,
)
from tests.support.raw_http import RawClient, Seen

MEBI: Final = 1 << 20
BLOCK: Final = bytes(range(256)) * 256


class Job(DefaultSidecar):
    """A service's sidecar, and everything behind it."""

    @property
    def issued(self) -> Issued:
        """The key in use."""
        return self.keys[-1]

    def call(self, target: str, **options: Any) -> HttpResponse:
        """Make a call as the service."""
        return self.process.call(target, **options)

    def raw(self, lines: str, body: bytes = b"") -> Seen:
        """Make a call byte by byte; returns the answer as h11 sees it."""
        method = lines.split(" ", 1)[0].encode()
        with RawClient(self.process.address()) as client:
            client.send(lines.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            return client.answer(method)

    @property
    def looks(self) -> int:
        """How often Secrets Manager was asked."""
        return sum(self.faulty_aws.calls.values())


@pytest.fixture(name="job", scope="module")
def _job(
    moto_server: EmulatedAws,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Job]:
    """One process for all tests of this file."""
    directory = tmp_path_factory.mktemp("job")
    with default_sidecar(moto_server, certificate, directory, access="all") as parts:
        yield Job(**vars(parts))


def test_the_service_has_no_key_and_the_api_sees_one(job: Job) -> None:
    """Ours and no other, whatever the service sends; cookies stay where they are."""
    answer = job.call(
        "/echo/a%2Fb?c=%20d",
        headers={"authorization": "Bearer mine", "Cookie": "session=1", "X-A": "1"},
    )
    heard = job.api.state.echoes[-1]
    fields = [(name.lower(), value) for name, value in heard.headers]

    assert answer.status == 200
    assert heard.target == "/v1/echo/a%2Fb?c=%20d"
    credentials = [value for name, value in fields if name == "authorization"]
    assert credentials == [f"Bearer {job.issued.key}"]
    assert "cookie" not in dict(fields)
    assert dict(fields)["accept"] == "application/json"
    assert dict(fields)["x-a"] == "1"
    assert "content-type" not in dict(fields)
    assert dict(fields)["host"] == f"127.0.0.1:{job.api.port}"
    # The echo has the key in it: on its way back it is overwritten.
    assert job.issued.key.encode() not in answer.body
    assert b"*" * len(job.issued.key) in answer.body


def test_json_goes_there_and_back(job: Job) -> None:
    """A contact is made, changed and read; each answer is the API's."""
    fields = {"Content-Type": "application/json"}
    made = job.call("/contacts", method="POST", body=b'{"name":"Ada"}', headers=fields)
    path = f"/contacts/{made.json()['id']}"
    changed = job.call(path, method="PATCH", body=b'{"name":"Ada L."}', headers=fields)
    read = job.call(path)

    assert (made.status, changed.status, read.status) == (201, 200, 200)
    assert read.json() == changed.json()
    assert read.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "status", [200, 301, 400, 403, 404, 409, 418, 422, 429, 500, 502, 503, 504, 599]
)
def test_an_answer_of_the_api_is_passed_on(job: Job, status: int) -> None:
    """Its status and body, without a code of ours; Secrets Manager hears nothing."""
    looks = job.looks
    before = Witness(job.process)
    answer = job.call(f"/status/{status}")

    assert (answer.status, answer.json()) == (status, {"status": status})
    assert "x-sidecar-error" not in answer.headers
    labels = {"code": str(status), "origin": "upstream"}
    assert before.grew("sidecar_requests_total", **labels) == 1
    forbidden = 1 if status == 403 else 0
    assert before.grew("sidecar_auth_failures_total", code="403") == forbidden
    assert before.grew("sidecar_auth_failures_total", code="401") == 0
    assert job.looks == looks


def test_403_and_404_are_answers_of_their_own(job: Job) -> None:
    """A missing scope and a missing contact: the log tells the first in plain words."""
    before = Witness(job.process)
    missing = job.call("/contacts/c_99999")
    job.api.fail(Faults(path="/v1/contacts", forbidden=True))
    forbidden = job.call("/contacts")
    job.api.fail()

    assert (missing.status, missing.json()["error"]["code"]) == (404, "not_found")
    assert forbidden.json()["error"]["code"] == "missing_scope"
    # Written after the answer: the service may have it before the log has the line.
    line = before.wait_told("api_forbidden")
    assert "The key works" in line["explanation"]
    assert len(before.told("api_forbidden")) == 1
    assert before.told("api_unauthorized") == []


def test_a_redirect_stays_on_this_listener(job: Job) -> None:
    """It is not followed; under the API's base it becomes the local path."""
    local = job.call(f"/status/302?location={job.api.base_url}/contacts")
    foreign = job.call("/status/302?location=https://other.example/a")

    assert (local.status, local.headers["location"]) == (302, "/contacts")
    assert foreign.headers["location"] == "https://other.example/a"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_ends_with_its_head(job: Job, status: int) -> None:
    """The next answer on the connection is the next call's."""
    lines = f"GET /status/{status} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with RawClient(job.process.address()) as client:
        client.send(lines * 2)
        seen = client.answers(b"GET", b"GET")

    assert [one.status for one in seen] == [status, status]
    assert [one.body for one in seen] == [b"", b""]


def test_head_has_the_length_and_no_body(job: Job) -> None:
    """As the API says, byte for byte."""
    seen = job.raw("HEAD /big?bytes=70000 HTTP/1.1\nHost: localhost")

    assert (seen.status, seen.body) == (200, b"")
    assert seen.field(b"content-length") == b"70000"


@pytest.mark.parametrize("chunked", [0, 1])
def test_a_download_arrives_whole(job: Job, chunked: int) -> None:
    """With a length or in chunks: the digest is the API's."""
    size = 5 * MEBI + 7
    answer = job.call(f"/big?bytes={size}&chunked={chunked}", seconds=30)

    assert len(answer.body) == size
    digest = hashlib.sha256(answer.body).hexdigest()
    assert digest == answer.headers["x-content-sha256"]


@pytest.mark.parametrize("how", ["length", "chunks", "continue"])
def test_an_upload_arrives_whole(job: Job, how: str) -> None:
    """With a length, in chunks, or after the API is there (100 Continue)."""
    blocks = [BLOCK] * 40
    body = b"".join(blocks)
    head = "PUT /upload HTTP/1.1\nHost: localhost\n"
    with RawClient(job.process.address()) as client:
        if how == "chunks":
            lines = head + "Transfer-Encoding: chunked"
            sent = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in blocks)
            sent += b"0\r\n\r\n"
        else:
            lines = head + f"Content-Length: {len(body)}"
            sent = body
        if how == "continue":
            lines += "\nExpect: 100-continue"
        client.send(lines.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        if how == "continue":
            assert client.read().startswith(b"HTTP/1.1 100 Continue\r\n")
        client.send(sent)
        answer = http.client.HTTPResponse(client.sock, method="PUT")
        answer.begin()
        told = answer.read()

    assert answer.status == 201
    assert hashlib.sha256(body).hexdigest().encode() in told


def test_a_gzipped_answer_is_passed_on_as_it_is(job: Job) -> None:
    """With the key in it, it cannot be repaired: 502 and not a byte of it."""
    seen = job.call("/gzip", headers={"Accept-Encoding": "gzip"})

    assert seen.headers["x-sidecar-error"] == "reflection_blocked"
    assert b"\x1f\x8b" not in seen.body


def test_events_are_flushed_as_they_come(job: Job) -> None:
    """The first one is there long before the stream ends; leaving cancels the call."""
    cancelled = job.api.state.cancelled
    with RawClient(job.process.address()) as client:
        client.send(b"GET /events?interval=3600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"event: tick" not in client.raw:
            assert client.read()
        assert job.api.state.inflight == 1

    wait_until(lambda: job.api.state.cancelled == cancelled + 1, "the cancelled call")
    assert job.api.state.inflight == 0
    wait_until(lambda: job.process.logs("client_disconnected"), "client_disconnected")


def test_a_stream_outlives_its_key(job: Job, moto_server: EmulatedAws) -> None:
    """A call in flight ends on the key that it began with; the next has the new one."""
    old = job.issued
    with RawClient(job.process.address()) as stream:
        stream.send(
            b"GET /events?count=3&interval=0.3 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        while b"event: tick" not in stream.raw:
            assert stream.read()
        job.keys.append(job.api.issue())
        moto_server.rotate(SECRET_ID, job.issued.key)
        job.api.revoke(old.id)
        assert job.call("/contacts").status == 200
        while not stream.raw.endswith(b"0\r\n\r\n"):
            assert stream.read(), "the stream was cut"

    assert stream.raw.count(b"event: tick") == 3
    job.process.assert_never_shown(old.key, job.issued.key)


@pytest.mark.parametrize(
    ("cut", "status", "code"),
    [(Cut.HEAD, 502, "upstream_protocol"), (Cut.BODY, 200, "")],
)
def test_an_api_that_hangs_up_is_seen(
    job: Job, cut: Cut, status: int, code: str
) -> None:
    """Before its answer: a 502. In its middle: the service sees that it is not whole."""
    job.api.fail(Faults(path="/v1/contacts", cut=cut))
    seen = job.raw("POST /contacts HTTP/1.1\nHost: localhost\nContent-Length: 2", b"{}")
    job.api.fail()

    assert (seen.status, seen.code, seen.whole) == (status, code, bool(code))
    assert job.call("/contacts").status == 200


def test_one_connection_serves_many_calls_in_order(job: Job) -> None:
    """Pipelined or not, on one connection to the sidecar."""
    targets = [f"/contacts/c_{number:05d}" for number in range(1, 21)]
    lines = "".join(f"GET {one} HTTP/1.1\r\nHost: localhost\r\n\r\n" for one in targets)
    with RawClient(job.process.address()) as client:
        client.send(lines.encode())
        seen = client.answers(*[b"GET"] * len(targets))

    ids = [f"c_{number:05d}" for number in range(1, 21)]
    assert [ids[n].encode() in one.body for n, one in enumerate(seen)] == [True] * 20


def test_a_service_that_leaves_in_mid_upload_leaves_nothing(job: Job) -> None:
    """The API sees that the call is not whole, and is free again."""
    with RawClient(job.process.address()) as client:
        client.send(
            b"PUT /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
            + BLOCK
        )
        wait_until(lambda: job.api.state.inflight == 1, "the upload's beginning")
        client.sock.shutdown(socket.SHUT_RDWR)

    wait_until(lambda: job.api.state.inflight == 0, "the upload's end")
    inflight = "sidecar_inflight_requests"
    wait_until(lambda: job.process.metrics().value(inflight) == 0, inflight)
