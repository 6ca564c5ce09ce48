"""Compressed answers are searched before a byte leaves, in bounded memory and time."""

import contextlib
import gzip
import itertools
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from sidecar.core.secrecy import compressed
from sidecar.core.secrecy.compressed import FREE, Inspector
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Code, Refused

KEY = "fln_live_0123456789abcdefXYZ"
NEEDLES = KeyMatcher([Secret(KEY)], "fln_live_")
BODY = b'{"contacts": [' + b'{"id": 1, "name": "a contact"},' * 200 + b"]}"


def raw_deflate(data: bytes) -> bytes:
    """Compress without zlib's wrapper, as some servers do."""
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


def inspect(kind: bytes, pieces: list[bytes]) -> bytes:
    """Return the bytes that leave."""
    inspector = Inspector(NEEDLES, kind)
    return b"".join([inspector.feed(piece) for piece in pieces]) + inspector.flush()


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut into pieces of this size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def refusal(kind: bytes, pieces: list[bytes]) -> str:
    """Return the sentence of the refusal."""
    with pytest.raises(Refused) as caught:
        inspect(kind, pieces)

    assert caught.value.code is Code.REFLECTION_BLOCKED
    return caught.value.detail


Compress = Callable[[bytes], bytes]

FORMS = [
    pytest.param(b"gzip", gzip.compress, id="gzip"),
    pytest.param(b"deflate", zlib.compress, id="deflate"),
    pytest.param(b"deflate", raw_deflate, id="raw-deflate"),
    pytest.param(
        b"gzip",
        lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
        id="two-members",
    ),
    pytest.param(
        b"gzip",
        lambda data: gzip.compress(b"") + bytes(99) + gzip.compress(data) + bytes(9),
        id="padded-members",
    ),
    pytest.param(b"gzip", lambda data: gzip.compress(data, 0), id="stored"),
]


@pytest.mark.parametrize(("kind", "compress"), FORMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_clean_answer_leaves_byte_for_byte(
    kind: bytes, compress: Compress, size: int
) -> None:
    """This holds for every coding that clients accept, whole or in pieces."""
    data = compress(BODY)

    assert inspect(kind, cut(data, size)) == data


@pytest.mark.parametrize(("kind", "compress"), FORMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(KEY, id="key"),
        pytest.param("fln_live_" + "anotherKey" * 3, id="new-key"),
    ],
)
def test_a_key_in_any_place_ends_the_answer(
    kind: bytes, compress: Compress, size: int, text: str
) -> None:
    """The key may be split over pieces and members."""
    for body in (text.encode(), BODY + text.encode() + BODY, text.encode() + BODY):
        assert "holds the API key" in refusal(kind, cut(compress(body), size))


def leaked(pieces: list[bytes]) -> bytes:
    """Return what a client can decode of the bytes before the refusal."""
    inspector = Inspector(NEEDLES, b"gzip")
    engine = zlib.decompressobj(31)
    out = b""
    try:
        for piece in pieces:
            out += engine.decompress(inspector.feed(piece))
    except Refused:
        return out
    pytest.fail("it was not refused")


@pytest.mark.parametrize("size", [1, 2, 3, 10, 40, 70, 110, 160])
def test_not_even_the_beginning_of_a_key_leaves(size: int) -> None:
    """A possible beginning of a key waits."""
    engine = zlib.compressobj(wbits=31)
    data = b""
    for byte in (b'{"a": "b"}\n' * 9 + KEY.encode() + b"\n").decode():
        # Flushed after each character: a client can decode every byte at once.
        data += engine.compress(byte.encode()) + engine.flush(zlib.Z_SYNC_FLUSH)

    assert b"fln" not in leaked(cut(data, size))


def test_what_decodes_to_much_is_decoded_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Input that zlib has read but not yet decoded is searched, too."""
    monkeypatch.setattr(compressed, "STEP", 10)
    clean = b"a" * 5000
    inspector = Inspector(NEEDLES, b"deflate")
    for piece in cut(raw_deflate(clean), 3):
        inspector.feed(piece)

    assert inspector._out == len(clean)
    for form in (zlib.compress, raw_deflate):
        data = form(clean + KEY.encode())
        assert "holds the API key" in refusal(b"deflate", cut(data, 3))


def test_an_event_leaves_at_once() -> None:
    """A stream that is flushed event by event is not delayed."""
    engine = zlib.compressobj(wbits=31)
    inspector = Inspector(NEEDLES, b"gzip")
    for _ in range(20):
        event = engine.compress(b'data: {"x": 1}\n\n') + engine.flush(zlib.Z_SYNC_FLUSH)

        assert inspector.feed(event) == event


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        pytest.param(b"gzip", b"plain text", "decoded", id="not-gzip"),
        pytest.param(b"gzip", gzip.compress(BODY)[:-4] + b"oops", "decoded", id="crc"),
        pytest.param(
            b"gzip", gzip.compress(BODY) + b"junk", "decoded", id="junk-after"
        ),
        pytest.param(b"deflate", b"\xff\xff\xff\xff", "decoded", id="not-deflate"),
        pytest.param(b"deflate", zlib.compress(BODY) + b"x", "follows", id="zlib-junk"),
        pytest.param(b"deflate", raw_deflate(BODY) + b"x", "follows", id="raw-junk"),
    ],
)
def test_what_cannot_be_decoded_does_not_pass(
    kind: bytes, data: bytes, reason: str
) -> None:
    """A more tolerant client might decode it."""
    assert reason in refusal(kind, [data])
    assert reason in refusal(kind, cut(data, 1))


@pytest.mark.parametrize("kind", [b"br", b"zstd", b"gzip, gzip", b"compress"])
def test_other_codings_do_not_pass(kind: bytes) -> None:
    """The sidecar did not offer them to the API."""
    assert "coding cannot be decoded" in refusal(kind, [])


def test_plain_text_in_a_gzip_header_is_searched() -> None:
    """The decoder ignores its name and comment, but a client may show them."""
    member = gzip.compress(BODY)
    named = member[:3] + b"\x08" + member[4:10] + KEY.encode() + b"\0" + member[10:]

    assert gzip.decompress(named) == BODY
    for size in (1, 5, 10_000):
        assert "holds the API key" in refusal(b"gzip", cut(named, size))


def test_a_cut_stream_keeps_nothing_back() -> None:
    """The waiting bytes leave at the end of the answer."""
    data = gzip.compress(BODY)[:-20]

    assert inspect(b"gzip", cut(data, 11)) == data
    assert inspect(b"deflate", [b"x"]) == b"x"
    assert inspect(b"gzip", []) == b""


def test_a_bomb_is_refused_early() -> None:
    """A higher ratio than that of text would block the loop for seconds."""
    data = zlib.compress(bytes(4 * FREE), 9)
    inspector = Inspector(NEEDLES, b"deflate")

    def feed_all() -> None:
        for piece in cut(data, 4096):
            inspector.feed(piece)

    with pytest.raises(Refused, match="grows too much"):
        feed_all()

    assert inspector._out <= FREE + compressed.STEP


def test_a_large_answer_of_text_is_no_bomb() -> None:
    """It exceeds `FREE` at a ratio of text."""
    words = random.Random(7)
    body = b"".join(b'{"id": "%032x"}' % words.getrandbits(128) for _ in range(40_000))
    data = zlib.compress(body * 10, 1)

    assert inspect(b"deflate", cut(data, 65536)) == data


def test_a_stream_that_only_waits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty blocks after the beginning of a key make bytes wait: their number is bounded."""
    monkeypatch.setattr(compressed, "MAX_HELD", 1000)
    engine = zlib.compressobj(wbits=31)
    data = engine.compress(b"fln_live_0") + engine.flush(zlib.Z_SYNC_FLUSH)
    data += b"\x00\x00\x00\xff\xff" * 1000  # RFC 1951, 3.2.4: stored, of length 0

    assert "beginning of a key" in refusal(b"gzip", cut(data, 50))


bodies = st.lists(
    st.sampled_from(
        [KEY.encode(), KEY[:9].encode(), KEY[9:].encode(), b"{}\n", b"x" * 50]
    ),
    max_size=8,
).map(b"".join)


@given(
    bodies,
    st.sampled_from([(form.values[0], form.values[1]) for form in FORMS]),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_any_split_gives_the_same_verdict(
    body: bytes, form: tuple[bytes, Compress], where: list[int]
) -> None:
    """A key in the body ends the answer; without one every byte leaves."""
    kind, compress = form
    data = compress(body)
    edges = [0, *sorted(at % (len(data) + 1) for at in where), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]

    if NEEDLES.within(body):
        assert "holds the API key" in refusal(kind, pieces)
    else:
        assert inspect(kind, pieces) == data


@given(st.binary(max_size=80), st.sampled_from([b"gzip", b"deflate"]))
def test_noise_raises_nothing_else(data: bytes, kind: bytes) -> None:
    """Arbitrary bytes raise nothing but a refusal."""
    with contextlib.suppress(Refused):
        inspect(kind, cut(data, 9))
