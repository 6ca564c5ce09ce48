"""
The name of the API is moved to another server while calls are made.

New connections go where the name leads; those that are open serve on until they are
closed, idle or old, and no call fails when the old server goes. Only the answer to the
question who `api.test` is comes from a file: nobody but root can change the system's.
"""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo.traffic import Traffic
from sidecar.emulator.ca import Certificate, make_certificate
from sidecar.proxy.pool import MAX_AGE_SECONDS
from tests.support.attack_rig import HOST, limits
from tests.support.processes import UPSTREAM, SidecarProcess, merge, wait_until
from tests.support.raw_http import KEY, OK, Conversation, RawClient, Seen, file_settings
from tests.support.tls_api import TlsApi

NAME: Final = "api.test"
GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
SENT: Final = b"GET /v1/contacts HTTP/1.1\r\n"
POOLED: Final = 4

# RefreshSchedule into the file at each question, as libc does into /etc/hosts.
NAMED: Final = """
import socket, sys, uvloop
from pathlib import Path
from sidecar.proxy import pool
hosts, pool.MAX_AGE_SECONDS = Path(sys.argv.pop(1)), float(sys.argv.pop(1))
ask = uvloop.Loop.getaddrinfo
async def getaddrinfo(loop, host, port, **options):
    if host == "api.test":
        host = hosts.read_text()
        if not host:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return await ask(loop, host, port, **options)
uvloop.Loop.getaddrinfo = getaddrinfo
from sidecar.cli import main
sys.exit(main())
"""


class Server(TlsApi):
    """One of the two servers; it can keep its answers back."""

    def __init__(self, certificate: Certificate, host: str, port: int = 0) -> None:
        super().__init__(certificate.server_context(), host, port)
        self.host = host
        self.gate = threading.Event()
        self.gate.set()
        self.answer = OK
        self.most: int | None = None
        """So many calls of a connection are answered; the next one meets a close."""
        self.script = self.serve

    @property
    def calls(self) -> int:
        """How many calls have come."""
        return self.received.count(SENT)

    def serve(self, conversation: Conversation) -> None:
        """Answer each call when the gate is open."""
        answered = 0
        while conversation.request() is not None:
            assert self.gate.wait(20)
            if self.most is not None and answered >= self.most:
                return
            conversation.send(self.answer)
            answered += 1


@dataclass
class DnsRig:
    """A sidecar, and two servers that have the name one after the other."""

    process: SidecarProcess
    hosts: Path
    old: Server
    new: Server
    other: Server
    """At the new one's place in some tests: it cannot prove the name."""

    def move(self, to: Server | None) -> None:
        """Let the name lead to this server; None: nowhere."""
        self.hosts.write_text("" if to is None else to.host)

    def call(self) -> Seen:
        """Make a call on a connection of its own."""
        with RawClient(self.process.address()) as client:
            client.send(GET)
            return client.answer()

    def at_once(self, count: int) -> None:
        """Make so many calls of which none is answered before all have arrived."""
        servers = (self.old, self.new)
        before = sum(server.calls for server in servers)
        for server in servers:
            server.gate.clear()
        with ThreadPoolExecutor(count) as pool:
            calls = [pool.submit(self.call) for _ in range(count)]
            try:
                wait_until(
                    lambda: sum(one.calls for one in servers) == before + count,
                    "all calls",
                )
            finally:
                for server in servers:
                    server.gate.set()
        assert {call.result().status for call in calls} == {200}

    def idle(self) -> float:
        """Return how many connections to the API wait for a call."""
        return self.process.metrics().value(
            "sidecar_upstream_connections", state="idle"
        )


@pytest.fixture(name="rig")
def _rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DnsRig]:
    """Connections to the old server are open, and then the name is moved."""
    age: float = getattr(request, "param", MAX_AGE_SECONDS)
    certificates = [
        make_certificate(tmp_path / str(number), names=[name])
        for number, name in enumerate([NAME, NAME, "other.test"])
    ]
    bundle = tmp_path / "authorities.pem"
    bundle.write_bytes(b"".join(one.ca_file.read_bytes() for one in certificates))
    hosts = tmp_path / "hosts"
    good, moved, wrong = certificates
    with (
        Server(good, "127.0.0.1") as old,
        Server(moved, "127.0.0.2", old.port) as new,
        Server(wrong, "127.0.0.3", old.port) as other,
    ):
        base = file_settings(tmp_path, f"https://{NAME}:{old.port}/v1")
        trust = {"upstreams": {UPSTREAM: {"ca_file": str(bundle)}}}
        fast = merge(limits(connect_seconds=2, response_seconds=10), trust)
        program = [sys.executable, "-c", NAMED, str(hosts), str(age)]
        settings = merge(base, fast)
        process = SidecarProcess(tmp_path / "sidecar", settings, program=program)
        try:
            rig = DnsRig(process, hosts, old, new, other)
            rig.move(old)
            process.wait_ready()
            yield rig
            process.assert_never_shown(KEY)
            assert process.logs("internal_error") == []
        finally:
            process.close()


def test_new_connections_follow_the_name(rig: DnsRig) -> None:
    """The open ones serve on; when the old server goes, no call is lost."""
    rig.at_once(POOLED)
    assert len(rig.old.conversations) == POOLED

    rig.move(rig.new)
    rig.at_once(POOLED + 2)
    assert len(rig.old.conversations) == POOLED
    assert len(rig.new.conversations) == 2

    rig.old.stop()
    before = rig.new.calls
    with ThreadPoolExecutor(5) as pool:
        statuses = [one.status for one in pool.map(lambda _: rig.call(), range(30))]
    assert statuses == [200] * 30
    assert rig.new.calls == before + 30


def test_an_old_server_that_closes_under_load_costs_no_call(rig: DnsRig) -> None:
    """A call that crosses the close is made again, at the new one."""
    rig.at_once(POOLED)
    rig.move(rig.new)
    rig.old.most = 1
    with ThreadPoolExecutor(POOLED) as pool:
        statuses = [one.status for one in pool.map(lambda _: rig.call(), range(60))]

    assert statuses == [200] * 60
    assert rig.old.calls > POOLED, "a call has come, and was not answered"
    assert rig.new.calls == 60


def test_connections_to_the_old_server_idle_out(rig: DnsRig) -> None:
    """Without load the last one is gone within the idle time."""
    rig.old.answer = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=2\r\n\r\n")
    rig.at_once(2)
    rig.move(rig.new)
    wait_until(lambda: rig.idle() == 0, "the idle time", 20)

    assert rig.call().status == 200
    assert (rig.old.calls, rig.new.calls) == (2, 1)


@pytest.mark.parametrize("rig", [1.0], indirect=True, ids=["old-after-1-s"])
def test_a_busy_connection_follows_the_name_when_it_has_grown_old(
    rig: DnsRig,
) -> None:
    """That holds though the old server would keep it open, and no call is lost."""
    rig.at_once(POOLED)
    rig.move(rig.new)
    with Traffic(
        rig.process.address(), POOLED, [("GET", "/contacts", None)]
    ) as traffic:
        wait_until(lambda: moved(rig), "the move", 20)

    assert set(traffic.counts) == {"200"}


def moved(rig: DnsRig) -> bool:
    """Tell whether calls come to the new server, and to the old one no more."""
    old, new = rig.old.calls, rig.new.calls
    time.sleep(0.5)
    return rig.old.calls == old and rig.new.calls > new + 50


def test_a_name_that_leads_nowhere(rig: DnsRig) -> None:
    """Only new connections fail; an old answer is not used instead."""
    rig.at_once(1)
    rig.move(None)
    assert rig.call().status == 200

    rig.old.hang_up()
    wait_until(lambda: rig.idle() == 0, "the close")
    seen = rig.call()
    assert (seen.status, seen.code) == (502, "upstream_unreachable")
    assert b"cannot be resolved" in seen.body
    assert NAME.encode() not in seen.body

    rig.move(rig.new)
    assert rig.call().status == 200
    assert rig.new.calls == 1


def test_a_name_that_was_taken_over(rig: DnsRig) -> None:
    """Who cannot prove the name gets no call; open connections are to who could."""
    rig.at_once(1)
    rig.move(rig.other)
    assert rig.call().status == 200

    rig.old.hang_up()
    wait_until(lambda: rig.idle() == 0, "the close")
    seen = rig.call()
    assert (seen.status, seen.code) == (502, "upstream_tls")
    assert rig.other.received == b""

    rig.move(rig.new)
    assert rig.call().status == 200
