"""
Several connections at once, in any order of events: an answer never goes to another call.

Every call has a tag, and everything that the API sends for it has this tag. So a tag of
another connection in what a service sees is an answer that went astray. One service is
replayed, cut, slowed and left in mid-call while the others go on.
"""

import re
from collections import deque
from typing import Final

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from tests.support.fuzz_oracle import answers, requests
from tests.support.fuzz_rig import KEY, FuzzRig, Wire
from tests.support.fuzz_strategies import CUTS, chunked, split

TAG: Final = re.compile(rb"tag-(\d+)-(\d+)-")
METHODS: Final = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT"])


class Service:
    """A connection of the service, and the calls it has made on it."""

    def __init__(self, number: int, wire: Wire) -> None:
        self.number = number
        self.wire = wire
        self.methods: list[bytes] = []
        self.unsent: deque[bytes] = deque()

    def call(self, method: bytes, body: bytes | None) -> bytes:
        """Make the next call; its tag is in the target and in the body."""
        tag = b"tag-%d-%d-" % (self.number, len(self.methods))
        self.methods.append(method)
        head = b"%b /%b HTTP/1.1\r\nHost: localhost\r\n" % (method, tag)
        if body is None:
            return head + b"\r\n"
        body = tag + body
        return b"%bTransfer-Encoding: chunked\r\n\r\n%b" % (head, chunked(body, [3]))


class Api:
    """A connection to the API, and how many of its requests were answered."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.answered = 0
        self.unsent: deque[bytes] = deque()

    def request(self) -> tuple[bytes, bytes] | None:
        """Return method and tag of the next request that is whole."""
        whole = [one for one in requests(bytes(self.wire.out)) if one.whole]
        if len(whole) <= self.answered or self.unsent:
            return None
        self.answered += 1
        method, target = whole[self.answered - 1].start.split(b" ")
        return method, target.removeprefix(b"/v1/")

    def idle(self) -> bool:
        """Return whether no call waits for anything on this connection."""
        asked = requests(bytes(self.wire.out))
        whole = all(one.whole for one in asked)
        return whole and len(asked) == self.answered and not self.unsent


class Crosstalk(RuleBasedStateMachine):
    """The proxy between services and API connections that take turns at random."""

    services = Bundle("services")

    def __init__(self) -> None:
        super().__init__()
        self.rig = FuzzRig(max_upstream_connections=3)
        self.open: list[Service] = []
        self.apis: list[Api] = []

    @rule(target=services)
    def connect(self) -> Service:
        """Let a service connect."""
        service = Service(len(self.open), self.rig.service())
        self.open.append(service)
        return service

    @rule(
        service=services,
        method=METHODS,
        body=st.none() | st.binary(max_size=20),
        cuts=CUTS,
    )
    def call(
        self, service: Service, method: bytes, body: bytes | None, cuts: list[int]
    ) -> None:
        """Let it make a call, which is sent piece by piece."""
        service.unsent.extend(split(service.call(method, body), cuts))

    @rule(service=services, pieces=st.integers(1, 9))
    def send(self, service: Service, pieces: int) -> None:
        """Let it send some of what it has to."""
        for _ in range(min(pieces, len(service.unsent))):
            service.wire.feed(service.unsent.popleft())
        self.rig.settle()

    @rule(service=consumes(services), how=st.sampled_from(["cut", "end"]))
    def leave(self, service: Service, how: str) -> None:
        """Let it go, whatever is under way."""
        service.unsent.clear()
        if how == "cut":
            service.wire.cut()
        else:
            service.wire.end()
        self.rig.settle()

    @rule(
        number=st.integers(0, 5),
        kind=st.sampled_from(
            ["whole", "whole", "chunks", "close", "401", "extra", "twice", "interim"]
        ),
        cuts=CUTS,
    )
    def answer(self, number: int, kind: str, cuts: list[int]) -> None:
        """Let the API answer a request on one of its connections."""
        api = self.api(number)
        asked = api.request() if api else None
        if api is None or asked is None:
            return
        method, tag = asked
        api.unsent.extend(split(self.told(kind, method, tag), cuts))

    def told(self, kind: str, method: bytes, tag: bytes) -> bytes:
        """Make the bytes of an answer."""
        status = b"401 No" if kind == "401" else b"200 OK"
        body = b"" if method == b"HEAD" else tag
        fields = b"X-Tag: %b\r\n" % tag
        whole = b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            status,
            fields,
            len(tag),
            body,
        )
        if kind == "chunks" and body:
            start = b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % fields
            return start + chunked(body, [2, 3])
        if kind == "close" and body:
            return b"HTTP/1.1 200 OK\r\n%bConnection: close\r\n\r\n%b" % (fields, body)
        if kind == "interim":
            return b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole
        return whole * 2 if kind == "twice" else whole + b"x" * (kind == "extra")

    @rule(number=st.integers(0, 5), pieces=st.integers(1, 9))
    def deliver(self, number: int, pieces: int) -> None:
        """Let some of an answer arrive."""
        api = self.api(number)
        if api is not None:
            for _ in range(min(pieces, len(api.unsent))):
                api.wire.feed(api.unsent.popleft())
            self.rig.settle()

    @rule(
        number=st.integers(0, 5),
        how=st.sampled_from(["cut", "end", "noise"]),
    )
    def trouble(self, number: int, how: str) -> None:
        """Let a connection to the API be lost, or say something unasked."""
        api = self.api(number)
        if api is None:
            return
        if how == "noise":
            if api.idle():
                api.wire.feed(b"HTTP/1.1 200 OK\r\nX-Tag: tag-99-99-\r\n\r\n")
        elif how == "cut":
            api.unsent.clear()
            api.wire.cut()
        else:
            while api.unsent:
                api.wire.feed(api.unsent.popleft())
            api.wire.end()
        self.rig.settle()

    @rule(replays=st.booleans())
    def judge(self, replays: bool) -> None:
        """Let the keeper have a newer key, or none."""
        self.rig.keys.replays = replays

    @rule(seconds=st.sampled_from([0.5, 3, 61, 80]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.rig.wait(seconds)

    def api(self, number: int) -> Api | None:
        """Return one of the connections to the API that are open."""
        known = len(self.apis)
        self.apis += (Api(wire) for wire in self.rig.upstream[known:])
        alive = [one for one in self.apis if not one.wire.closed]
        return alive[number % len(alive)] if alive else None

    @invariant()
    def every_answer_is_its_calls_own(self) -> None:
        """Hold what each service has seen so far to its own calls, in their order."""
        for service in self.open:
            shown = bytes(service.wire.out)
            assert KEY.encode() not in shown
            whose = {int(match[1]) for match in TAG.finditer(shown)}
            assert whose <= {service.number}
            seen = answers(shown, service.methods, ended=False)
            for turn, one in enumerate(seen):
                tags = {int(match[2]) for match in TAG.finditer(told_in(one.fields))}
                tags |= {int(match[2]) for match in TAG.finditer(one.body)}
                assert tags <= {turn}

    @invariant()
    def the_api_is_asked_by_the_book(self) -> None:
        """No more connections than allowed, and each request is a good one."""
        counts = self.rig.server.pool.counts()
        assert sum(counts.values()) <= 3
        assert counts["active"] >= 0
        for wire in self.rig.upstream:
            for message in requests(bytes(wire.out)):
                assert len(message.values(b"authorization")) == 1

    def teardown(self) -> None:
        """Let everybody go: nothing may be left."""
        for service in self.open:
            service.wire.cut()
        self.rig.settle()
        assert self.rig.stats.inflight == 0
        assert not self.rig.server.clients
        assert self.rig.server.pool.counts()["active"] == 0


def told_in(fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the values of all fields."""
    return b" ".join(value for _, value in fields)


TestCrosstalk = Crosstalk.TestCase
TestCrosstalk.settings = settings(stateful_step_count=40)
