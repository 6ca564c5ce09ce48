"""Any bytes from the service, in any pieces: what leaves is well-formed and ours."""

from collections.abc import Sequence
from typing import Final

from hypothesis import example, given, strategies as st

from tests.support.fuzz_oracle import Message, answers, requests
from tests.support.fuzz_rig import BASE, KEY, FuzzRig
from tests.support.fuzz_strategies import CUTS, STREAM, split

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEVER: Final = frozenset(
    {b"cookie", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect"}
    | {b"proxy-authorization", b"origin", b"via", b"authorization_"}
)


def run(pieces: Sequence[bytes]) -> tuple[list[Message], bytes, bool]:
    """Feed the service's bytes; answer each request that left; return all of it."""
    rig = FuzzRig()
    wire = rig.service()
    answered: dict[int, int] = {}
    for piece in (*pieces, b""):
        wire.feed(piece)
        rig.settle()
        while True:
            progress = False
            for number, upstream in enumerate(rig.upstream):
                whole = sum(m.whole for m in requests(bytes(upstream.out)))
                if whole > answered.get(number, 0) and not upstream.closed:
                    answered[number] = answered.get(number, 0) + 1
                    upstream.feed(answer_to(requests(bytes(upstream.out))[-1]))
                    progress = True
            if not progress:
                break
    left = [m for upstream in rig.upstream for m in requests(bytes(upstream.out))]
    for upstream in rig.upstream:
        judge(bytes(upstream.out))
    return left, bytes(wire.out), wire.ended


def answer_to(message: Message) -> bytes:
    """Answer a request by the book."""
    if message.start.startswith(b"HEAD "):
        return OK[:-2]
    return OK


def judge(sent: bytes) -> None:
    """Hold what reached the API to the rules."""
    found = requests(sent)
    assert bool(found) == bool(sent), "what left is no request"
    for message in found:
        assert message.values(b"authorization") == [b"Bearer " + KEY.encode()]
        assert message.values(b"host") == [BASE.host_header]
        assert len(message.values(b"accept-encoding")) == 1
        assert message.start.split(b" ")[1].startswith(b"/v1/")
        assert not NEVER.intersection(name for name, _ in message.fields)
        framing = message.values(b"content-length")
        assert len(framing + message.values(b"transfer-encoding")) <= 1


@given(STREAM, CUTS)
@example(b"\nPOST /denied HTTP/1.1\r\nHost: localhost\r\n\r\n", [])
@example(b"\rTRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", [])
def test_what_leaves_is_what_another_parser_reads(
    stream: bytes, cuts: list[int]
) -> None:
    """Each call that leaves is one that h11 reads too: same place, method and body."""
    left, shown, ended = run(split(stream, cuts))
    read = iter(requests(stream))

    for message in left:
        if not message.whole:
            continue
        method, target = message.start.split(b" ")
        want = method + b" " + target.removeprefix(b"/v1")
        said = (want, message.body, True)
        assert said in ((one.start, one.body, one.whole) for one in read), (
            "a call that nobody made"
        )
    seen = answers(
        shown, [one.start.split()[0] for one in requests(stream)], ended=ended
    )
    assert KEY.encode() not in shown
    for one in seen:
        assert one.whole
        assert one.start not in {b"401", b"403", b"500"}


@given(STREAM, CUTS, CUTS)
@example(b"_GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", [], [1])
def test_the_pieces_do_not_matter(
    stream: bytes, cuts: list[int], others: list[int]
) -> None:
    """The same bytes make the same calls and the same answers, however they come."""
    left, shown, ended = run(split(stream, cuts))
    again, shown_again, ended_again = run(split(stream, others))

    assert [m for m in left if m.whole] == [m for m in again if m.whole]
    methods = [one.start.split()[0] for one in requests(stream)] or [b"GET"]
    assert told(shown, methods) == told(shown_again, methods)
    assert ended == ended_again


def told(shown: bytes, methods: list[bytes]) -> list[bytes]:
    """
    Return the status of each answer, or that it was refused.

    RevokeReason may depend on the pieces: of a line that is wrong in two ways, what came first.
    """
    seen = answers(shown, methods, ended=True)
    return [b"refused" if one.values(b"x-sidecar-error") else one.start for one in seen]


@given(st.lists(STREAM, min_size=1, max_size=3), CUTS)
@example(
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET \r/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    [],
)
def test_what_is_remembered_changes_nothing(
    streams: list[bytes], cuts: list[int]
) -> None:
    """A process that has read other heads before reads the next one as a fresh one."""
    rig = FuzzRig()
    for stream in streams[:-1]:
        wire = rig.service()
        wire.feed(stream)
        wire.cut()
        rig.settle()
    before = {id(upstream): len(upstream.out) for upstream in rig.upstream}
    wire = rig.service()
    for piece in split(streams[-1], cuts):
        wire.feed(piece)
    used = b"".join(
        bytes(upstream.out[before.get(id(upstream), 0) :]) for upstream in rig.upstream
    )
    fresh = FuzzRig()
    other = fresh.service()
    for piece in split(streams[-1], cuts):
        other.feed(piece)

    assert bytes(wire.out) == bytes(other.out)
    assert used == b"".join(bytes(upstream.out) for upstream in fresh.upstream)
