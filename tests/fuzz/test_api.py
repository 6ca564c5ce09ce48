"""Any bytes from the API, in any pieces: the service sees a whole answer or none."""

from typing import Final

from hypothesis import example, given, strategies as st

from tests.support.fuzz_oracle import Message, answers
from tests.support.fuzz_rig import KEY, NEXT_KEY, FuzzRig
from tests.support.fuzz_strategies import CUTS, answer, spiced, split

REQUEST: Final = b"%b /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
ENDS: Final = ["stays", "closes", "resets"]
RAW_KEY: Final = KEY.encode()


def run(
    method: bytes, pieces: list[bytes], end: str, *, replays: bool = False
) -> tuple[bytes, bool, FuzzRig]:
    """Make a call, answer it so, and return what the service saw."""
    rig = FuzzRig()
    rig.keys.replays = replays
    wire = rig.service()
    wire.feed(REQUEST % method)
    rig.settle()
    (upstream,) = rig.upstream
    for piece in pieces:
        upstream.feed(piece)
    if end == "closes":
        upstream.end()
    elif end == "resets":
        upstream.cut()
    rig.settle()
    return bytes(wire.out), wire.ended, rig


def masked(body: bytes) -> bytes:
    """Return a body as it should leave: h11's `Data`, with the key overwritten."""
    return body.replace(RAW_KEY, b"*" * len(RAW_KEY))


@given(
    st.sampled_from([b"GET", b"HEAD", b"POST"]),
    spiced(answer()),
    CUTS,
    st.sampled_from(ENDS),
    st.booleans(),
)
@example(b"GET", b"HTTP/1.1 101 Switching\r\n\r\n", [], "stays", False)
@example(
    b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", [], "stays", False
)
def test_a_whole_answer_is_one_that_another_parser_reads(
    method: bytes, raw: bytes, cuts: list[int], end: str, replays: bool
) -> None:
    """What the service takes for whole is whole, and says what the API said."""
    shown, ended, rig = run(method, split(raw, cuts), end, replays=replays)
    assert RAW_KEY not in shown
    assert NEXT_KEY.encode() not in shown
    if not shown:
        return

    (seen, *more) = answers(shown, [method, b"GET"], ended=ended)
    assert not more, "an answer that nobody asked for"
    if seen.values(b"x-sidecar-error"):
        assert seen.start in {b"502", b"504"}
        assert seen.whole
    elif seen.whole and len(rig.upstream) == 1:
        told = answers(raw, [method], ended=end == "closes")
        assert told, "no answer at all was taken for one"
        agree(told[0], seen)


def agree(told: Message, seen: Message) -> None:
    """Hold what was seen to what was told."""
    assert told.whole
    assert seen.start == told.start
    assert seen.body == masked(told.body)


@given(spiced(answer()), CUTS, CUTS, st.sampled_from(ENDS))
def test_the_pieces_do_not_matter(
    raw: bytes, cuts: list[int], others: list[int], end: str
) -> None:
    """The same answer is seen however it comes; chunks may have other borders."""
    shown, ended, _ = run(b"GET", split(raw, cuts), end)
    again, ended_again, _ = run(b"GET", split(raw, others), end)

    first = answers(shown, [b"GET"], ended=ended)
    second = answers(again, [b"GET"], ended=ended_again)
    for one, other in zip(first, second, strict=True):
        ours = [bool(m.values(b"x-sidecar-error")) for m in (one, other)]
        if ours == [False, False] and one.whole and other.whole:
            assert one == other
        elif ours == [True, False]:
            # What came with the head can still be refused; later it can only be cut.
            assert not other.whole
        elif ours == [False, True]:
            assert not one.whole


@given(st.lists(spiced(answer()), min_size=1, max_size=3), CUTS)
def test_what_is_remembered_changes_nothing(raws: list[bytes], cuts: list[int]) -> None:
    """An answer is read as if no other had been read before."""
    rig = FuzzRig()
    shown = b""
    for raw in raws:
        wire = rig.service()
        wire.feed(REQUEST % b"GET")
        rig.settle()
        upstream = next(one for one in reversed(rig.upstream) if not one.closed)
        for piece in split(raw, cuts):
            upstream.feed(piece)
        upstream.cut()
        rig.settle()
        shown = bytes(wire.out)
        wire.cut()
        rig.settle()
    fresh, _, _ = run(b"GET", split(raws[-1], cuts), "resets")

    assert shown == fresh
