"""
What the attack suite shares: a sidecar between raw sockets, and a verdict on each row.

A row says what bytes come in, what must happen, and why. Nothing but two things may
happen: the bytes go on to the API exactly as said, or they are refused with a code and
not a byte leaves. After each row a healthy call must work.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import STATUS, Code
from tests.support.processes import (
    UPSTREAM,
    Settings,
    SidecarProcess,
    merge,
    wait_until,
)
from tests.support.raw_http import (
    KEY,
    OK,
    RawApi,
    RawClient,
    Seen,
    always,
    file_settings,
)

HOST: Final = b"Host: localhost\r\n"
END: Final = b"\r\n"
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What an attacker hides behind a message: it must never be a call of its own."""


@dataclass(frozen=True)
class Refused:
    """The bytes must be refused, and none of them may leave."""

    code: Code
    close: bool = True
    """The connection must end, because what follows cannot be told apart."""


@dataclass(frozen=True)
class Forwarded:
    """The call must leave exactly so."""

    line: bytes
    """The request line."""
    lines: Sequence[bytes] = ()
    """The fields besides ours, in order: those of the service that are end-to-end."""
    body: bytes = b""
    accept: bool = True
    """Whether we add `Accept: application/json`."""
    encoding: bytes = b"identity"


@dataclass(frozen=True)
class Row:
    """A row of a table of attacks."""

    why: str
    """What the attack lives on; shown when the row fails."""
    data: bytes
    want: "Refused | Forwarded"

    @property
    def method(self) -> bytes:
        """The method, as far as there is one."""
        first = self.data.lstrip().partition(b" ")[0]
        return first if first.isalpha() else b"GET"


@dataclass
class AttackRig:
    """A sidecar process and its two raw ends."""

    api: RawApi
    process: SidecarProcess
    address: str

    def ours(self, want: Forwarded) -> list[bytes]:
        """Return the fields that are ours, in any order: each exactly once."""
        return sorted(
            [
                b"Host: 127.0.0.1:%d" % self.api.port,
                b"Authorization: Bearer %b" % KEY.encode(),
                *([b"Accept: application/json"] if want.accept else []),
                *([b"Accept-Encoding: " + want.encoding] if want.encoding else []),
            ]
        )

    def judge(self, row: Row) -> None:
        """Send the bytes of a row and hold what happens to what must happen."""
        want = row.want
        self.api.script = always(OK)
        self.api.forget()
        with RawClient(self.address) as client:
            client.send(row.data)
            seen = client.answer(row.method)
            if isinstance(want, Refused):
                told = (seen.status, seen.code)
                assert told == (STATUS[want.code], want.code), f"{row.why}: {told}"
                if want.close:
                    client.rest()
                    assert client.raw.count(b"\r\nX-Sidecar-Error: ") == 1, row.why
                else:
                    client.send(b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert client.answer().status == 200
        if isinstance(want, Refused):
            sent = self.api.received
            assert sent.count(b"HTTP/1.1\r\n") == (0 if want.close else 1)
            assert b"smuggled" not in sent
        else:
            assert (seen.status, seen.code) == (200, ""), row.why
            self.left(self.api.received, want)
        self.healthy()

    def left(self, sent: bytes, want: Forwarded) -> None:
        """Hold the bytes that left to those that should."""
        head, _, body = sent.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        names = {b"host", b"authorization", b"accept-encoding"}
        names |= {b"accept"} if want.accept else set()
        ours = [one for one in lines if one.partition(b":")[0].lower() in names]
        others = [one for one in lines if one not in ours]

        assert line == want.line, line
        assert sorted(ours) == self.ours(want), ours
        assert others == list(want.lines), others
        assert body == want.body, body

    def healthy(self) -> None:
        """Make a call as a service would, on a connection of its own."""
        self.api.script = always(OK)
        with RawClient(self.address) as client:
            client.send(b"GET /healthy HTTP/1.1\r\n%b\r\n" % HOST)
            seen = client.answer()
        assert (seen.status, seen.code) == (200, ""), seen

    def at_rest(self) -> None:
        """Wait until no call is under way, and no connection works for one."""

        def rest() -> bool:
            metrics = self.process.metrics()
            return not metrics.value("sidecar_inflight_requests") and not metrics.value(
                "sidecar_upstream_connections", state="active"
            )

        wait_until(rest, "calls at rest")

    def bugs(self) -> list[str]:
        """Return what the log says of bugs of ours."""
        return [
            str(line)
            for event in ("internal_error", "loop_exception", "uncaught_exception")
            for line in self.process.logs(event)
        ]


@contextlib.contextmanager
def attacked(directory: Path, changes: Settings | None = None) -> Iterator[AttackRig]:
    """Run a sidecar with these changes to its settings, between raw sockets."""
    with RawApi() as api:
        settings = merge(file_settings(directory, api.base_url), changes or {})
        process = SidecarProcess(directory / "sidecar", settings)
        try:
            process.wait_ready()
            rig = AttackRig(api, process, process.address())
            yield rig
            if process.process.poll() is None:
                rig.at_rest()
            assert rig.bugs() == []
        finally:
            process.close()


def limits(**values: float) -> Settings:
    """Return settings with other limits."""
    return {"upstreams": {UPSTREAM: {"limits": values}}}


def refused_or_whole(seen: Seen) -> bool:
    """Tell whether an answer is one that a service may see."""
    return bool(seen.code) or seen.whole
