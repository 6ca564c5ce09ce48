"""
TLS to the API, from outside: whom the sidecar does not trust gets no byte of a call.

The faults of a handshake are a 502 `upstream_tls` with its reason in words, or a 504; an
end without close_notify is a cut answer, because anybody on the way can cause it.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from sidecar.emulator.ca import Certificate, make_certificate
from sidecar.errors import Code
from tests.support.attack_rig import limits
from tests.support.bad_input import Becomes, Witness, ask, no_bug, serves
from tests.support.processes import UPSTREAM, Settings, SidecarProcess, merge
from tests.support.raw_http import (
    KEY,
    OK,
    Conversation,
    RawApi,
    Script,
    always,
    file_settings,
    once,
)
from tests.support.tls_api import TlsApi

START: Final = b"HTTP/1.1 200 OK\r\n"
DAY: Final = timedelta(days=1)


def notified(answer: bytes, *, notify: bool) -> Script:
    """Answer once, and close the connection with or without close_notify."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(answer)
        if notify and isinstance(conversation.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                conversation.sock.unwrap()

    return script


def server(certificate: Certificate, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the server's side of TLS, of this version and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    context.minimum_version = context.maximum_version = newest
    return context


@dataclass
class TlsRig:
    """One sidecar before many APIs, of which it should trust two."""

    process: SidecarProcess
    apis: Mapping[str, TlsApi]

    def address(self, upstream: str) -> str:
        """Where a service calls an upstream."""
        return self.process.address(upstream)


def _upstream(directory: Path, base_url: str, ca_file: Path) -> Settings:
    settings = file_settings(directory, base_url)
    upstream: Settings = settings["upstreams"][UPSTREAM]
    short: Settings = limits(connect_seconds=0.6)["upstreams"][UPSTREAM]
    return merge(merge(upstream, {"ca_file": str(ca_file)}), short)


@pytest.fixture(name="rig", scope="module")
def _rig(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsRig]:
    """One process for all rows."""
    directory = tmp_path_factory.mktemp("tls")
    other = make_certificate(directory / "other")
    named = make_certificate(directory / "name", names=["api.other.example"])
    old = make_certificate(directory / "old", starts=-3 * DAY, lifetime=DAY)
    early = make_certificate(directory / "early", starts=DAY, lifetime=DAY)
    tls_1_3 = ssl.TLSVersion.TLSv1_3
    contexts = {
        "good": (server(certificate, tls_1_3), certificate),
        "tls-1-2": (server(certificate, ssl.TLSVersion.TLSv1_2), certificate),
        "other-ca": (server(other, tls_1_3), certificate),
        "other-name": (server(named, tls_1_3), named),
        "expired": (server(old, tls_1_3), old),
        "early": (server(early, tls_1_3), early),
    }
    with ExitStack() as stack:
        apis = {
            name: stack.enter_context(TlsApi(context))
            for name, (context, _) in contexts.items()
        }
        plain = stack.enter_context(RawApi())
        plain.script = lambda conversation: conversation.send(OK)
        # No process accepts: the kernel completes TCP, and nothing follows.
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        bases = {
            "no-tls": f"https://127.0.0.1:{plain.port}/v1",
            "mute": f"https://127.0.0.1:{mute.getsockname()[1]}/v1",
        }
        upstreams = {
            name: _upstream(directory, apis[name].base_url, trusted.ca_file)
            for name, (_, trusted) in contexts.items()
        } | {
            name: _upstream(directory, base_url, certificate.ca_file)
            for name, base_url in bases.items()
        }
        settings = merge(
            file_settings(directory, "https://127.0.0.1:1/v1"),
            {"upstreams": {UPSTREAM: None, **upstreams}, "log": {"level": "debug"}},
        )
        process = SidecarProcess(directory / "sidecar", settings)
        stack.callback(process.close)
        process.wait_ready()
        yield TlsRig(process, apis)
        process.assert_never_shown(KEY)
        no_bug(process)


@pytest.mark.parametrize(
    ("upstream", "code", "words"),
    [
        pytest.param("other-ca", Code.UPSTREAM_TLS, "unable to get", id="authority"),
        pytest.param("other-name", Code.UPSTREAM_TLS, "mismatch", id="name"),
        pytest.param("expired", Code.UPSTREAM_TLS, "expired", id="expired"),
        pytest.param("early", Code.UPSTREAM_TLS, "not yet valid", id="early"),
        pytest.param("no-tls", Code.UPSTREAM_TLS, "handshake", id="no-tls"),
        pytest.param("mute", Code.UPSTREAM_TIMEOUT, "connect_seconds", id="mute"),
    ],
)
def test_who_is_not_trusted_gets_no_call(
    rig: TlsRig, upstream: str, code: Code, words: str
) -> None:
    """The reason is told, counted and logged; not a byte of the call was sent."""
    before = Witness(rig.process)
    before.refused(ask(rig.address(upstream)), Becomes(code, words), upstream)

    if upstream in rig.apis:
        assert rig.apis[upstream].received == b""
    serves(rig.address("good"))


@pytest.mark.parametrize(("upstream", "version"), [("good", "TLSv1.3"), ("tls-1-2", "TLSv1.2")])  # fmt: skip
def test_both_versions_of_tls_are_spoken(
    rig: TlsRig, upstream: str, version: str
) -> None:
    """And the connection is kept for the next call."""
    api = rig.apis[upstream]
    api.hang_up()
    api.script = always(OK)
    api.forget()
    for _ in range(3):
        serves(rig.address(upstream))

    (conversation,) = [one for one in api.conversations if one.received]
    assert isinstance(conversation.sock, ssl.SSLSocket)
    assert conversation.sock.version() == version


@pytest.mark.parametrize("upstream", ["good", "tls-1-2"])
@pytest.mark.parametrize("notify", [True, False], ids=["notified", "cut"])
def test_only_close_notify_ends_an_answer_without_length(
    rig: TlsRig, upstream: str, notify: bool
) -> None:
    """A FIN alone may come from anybody on the way (RFC 9112, 9.8)."""
    api = rig.apis[upstream]
    api.hang_up()
    api.script = notified(START + b"\r\nhal.", notify=notify)
    before = Witness(rig.process)
    seen = ask(rig.address(upstream))

    assert (seen.status, seen.body, seen.whole) == (200, b"hal.", notify)
    if not notify:
        before.wait_told("answer_cut")
    assert len(before.told("answer_cut")) == (0 if notify else 1)
    api.script = always(OK)
    serves(rig.address(upstream))


def test_an_end_in_the_head_is_a_502(rig: TlsRig) -> None:
    """With TLS as without."""
    api = rig.apis["good"]
    api.hang_up()
    api.script = once(START)
    before = Witness(rig.process)
    want = Becomes(Code.UPSTREAM_PROTOCOL, "closed the connection")
    before.refused(ask(rig.address("good")), want, "good")

    api.script = always(OK)
    serves(rig.address("good"))
