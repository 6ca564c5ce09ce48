"""Where an answer ends, whatever the pieces that it comes in."""

import pytest
from hypothesis import given, strategies as st

from benchmarks.answers import Answers, Broken

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n"
)
NO_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
KINDS = {LENGTH: 200, EMPTY: 204, CHUNKED: 401, NO_CHUNK: 200}


@given(st.sampled_from(list(KINDS)), st.lists(st.integers(1, 120), max_size=6))
def test_pieces_make_no_difference(answer: bytes, cuts: list[int]) -> None:
    """The status comes with the last byte, and no earlier."""
    places = sorted({cut for cut in cuts if cut < len(answer)})
    starts, ends = [0, *places], [*places, len(answer)]
    pieces = [answer[a:b] for a, b in zip(starts, ends, strict=True)]
    answers = Answers()

    said = [answers.feed(piece) for piece in pieces]

    assert said == [None] * (len(pieces) - 1) + [KINDS[answer]]
    assert answers.keep
    assert not answers.begun


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n", id="version-1.0"),
    ],
)
def test_a_connection_that_ends_is_not_kept(head: bytes) -> None:
    """The next call needs another."""
    answers = Answers()

    answers.feed(head)

    assert not answers.keep


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="end"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="another-protocol"),
    ],
)
def test_what_is_no_answer_breaks_the_connection(data: bytes) -> None:
    """Nothing of it is counted as an answer."""
    with pytest.raises(Broken):
        Answers().feed(data)
