"""The reflection guard masks a key in every encoding, however an answer is split."""

import itertools
import re

import pytest
from hypothesis import example, given, strategies as st

from sidecar.core.secrecy.key_matcher import MIN_TOKEN, KeyMatcher
from sidecar.core.secrecy.masking import Masker
from sidecar.core.secrecy.secret import Secret

KEY = "fln_live_0123456789abcdefXYZ"


def needles(*keys: str, prefix: str = "") -> KeyMatcher:
    """Make the matcher of some keys."""
    return KeyMatcher([Secret(key) for key in keys], prefix)


def fed(found: KeyMatcher, pieces: list[bytes]) -> tuple[bytes, int]:
    """Return the answer that leaves, and the number of hits."""
    masker = Masker(found)
    out = b"".join([masker.feed(piece) for piece in pieces]) + masker.flush()
    return out, masker.hits


def model(found: KeyMatcher, data: bytes) -> bytes:
    """Mask in the simplest way: every place of every needle, then tokens."""
    hidden: set[int] = set()
    for needle in found.all:
        for at in range(len(data)):
            if data.startswith(needle, at):
                hidden.update(range(at, at + len(needle)))
    if found.prefix:
        token = re.compile(rb"[0-9A-Za-z\-._~+/=]*")
        for at in range(len(data)):
            if data.startswith(found.prefix, at):
                match = token.match(data, at + len(found.prefix))
                if match and len(match[0]) >= MIN_TOKEN:
                    hidden.update(range(*match.span()))
    return bytes(
        found.mask_byte if at in hidden else byte for at, byte in enumerate(data)
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'data: {"delta": "hello"}\n\n', id="server-sent-event"),
        pytest.param(b'{"id": 1}\n', id="json-line"),
        pytest.param(b'{"id": 1}', id="json"),
        pytest.param(b"plain text.", id="text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_data_that_cannot_begin_a_key_leaves_at_once(data: bytes) -> None:
    """Events do not wait for the next one and are not copied."""
    assert Masker(needles(KEY)).feed(data) is data


def test_an_end_that_may_begin_a_key_waits_for_the_next_piece() -> None:
    """No byte leaves while it may be part of a key."""
    masker = Masker(needles(KEY))

    assert masker.feed(b"see " + KEY[:10].encode()) == b"see "
    assert masker.feed(KEY[10:].encode() + b"\n") == b"*" * len(KEY) + b"\n"
    assert masker.feed(b"see " + KEY[:10].encode()) == b"see "
    assert masker.feed(b"!") == KEY[:10].encode() + b"!"
    assert masker.hits == 1


def test_a_whole_key_at_the_end_does_not_wait() -> None:
    """Only the beginning of a key waits."""
    assert Masker(needles(KEY + "7")).feed(KEY.encode() + b"7") == b"*" * 29


def test_waiting_bytes_leave_at_the_end_of_the_answer() -> None:
    """The beginning of a key at the end is no key."""
    masker = Masker(needles(KEY))

    assert masker.feed(KEY[:-1].encode()) == b""
    assert masker.flush() == KEY[:-1].encode()
    assert masker.flush() == b""


def test_at_most_the_longest_encoding_waits() -> None:
    """The number of held bytes is bounded for any data."""
    found = needles(KEY)
    masker = Masker(found)

    for byte in KEY[:-1].encode() * 40:
        masker.feed(bytes([byte]))
        assert len(masker._held) <= found.reach


# New keys.

NEW = "fln_live_" + "N3wK3y" * 5


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param(
            f'{{"key": "{NEW}"}}', '{"key": "fln_live_' + "*" * 30 + '"}', id="new-key"
        ),
        pytest.param(NEW, "fln_live_" + "*" * 30, id="at-the-end"),
        pytest.param(
            f"{NEW} {NEW}", f"fln_live_{'*' * 30} fln_live_{'*' * 30}", id="two"
        ),
        pytest.param("fln_live_ab12", "fln_live_ab12", id="the-first-characters-only"),
        pytest.param("fln_live_...", "fln_live_...", id="in-a-manual"),
        pytest.param("fln_live_", "fln_live_", id="the-prefix-itself"),
        pytest.param(
            "fln_live_fln_live_fln_live_", "fln_live_" + "*" * 18, id="prefix-in-token"
        ),
        pytest.param(KEY, "*" * len(KEY), id="a-known-key-goes-with-its-prefix"),
    ],
)
def test_a_key_that_was_just_made_is_masked(text: str, masked: str) -> None:
    """The API shows it once; the service does not see it."""
    found = needles(KEY, prefix="fln_live_")

    for size in (1, 2, 7, 10, len(text)):
        pieces = [text[at : at + size].encode() for at in range(0, len(text), size)]
        assert fed(found, pieces)[0] == masked.encode()


def test_a_long_token_is_masked_as_it_comes() -> None:
    """No byte waits when the token is long enough to be a key."""
    masker = Masker(needles(prefix="fln_live_"))

    assert masker.feed(b"fln_live_" + b"x" * 20) == b"fln_live_" + b"*" * 20
    assert masker.feed(b"y" * 1000) == b"*" * 1000
    assert masker.feed(b'"z') == b'"z'
    assert masker.hits == 1


# Properties: answers consist of pieces of keys, so that borders and overlaps are common.

SMALL = ["abababab", "babababc", "ab/ab%ab", "aaaaaaaa*"]


def pieces_of(*keys: str) -> st.SearchStrategy[bytes]:
    """Texts of encodings, of their beginnings and ends, and of other bytes."""
    known = sorted(needles(*keys).all)
    part = st.sampled_from(known).flatmap(
        lambda one: st.tuples(st.integers(0, len(one)), st.integers(0, len(one))).map(
            lambda cut: one[min(cut) : max(cut)]
        )
    )
    whole = st.sampled_from(known)
    other = st.sampled_from([b"a", b"b", b"ab", b'"', b"\n", b"*", b"%", b"\xff"])
    return st.lists(st.one_of(whole, part, other), max_size=8).map(b"".join)


def splits(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut at these places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)


@given(pieces_of(*SMALL), cuts)
@example(b"abababababababc", [8])
def test_any_split_of_any_answer_is_masked_alike(data: bytes, where: list[int]) -> None:
    """The split changes nothing, no needle remains, and no other byte changes."""
    found = needles(*SMALL)

    whole, hits = fed(found, [data])

    assert whole == model(found, data) == found.mask(data)
    assert fed(found, splits(data, where)) == (whole, hits)
    assert not found.within(whole)
    assert found.within(data) == (hits > 0) == (whole != data)


tokens = st.lists(
    st.sampled_from(
        [
            *(b"fln_", b"live_", b"fln_live_", b"fln_live_", b"x" * 15, b"x" * 16),
            *(b"abc", b'"', b" ", b"\n", KEY.encode(), KEY[:20].encode(), b"f"),
            KEY[12:].encode(),
        ]
    ),
    max_size=10,
).map(b"".join)


@given(tokens, cuts)
@example(b"fln_live_live_0123456789abcde", [9, 15])
def test_any_split_masks_new_keys_alike(data: bytes, where: list[int]) -> None:
    """The same with a prefix: the model defines the result."""
    found = needles(KEY, "live_0123456789abcdef", prefix="fln_live_")

    whole, hits = fed(found, [data])

    assert whole == model(found, data) == found.mask(data)
    assert fed(found, splits(data, where)) == (whole, hits)
    assert not found.within(whole)


@given(
    st.text(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=30
    ),
    st.binary(max_size=40),
    st.binary(max_size=40),
    cuts,
)
def test_any_key_in_any_answer_is_gone(
    key: str, before: bytes, after: bytes, where: list[int]
) -> None:
    """This holds for any key and any text around it."""
    found = needles(key)
    for encoding in found.all:
        data = before + encoding + after

        out, hits = fed(found, splits(data, where))

        assert hits
        assert len(out) == len(data)
        assert encoding not in out or set(key) == {"*"}
