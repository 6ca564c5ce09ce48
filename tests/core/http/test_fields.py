"""Names and lists in header fields, and the small grammars in them."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.http.fields import (
    TOKEN,
    canonical,
    inspectable,
    is_proxy,
    parse_connection,
    parse_length,
    without_nominated,
)
from sidecar.errors import Code, Refused


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        pytest.param(b"Content-Type", b"content-type", id="usual"),
        pytest.param(b"X_Api_Key", b"x-api-key", id="underscore"),
        pytest.param(b"AUTHORIZATION", b"authorization", id="upper"),
        pytest.param(b"Authorization_", b"authorization", id="underscore-at-the-end"),
        pytest.param(b"_authorization", b"authorization", id="underscore-first"),
        pytest.param(b"X.Api.Key", b"x-api-key", id="dots"),
        pytest.param(b"~", b"", id="nothing-left"),
    ],
)
def test_names_that_a_gateway_could_confuse_are_one(name: bytes, plain: bytes) -> None:
    """CGI and WSGI map these names to the same variable."""
    assert canonical(name) == plain


@given(st.from_regex(TOKEN, fullmatch=True))
def test_a_canonical_name_is_its_own(name: bytes) -> None:
    """A canonical name stays the same."""
    assert canonical(canonical(name)) == canonical(name)


def test_proxy_fields_are_known_by_their_prefix() -> None:
    """Future `Proxy-*` fields are included."""
    assert is_proxy(b"proxy-authorization")
    assert not is_proxy(b"x-proxy-y")


@pytest.mark.parametrize(
    ("value", "length"),
    [
        pytest.param(b"0", 0, id="zero"),
        pytest.param(b"42", 42, id="number"),
        pytest.param(b"00042", 42, id="zeros-first-are-decimal"),
        pytest.param(b" 42\t", 42, id="blanks-around"),
        pytest.param(b"9" * 18, 10**18 - 1, id="largest"),
    ],
)
def test_a_length_is_read(value: bytes, length: int) -> None:
    """RFC 9112, 6.2: 1*DIGIT."""
    assert parse_length(value, Code.BAD_REQUEST) == length


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"+5", id="plus"),
        pytest.param(b"-5", id="minus"),
        pytest.param(b"5, 5", id="list"),
        pytest.param(b"5,5", id="list-without-space"),
        pytest.param(b"5 5", id="two"),
        pytest.param(b"0x5", id="hex"),
        pytest.param(b"5_0", id="int-takes-underscores"),
        pytest.param(b"5.0", id="fraction"),
        pytest.param(b"1e3", id="exponent"),
        pytest.param(b"\xb2", id="superscript"),
        pytest.param("\u0665".encode(), id="arabic-digit"),
        pytest.param(b"9" * 19, id="too-large"),
    ],
)
def test_a_length_that_could_be_read_in_two_ways_is_refused(value: bytes) -> None:
    """A length that can be read in two ways allows request smuggling."""
    with pytest.raises(Refused) as caught:
        parse_length(value, Code.UPSTREAM_PROTOCOL)

    assert caught.value.code is Code.UPSTREAM_PROTOCOL


@pytest.mark.parametrize(
    ("value", "options"),
    [
        pytest.param(b"close", {b"close"}, id="one"),
        pytest.param(b"Keep-Alive , TE,,", {b"keep-alive", b"te"}, id="list"),
        pytest.param(b"", set(), id="empty"),
    ],
)
def test_connection_is_a_list_of_tokens(value: bytes, options: set[bytes]) -> None:
    """RFC 9110, 7.6.1; empty elements are allowed (5.6.1)."""
    assert parse_connection(value, Code.BAD_HEADER) == options


@pytest.mark.parametrize("value", [b"a b", b"close; x", b"(x)", b'"close"', b"a\x00"])
def test_connection_refuses_what_is_no_token(value: bytes) -> None:
    """Another parser may read a name in it."""
    with pytest.raises(Refused):
        parse_connection(value, Code.BAD_HEADER)


def test_nominated_fields_vanish_in_any_spelling() -> None:
    """Connection is removed too; all other fields keep their order."""
    fields = [
        (b"X-A", b"1"),
        (b"Connection", b"x-b"),
        (b"X_B", b"2"),
        (b"X-C", b"3"),
        (b"x-b", b"4"),
    ]

    rest = without_nominated(fields, frozenset({b"x-b"}), lambda _: True)

    assert rest == [(b"X-A", b"1"), (b"X-C", b"3")]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({b"close"}, id="an-option-that-is-no-field"),
        pytest.param({b"host"}, id="a-field-that-may-not-go"),
        pytest.param(set(), id="nothing"),
    ],
)
def test_nominating_nothing_removable_changes_nothing(options: set[bytes]) -> None:
    """None shows that the fields need no second pass."""
    fields = [(b"Host", b"a"), (b"X-A", b"1")]

    assert without_nominated(fields, frozenset(options), lambda n: n != b"host") is None


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        pytest.param(b"gzip, deflate", b"gzip, deflate", id="requests"),
        pytest.param(b"gzip, deflate, br, zstd", b"gzip, deflate", id="httpx"),
        pytest.param(b"br;q=1.0, gzip;q=0.8", b"gzip;q=0.8", id="q-values-stay"),
        pytest.param(b"br", b"identity", id="nothing-left"),
        pytest.param(b"", b"identity", id="empty"),
        pytest.param(b"*", b"gzip", id="any"),
        pytest.param(b"br, *;q=0.5", b"gzip;q=0.5", id="any-with-weight"),
        pytest.param(b"gzip, *;q=0", b"gzip, *;q=0", id="nothing-else"),
        pytest.param(b"*;q=0.000", b"*;q=0.000", id="nothing-at-all"),
        pytest.param(b"identity;q=0, gzip", b"identity;q=0, gzip", id="no-identity"),
        pytest.param(b"GZIP , x-gzip", b"GZIP, x-gzip", id="case"),
        pytest.param(b"gzip ; q=0.5", b"gzip ; q=0.5", id="blanks"),
        pytest.param(b"gzip;q=2, deflate", b"deflate", id="no-such-weight"),
        pytest.param(b"gzip;x=1, deflate", b"deflate", id="unknown-parameter"),
        pytest.param(b"gzipped", b"identity", id="no-such-coding"),
    ],
)
def test_only_what_can_be_looked_into_is_offered(value: bytes, offered: bytes) -> None:
    """RFC 9110, 12.5.3, without the codings that would hide a key."""
    assert inspectable(value) == offered


@given(st.text("gzipdeflatbr*;q=0.1, ", max_size=30).map(str.encode))
def test_an_offer_never_invites_another_coding(value: bytes) -> None:
    """This holds for any list, and a second rewrite changes nothing."""
    offered = inspectable(value)

    names = {part.partition(b";")[0].strip().lower() for part in offered.split(b",")}
    assert names <= {b"gzip", b"x-gzip", b"deflate", b"identity", b"*"}
    assert b"*" not in names or b"q=0" in offered.replace(b" ", b"")
    assert inspectable(offered) == offered
