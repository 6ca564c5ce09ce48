"""Addresses, header names and secret names: what is accepted, what is refused."""

import pytest
from hypothesis import given, strategies as st

from sidecar.settings import values
from sidecar.settings.values import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("127.0.0.1:8700", Address("127.0.0.1", 8700), id="v4"),
        pytest.param("localhost:8700", Address("127.0.0.1", 8700), id="localhost"),
        pytest.param("[::1]:8700", Address("::1", 8700), id="v6"),
        pytest.param("0.0.0.0:8701", Address("0.0.0.0", 8701), id="anywhere"),
        pytest.param("127.0.0.1:0", Address("127.0.0.1", 0), id="free-port"),
        pytest.param("unix:/run/a.sock", Address(path="/run/a.sock"), id="unix"),
        pytest.param("[0:0:0:0:0:0:0:1]:1", Address("::1", 1), id="long-v6"),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    """Hosts and ports, bracketed IPv6 and Unix sockets are addresses."""
    assert values.parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("8700", id="port-only"),
        pytest.param(":8700", id="no-host"),
        pytest.param("127.0.0.1", id="no-port"),
        pytest.param("127.0.0.1:", id="empty-port"),
        pytest.param("127.0.0.1:65536", id="port-too-large"),
        pytest.param("127.0.0.1:-1", id="negative-port"),
        pytest.param("127.0.0.1:٨٧", id="arabic-digits"),
        pytest.param("127.1:80", id="short-v4"),
        pytest.param("2130706433:80", id="decimal-v4"),
        pytest.param("127.0.0.1 :80", id="space"),
        pytest.param("127.0.0.1:80\n", id="newline"),
        pytest.param("::1:80", id="v6-without-brackets"),
        pytest.param("[127.0.0.1]:80", id="v4-in-brackets"),
        pytest.param("[::1:80", id="half-a-bracket"),
        pytest.param("example.org:80", id="name"),
        pytest.param("localhost.evil.org:80", id="name-like-localhost"),
        pytest.param("unix:run/a.sock", id="relative-socket"),
        pytest.param("unix:", id="no-socket"),
        pytest.param("unix:/run/", id="socket-is-a-directory"),
        pytest.param("unix:/a\0b", id="nul-in-socket"),
        pytest.param("unix:/" + "a" * 107, id="socket-too-long"),
        pytest.param("", id="empty"),
        pytest.param(8700, id="number"),
        pytest.param(None, id="none"),
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    """Names that DNS could point elsewhere and half addresses are refused."""
    with pytest.raises(ValueError, match=r"\w"):
        values.parse_address(text)


def test_the_longest_socket_path_is_accepted() -> None:
    """The kernel takes 107 bytes and a NUL."""
    assert values.parse_address("unix:/" + "a" * 106).path == "/" + "a" * 106


@pytest.mark.parametrize(
    "text", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/a"]
)
def test_an_upstream_listens_where_only_this_machine_comes(text: str) -> None:
    """Every loopback address and every Unix socket will do."""
    assert values.parse_loopback_address(text).loopback


@pytest.mark.parametrize(
    "text", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"]
)
def test_an_upstream_never_listens_for_other_machines(text: str) -> None:
    """Whoever reaches the listener uses the key."""
    with pytest.raises(ValueError, match="loopback"):
        values.parse_loopback_address(text)


def test_admin_and_webhooks_have_a_port() -> None:
    """Only upstreams can listen on a Unix socket."""
    assert values.parse_port_address("0.0.0.0:0") == Address("0.0.0.0", 0)

    with pytest.raises(ValueError, match="host:port"):
        values.parse_port_address("unix:/a")


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("[::1]:80", "[::]:80", True),
        ("unix:/a", "unix:/a", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "[::]:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "127.0.0.1:80", False),
    ],
)
def test_addresses_clash_when_both_cannot_listen(
    one: str, two: str, clash: bool
) -> None:
    """A wildcard takes the port from every host of its family; port 0 from nobody."""
    first, second = values.parse_address(one), values.parse_address(two)

    assert first.clashes(second) is clash
    assert second.clashes(first) is clash


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_reads_back_as_it_is_written(ip: object, port: int) -> None:
    """`str` and `parse_address` are inverse."""
    address = Address(str(ip), port)

    assert values.parse_address(str(address)) == address


@given(st.one_of(st.text(), st.integers(), st.none(), st.binary(), st.lists(st.text())))
def test_parsing_raises_nothing_but_value_errors(value: object) -> None:
    """Any other exception would hide every other problem."""
    try:
        address = values.parse_address(value)
    except ValueError:
        return

    assert values.parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("127.0.0.1.nip.io", False),
        ("localhost.", False),
        ("api.flownally.com", False),
        ("", False),
    ],
)
def test_loopback_is_decided_without_dns(host: str, loopback: bool) -> None:
    """A name that resolves to 127.0.0.1 today may not tomorrow."""
    assert values.is_loopback(host) is loopback


@pytest.mark.parametrize(
    "name", ["Authorization", "X-Api-Key", "api_key", "x!#$%&'", "Apikey"]
)
def test_a_header_that_can_carry_a_key(name: str) -> None:
    """Any token that does not frame or route the call."""
    assert values.check_header_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "host",
        "Content-Length",
        "Content_Length",
        "CONTENT-TYPE",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Cookie",
        "Set-Cookie",
        "Accept",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "Proxy-Authorization",
        "proxy_authorization",
        "Origin",
        "Sec-Fetch-Site",
        "X-HTTP-Method-Override",
        "Accept-Encoding",
        "Authorization:",
        "Author ization",
        "Authorization\n",
        "Authorization\r\nX: y",
        "Ключ",
        "",
    ],
)
def test_a_header_that_cannot_carry_a_key(name: str) -> None:
    """Framing and routing headers, and what is no token."""
    with pytest.raises(ValueError, match="header"):
        values.check_header_name(name)


@pytest.mark.parametrize("text", ["Bearer", "Token", "ApiKey", ""])
def test_a_scheme_is_one_word_or_nothing(text: str) -> None:
    """Empty sends the bare key."""
    assert values.check_scheme(text) == text


@pytest.mark.parametrize("text", ["Bearer ", " ", "Bearer token=", "Bearer\r\n", "é("])
def test_a_scheme_is_never_more_than_a_word(text: str) -> None:
    """A space too many would make a header that no API accepts."""
    with pytest.raises(ValueError, match="one word"):
        values.check_scheme(text)


@pytest.mark.parametrize(
    "text",
    [
        "prod/flownally/crm-sync",
        "a",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/x-AbCdEf",
        "a_b+c=d.e@f",
        "risk-scores",
        "task/sky",
    ],
)
def test_a_secret_has_a_name_or_an_arn(text: str) -> None:
    """As CreateSecret accepts it."""
    assert values.check_secret_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "fln_live_0123456789abcdef",
        "FLN_live_0123456789abcdef",
        "Bearer abc",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whpk_abc",
        "sk-abc",
        "sk_live_abc",
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
    ],
)
def test_a_key_in_the_place_of_a_name_is_noticed(text: str) -> None:
    """The remedy is to revoke it: it has been written into a file."""
    with pytest.raises(ValueError, match="revoke") as caught:
        values.check_secret_name(text)

    assert text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "a*", "é", "a" * 2049])
def test_what_secrets_manager_cannot_have_is_refused(text: str) -> None:
    """Otherwise the first call would fail, long after the start."""
    with pytest.raises(ValueError, match="name or the ARN"):
        values.check_secret_name(text)
