"""
The life of a process as its operator sees it: start, reload, drain, end, start again.

What a call sees of SIGTERM in each of its phases is in `test_faults_process.py`.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.app import AGAIN_SECONDS
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import Issued
from sidecar.errors import Code, Exit
from tests.support.attack_rig import AttackRig, attacked
from tests.support.bad_input import GET, HOST, Becomes, Witness, ask, no_bug, serves
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    call,
    merge,
    wait_until,
)
from tests.support.raw_http import (
    KEY,
    OK,
    Conversation,
    RawApi,
    RawClient,
    always,
    file_settings,
)

Start = Callable[..., SidecarProcess]


class Held:
    """An API that holds its answers back until it is let."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let = threading.Event()

    def __call__(self, conversation: Conversation) -> None:
        """Take a call, and answer it when it is let; else hang up."""
        while conversation.request() is not None:
            self.asked.set()
            if not self.let.wait(20):
                return
            conversation.send(OK)


@pytest.fixture(name="rig")
def _rig(tmp_path: Path) -> Iterator[AttackRig]:
    """A sidecar of this test alone."""
    with attacked(tmp_path, {"log": {"access": "all"}}) as rig:
        yield rig


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_is_told_and_waits_for_the_last_call(
    rig: AttackRig, number: signal.Signals
) -> None:
    """Not ready at once, alive to the end; what had begun is finished, exit code 0."""
    held = Held()
    with RawClient(rig.address) as client, RawClient(rig.address) as late:
        late.send(GET)
        assert late.answer().status == 200
        rig.api.hang_up()
        rig.api.script = held
        late.send(GET[:30])
        client.send(GET)
        assert held.asked.wait(10)
        rig.process.send(number)
        wait_until(lambda: rig.process.admin("/readyz").status == 503, "/readyz")
        assert rig.process.admin("/livez").status == 200
        assert rig.process.admin("/startupz").status == 200
        assert rig.process.status()["draining"] is True
        refused_now(rig.address)

        # A connection on which a head had begun is open still; it gets no new call.
        before = Witness(rig.process)
        late.send(GET[30:])
        before.refused(late.answer(), Becomes(Code.DRAINING, "shutting down"))
        assert late.rest().endswith(b"}\n")
        held.let.set()
        assert client.answer().status == 200
        assert client.read() == b""

    assert rig.process.wait() == Exit.OK
    assert [line["event"] for line in rig.process.logs()][-1] == "stopped"
    assert rig.process.logs("draining")[0]["seconds"] == 25


def refused_now(address: str) -> None:
    """Wait until no process listens any more."""
    host, _, port = address.rpartition(":")

    def closed() -> bool:
        try:
            socket.create_connection((host, int(port)), 5).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(closed, "the listener's end")


def test_a_drain_ends_in_its_time(tmp_path: Path) -> None:
    """A call that goes on for longer is cut, and the exit code is still 0."""
    with attacked(tmp_path, {"drain": {"timeout_seconds": 0.3}}) as rig:
        held = Held()
        rig.api.script = held
        with RawClient(rig.address) as client:
            client.send(GET)
            assert held.asked.wait(10)
            rig.process.send(signal.SIGTERM)
            assert client.rest() == b""
            assert rig.process.wait() == Exit.OK
        held.let.set()
        no_bug(rig.process)
        assert rig.process.logs("draining")[0]["calls"] == 1
        assert rig.process.logs("drain_cut")[0]["calls"] == 1
        assert rig.process.logs("client_disconnected") == [], "it was us"


def test_an_answer_until_close_that_a_drain_cuts_is_seen_to_be_cut(
    tmp_path: Path,
) -> None:
    """To HTTP/1.0 the end of the connection would be the end of the body."""
    with attacked(tmp_path, {"drain": {"timeout_seconds": 0.3}}) as rig:
        begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        rig.api.script = always(begun)
        with RawClient(rig.address) as client:
            client.send(b"GET /contacts HTTP/1.0\r\nHost: localhost\r\n\r\n")
            while b"hello" not in client.raw:
                assert client.read()
            rig.process.send(signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                client.sock.recv(1)

        assert rig.process.wait() == Exit.OK


def test_a_signal_that_comes_twice_is_one(rig: AttackRig) -> None:
    """`timeout` signals its child and then the group: the drain goes on."""
    held = Held()
    rig.api.script = held
    with RawClient(rig.address) as client:
        client.send(GET)
        assert held.asked.wait(10)
        rig.process.send(signal.SIGSTOP)  # so that it finds both together
        rig.process.send(signal.SIGTERM)
        rig.process.send(signal.SIGINT)
        rig.process.send(signal.SIGCONT)
        wait_until(lambda: rig.process.logs("draining"), "draining")
        held.let.set()
        assert client.answer().status == 200
    assert rig.process.wait() == Exit.OK
    assert rig.process.logs("stopped_at_once") == []


def test_a_second_signal_is_an_end_at_once(rig: AttackRig) -> None:
    """With an exit code and a line of its own."""
    held = Held()
    rig.api.script = held
    with RawClient(rig.address) as client:
        client.send(GET)
        assert held.asked.wait(10)
        rig.process.send(signal.SIGTERM)
        wait_until(lambda: rig.process.logs("draining"), "draining")
        time.sleep(2 * AGAIN_SECONDS)
        rig.process.send(signal.SIGTERM)
        assert rig.process.wait() == Exit.UNEXPECTED
    held.let.set()

    (line,) = rig.process.logs("stopped_at_once")
    assert (line["reason"], line["calls"]) == ("a second signal", 1)


def command(start: Start, process: SidecarProcess, *arguments: str) -> tuple[int, str]:
    """Run another command beside a sidecar; returns its exit code and output."""
    url = f"http://{process.address('admin')}"
    other = start({}, command=[*arguments, "--url", url])
    code = other.wait()
    return code, other.output()


def test_the_commands_reach_a_running_sidecar(
    moto: AwsClient,
    api: EmulatedApi,
    running: SidecarProcess,
    sidecar_process: Start,
) -> None:
    """`wait`, `reload` and `quit`, from another process."""
    assert command(sidecar_process, running, "wait", "--timeout", "10")[0] == Exit.OK
    unchanged = command(sidecar_process, running, "reload")
    assert unchanged == (Exit.OK, f"{UPSTREAM}: unchanged\n")

    moto.rotate(SECRET_ID, api.issue().key)
    changed = command(sidecar_process, running, "reload")
    assert changed == (Exit.OK, f"{UPSTREAM}: changed\n")
    moto.rotate(SECRET_ID, "<placeholder>")
    invalid = command(sidecar_process, running, "reload")
    assert invalid == (Exit.CREDENTIAL, f"{UPSTREAM}: invalid\n")
    assert running.call().status == 200

    assert command(sidecar_process, running, "quit") == (Exit.OK, "draining\n")
    assert running.wait() == Exit.OK
    assert running.logs("quit_asked")


def test_sighup_looks_for_a_new_key(
    moto: AwsClient, api: EmulatedApi, issued: Issued, running: SidecarProcess
) -> None:
    """The new key is in use before any call needed it; nothing else happens."""
    new = api.issue()
    moto.rotate(SECRET_ID, new.key)
    running.send(signal.SIGHUP)
    wait_until(lambda: running.logs("key_promoted"), "key_promoted")
    assert running.call().status == 200

    assert running.logs("reload_asked")[0]["by"] == "SIGHUP"
    assert new.id in api.state.by_key()
    assert issued.id not in api.state.by_key()
    running.assert_never_shown(issued.key, new.key)
    assert running.stop() == Exit.OK


STRANGERS: Final = (
    {"Origin": "http://localhost:8701"},
    {"Sec-Fetch-Site": "none"},
    {"X-Forwarded-For": "10.0.0.1"},
)
"""A page, a browser's address bar, a caller behind a proxy."""


def test_no_page_and_no_proxy_ends_a_sidecar(running: SidecarProcess) -> None:
    """Commands are for this machine's operator alone, and only by POST."""
    for path in ("/-/quit", "/-/reload"):
        assert running.admin(path).status == 405
        for fields in STRANGERS:
            answer = call(running.address("admin"), path, method="POST", headers=fields)
            assert answer.status == 403

    assert len(running.logs("command_refused")) == 2 * len(STRANGERS)
    assert running.call().status == 200


def test_a_killed_sidecar_starts_again_on_its_port(
    sidecar_process: Start, tmp_path: Path
) -> None:
    """With connections of the former one still about; no lock is left behind."""
    with RawApi() as api:
        settings = file_settings(tmp_path / "secret", api.base_url)
        first = sidecar_process(settings)
        first.wait_ready()
        address = first.address()
        with RawClient(address) as client:
            client.send(GET)
            assert client.answer().status == 200
            first.process.kill()
            first.wait()
            again = merge(settings, {"upstreams": {UPSTREAM: {"listen": address}}})
            second = sidecar_process(again)
            second.wait_ready()

            serves(address)


def on_socket(settings: Settings, path: Path, uids: list[int] | None) -> Settings:
    """Return settings for a listener on a Unix socket."""
    changes = {"listen": f"unix:{path}", "allow_uids": uids}
    return merge(settings, {"upstreams": {UPSTREAM: changes}})


def test_a_unix_socket_is_for_its_owner(sidecar_process: Start, tmp_path: Path) -> None:
    """Made with mode 0600; one left by a killed process is replaced, a live one not."""
    path = tmp_path / "s"
    with RawApi() as api:
        settings = file_settings(tmp_path / "secret", api.base_url)
        first = sidecar_process(on_socket(settings, path, None))
        first.wait_ready()
        assert first.address() == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        serves(first.address())
        assert ask(first.address(), b"GET / HTTP/1.0\r\n\r\n").status == 200

        thief = sidecar_process(on_socket(settings, path, None))
        assert thief.wait() == Exit.USAGE
        assert "cannot listen there" in thief.output()
        serves(first.address())

        first.process.kill()
        first.wait()
        assert path.is_socket()
        second = sidecar_process(on_socket(settings, path, None))
        second.wait_ready()
        serves(second.address())
        assert second.stop() == Exit.OK


OWN: Final = os.getuid()


def test_a_unix_socket_knows_its_callers(
    sidecar_process: Start, tmp_path: Path
) -> None:
    """`allow_uids` opens the socket to all, and lets only these be heard."""
    with RawApi() as api:
        settings = file_settings(tmp_path / "secret", api.base_url)
        allowed = sidecar_process(on_socket(settings, tmp_path / "a", [OWN, OWN + 1]))
        strict = sidecar_process(on_socket(settings, tmp_path / "b", [OWN + 1]))
        allowed.wait_ready()
        strict.wait_ready()
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666
        serves(allowed.address())

        api.forget()
        with RawClient(strict.address()) as client:
            client.send(b"GET / HTTP/1.1\r\n%b\r\n" % HOST)
            assert client.rest() == b""
        assert api.received == b""
        line = wait_until(lambda: strict.logs("peer_refused"), "peer_refused")[0]
        assert (line["uid"], line["upstream"]) == (OWN, UPSTREAM)
        assert strict.stop() == allowed.stop() == Exit.OK
        strict.assert_never_shown(KEY)
