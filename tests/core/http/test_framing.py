"""Chunked bodies: data and end exactly as independent strict parsers see them."""

import contextlib
import itertools

import h11
import httptools
import pytest
from hypothesis import example, given, strategies as st

from sidecar.core.http.framing import (
    LAST_CHUNK,
    MAX_LINE,
    MAX_TRAILERS,
    Chunked,
    encode_chunk,
)
from sidecar.errors import Code, Refused

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def decode(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    """Return the body, what follows it, and whether it ended."""
    decoder = Chunked()
    body: list[bytes] = []
    rest = b""
    for piece in pieces:
        if decoder.done:
            rest += piece
        else:
            body += decoder.feed(piece)
    return b"".join(body), decoder.rest + rest, decoder.done


@pytest.mark.parametrize(
    ("raw", "body", "rest"),
    [
        pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"", id="one"),
        pytest.param(
            b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", b"", id="two"
        ),
        pytest.param(b"0\r\n\r\n", b"", b"", id="empty"),
        pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b"", id="hex"),
        pytest.param(b"0005\r\nhello\r\n000\r\n\r\n", b"hello", b"", id="zeros-first"),
        pytest.param(
            b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n", b"", id="crlf-as-data"
        ),
        pytest.param(b"5;a=b\r\nhello\r\n0;end\r\n\r\n", b"hello", b"", id="extension"),
        pytest.param(
            b'5;a="x\\"; y"\r\nhello\r\n0\r\n\r\n', b"hello", b"", id="quoted-extension"
        ),
        pytest.param(
            b"1\r\nx\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer x\r\n\r\n",
            b"x",
            b"",
            id="trailers-are-dropped",
        ),
        pytest.param(
            b"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
            b"x",
            b"GET / HTTP/1.1\r\n",
            id="pipelined",
        ),
        pytest.param(b"0\r\n\r\n\r\n", b"", b"\r\n", id="crlf-after-the-end"),
    ],
)
def test_a_body_is_decoded_up_to_its_exact_end(
    raw: bytes, body: bytes, rest: bytes
) -> None:
    """Body and rest are exact, whole or one byte at a time."""
    assert decode([raw]) == (body, rest, True)
    assert decode([raw[i : i + 1] for i in range(len(raw))]) == (body, rest, True)


@pytest.mark.parametrize(
    ("raw", "attack"),
    [
        pytest.param(b"5\nhello\r\n0\r\n\r\n", "bare LF after the size", id="bare-lf"),
        pytest.param(b"5\rhello\r\n0\r\n\r\n", "bare CR after the size", id="bare-cr"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", "bare LF after data", id="data-lf"),
        pytest.param(b"5\r\nhello\r0\r\n\r\n", "bare CR after data", id="data-cr"),
        pytest.param(b"5\r\nhelloX\r\n0\r\n\r\n", "data longer than size", id="long"),
        pytest.param(b"5\r\nhell\r\n0\r\n\r\n", "data shorter than size", id="short"),
        pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", "int() takes a sign", id="plus"),
        pytest.param(b"-5\r\nhello\r\n0\r\n\r\n", "int() takes a sign", id="minus"),
        pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", "int() takes 0x", id="0x"),
        pytest.param(b"1_0\r\n", "int() takes underscores", id="underscore"),
        pytest.param(b" 5\r\nhello\r\n0\r\n\r\n", "space first", id="space-first"),
        pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", "space after", id="space-after"),
        pytest.param(b"5\t\r\nhello\r\n0\r\n\r\n", "tab after", id="tab-after"),
        pytest.param(
            b"\r\n5\r\nhello\r\n0\r\n\r\n", "empty line first", id="crlf-first"
        ),
        pytest.param(b"\r\n0\r\n\r\n", "no size", id="no-size"),
        pytest.param(b";a\r\n", "extension without size", id="only-extension"),
        pytest.param(b"g\r\n", "not hex", id="not-hex"),
        pytest.param(b"\xef\xbc\x95\r\n", "a full-width digit", id="unicode-digit"),
        pytest.param(b"1" * 16 + b"\r\n", "sizes that overflow 64 bits", id="overflow"),
        pytest.param(b"5;\r\nhello\r\n", "empty extension", id="empty-extension"),
        pytest.param(b"5; a\r\nhello\r\n", "space in extension", id="bws"),
        pytest.param(b"5;a\nb\r\nhello\r\n", "LF hidden in extension", id="ext-lf"),
        pytest.param(b"5;a\rb\r\nhello\r\n", "CR hidden in extension", id="ext-cr"),
        pytest.param(b'5;a="\r\n"\r\nhello', "CRLF in quotes", id="quoted-crlf"),
        pytest.param(b"5;a\x00\r\nhello\r\n", "NUL in extension", id="ext-nul"),
        pytest.param(b"0\r\n folded: x\r\n\r\n", "folded trailer", id="obs-fold"),
        pytest.param(b"0\r\nA : x\r\n\r\n", "space before colon", id="trailer-space"),
        pytest.param(b"0\r\nA: x\n\r\n", "bare LF in trailer", id="trailer-lf"),
        pytest.param(b"0\r\nA: \x00\r\n\r\n", "NUL in trailer", id="trailer-nul"),
        pytest.param(b"0\r\nno colon\r\n\r\n", "no field", id="trailer-no-colon"),
        pytest.param(b"0\r\n\n", "bare LF at the end", id="end-lf"),
        pytest.param(b"0\r\nGET / HTTP/1.1\r\n", "a request as trailer", id="request"),
    ],
)
def test_a_body_that_could_end_in_two_places_is_refused(
    raw: bytes, attack: str
) -> None:
    """Whatever some parser tolerates is an error here, in any split."""
    for pieces in ([raw], [raw[i : i + 1] for i in range(len(raw))]):
        with pytest.raises(Refused) as caught:
            decode(pieces)

        assert caught.value.code is Code.BAD_REQUEST, attack


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"5;" + b"a" * MAX_LINE + b"\r\n", id="whole-line"),
        pytest.param(b"5;" + b"a" * MAX_LINE, id="line-without-end"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * (MAX_TRAILERS // 6 + 1), id="trailers"),
        pytest.param(b"0\r\nA: " + b"b" * MAX_TRAILERS, id="one-trailer"),
    ],
)
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_lines_and_trailers_are_bounded(raw: bytes, size: int) -> None:
    """Everything that is not data has a limit, in any split."""
    with pytest.raises(Refused):
        decode([raw[i : i + size] for i in range(0, len(raw), size)])


@pytest.mark.parametrize("raw", [b"5\rh", b"5\n", b"5\r\nhelloX", b"0\r\n\x00"])
def test_what_cannot_become_good_is_refused_at_once(raw: bytes) -> None:
    """The error does not wait for the rest of the line."""
    with pytest.raises(Refused):
        Chunked().feed(raw)


def test_nothing_is_held_but_a_part_of_a_line() -> None:
    """Data is returned as it comes; a decoder does not grow with the body."""
    decoder = Chunked()
    decoder.feed(b"ffffff\r\n")

    for _ in range(100):
        data = b"x" * 1000
        assert decoder.feed(data)[0] is data
    assert decoder._line == b""


def test_an_end_that_did_not_come_is_not_an_end() -> None:
    """A body that was cut is never `done`."""
    raw = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"

    assert not any(decode([raw[:i]])[2] for i in range(len(raw)))


def test_no_data_makes_no_chunk() -> None:
    """An empty chunk in the middle would end the body."""
    assert encode_chunk(b"") == ()
    assert b"".join(encode_chunk(b"hello")) == b"5\r\nhello\r\n"


chunks = st.lists(st.binary(max_size=40), max_size=6)


@given(chunks, st.binary(max_size=30), st.data())
def test_any_split_gives_the_same_body(
    parts: list[bytes], rest: bytes, data: st.DataObject
) -> None:
    """Encoding and decoding round-trip, in any split."""
    raw = b"".join(b"".join(encode_chunk(part)) for part in parts) + LAST_CHUNK + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    edges = [0, *cuts, len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(edges)]

    assert decode(pieces) == (b"".join(parts), rest, True)


# Texts near the grammar: mutations of good bodies.
fragments = st.sampled_from(
    [
        *(b"0", b"1", b"5", b"a", b"F", b"00", b"x", b"\r\n", b"\r\n", b"\r", b"\n"),
        *(
            b";",
            b"a",
            b"=",
            b'"',
            b" ",
            b"\t",
            b"hello",
            b"0\r\n\r\n",
            b"5\r\nhello\r\n",
        ),
        *(b"A: b\r\n", b"\x00", b"\xff", b"+", b"0x", b":", b"\\"),
    ]
)
near = st.lists(fragments, max_size=12).map(b"".join)


class _Sink:
    """What llhttp found."""

    def __init__(self) -> None:
        self.body = b""
        self.done = False

    def on_body(self, data: bytes) -> None:
        """Take a piece."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note the end."""
        self.done = True


def by_llhttp(raw: bytes) -> tuple[bytes, bool] | None:
    """Decode with llhttp; None when it refuses."""
    sink = _Sink()
    try:
        httptools.HttpRequestParser(sink).feed_data(HEAD + raw)
    except httptools.HttpParserError:
        return (sink.body, True) if sink.done else None
    return sink.body, sink.done


def by_h11(raw: bytes) -> tuple[bytes, bytes, bool] | None:
    """Decode with h11; None when it refuses."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(HEAD + raw)
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return body, connection.trailing_data[0], True
            elif event is h11.NEED_DATA:
                return body, b"", False
    except h11.RemoteProtocolError:
        return None


@given(near)
@example(b'0;a="\\\xff"\r\n\r\n')
def test_what_is_accepted_ends_where_llhttp_and_h11_say(raw: bytes) -> None:
    """A body that passes here is read in the same way by both independent parsers."""
    ours = None
    with contextlib.suppress(Refused):
        ours = decode([raw])

    if ours is not None and ours[2]:
        assert by_llhttp(raw) == (ours[0], True)
        assert by_h11(raw) == ours


@given(near, st.data())
def test_a_refusal_does_not_depend_on_the_split(
    raw: bytes, data: st.DataObject
) -> None:
    """A body is refused as a whole if and only if it is refused in pieces."""
    cut = data.draw(st.integers(0, len(raw)))

    def outcome(pieces: list[bytes]) -> tuple[bytes, bytes, bool] | None:
        try:
            return decode(pieces)
        except Refused:
            return None

    assert outcome([raw[:cut], raw[cut:]]) == outcome([raw])


@given(st.binary(max_size=60))
def test_noise_raises_nothing_else(raw: bytes) -> None:
    """No bytes raise another exception."""
    with contextlib.suppress(Refused):
        decode([raw])
