"""Signs of callers that are refused: rebinding names, browsers, other proxies."""

import ipaddress

import pytest
from hypothesis import given, strategies as st

from sidecar.core.http import guards


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"localhost:8700",
        b"LocalHost:8700",
        b"127.0.0.1",
        b"127.0.0.1:8700",
        b"127.255.255.254:65535",
        b"[::1]",
        b"[::1]:8700",
    ],
)
def test_names_of_this_machine_are_let_in(host: bytes) -> None:
    """Any port is accepted: a rebinding page knows the port anyway."""
    assert guards.is_loopback_host(host)
    assert guards.is_socket_host(host)


@pytest.mark.parametrize(
    ("host", "attack"),
    [
        pytest.param(b"evil.example", "rebinding", id="name"),
        pytest.param(b"evil.example:8700", "rebinding", id="name-port"),
        pytest.param(b"localhost.evil.example", "a name that begins so", id="suffix"),
        pytest.param(b"evil.localhost", "browsers resolve it, others ask", id="sub"),
        pytest.param(b"localhost.", "another name to some", id="dot"),
        pytest.param(b"127.0.0.1.evil.example", "begins like an address", id="prefix"),
        pytest.param(b"127.0.0.1.nip.io", "resolves to it", id="nip"),
        pytest.param(b"2130706433", "decimal address", id="decimal"),
        pytest.param(b"0x7f000001", "hexadecimal address", id="hex"),
        pytest.param(b"0177.0.0.1", "octal address", id="octal"),
        pytest.param(b"127.0.0.01", "zeros first", id="zero-first"),
        pytest.param(b"127.1", "short address", id="short"),
        pytest.param(b"127.0.0.256", "no address", id="256"),
        pytest.param(b"0.0.0.0", "any address", id="any"),
        pytest.param(b"10.0.0.1", "a pod's address", id="private"),
        pytest.param(b"128.0.0.1", "not loopback", id="128"),
        pytest.param(b"[::]", "any address", id="any6"),
        pytest.param(b"::1", "without brackets", id="no-brackets"),
        pytest.param(b"[::ffff:127.0.0.1]", "mapped address", id="mapped"),
        pytest.param(b"[0:0:0:0:0:0:0:1]", "another spelling", id="long6"),
        pytest.param(b"[::1%25lo]", "zone", id="zone"),
        pytest.param(b"user@localhost", "user-info", id="user"),
        pytest.param(b"localhost@evil.example", "user-info", id="as-user"),
        pytest.param(b"localhost/evil", "a path", id="path"),
        pytest.param(b"localhost,evil.example", "a list", id="comma"),
        pytest.param(b"localhost evil.example", "two", id="space"),
        pytest.param(b"localhost:", "no port", id="empty-port"),
        pytest.param(b"localhost:0", "no port", id="port-0"),
        pytest.param(b"localhost:08700", "zeros first", id="port-zero-first"),
        pytest.param(b"localhost:65536", "no port", id="port-large"),
        pytest.param(b"localhost:80:80", "two ports", id="two-ports"),
        pytest.param(b"localhost\n", "a line break after it", id="newline"),
        pytest.param("\u217cocalhost".encode(), "a look-alike", id="roman-numeral"),
        pytest.param(b"", "no name", id="empty"),
    ],
)
def test_no_other_name_is_let_in(host: bytes, attack: str) -> None:
    """DNS rebinding lets a page's own name resolve to this machine."""
    assert not guards.is_loopback_host(host), attack


@pytest.mark.parametrize("host", [b"", b"%2Frun%2Fsidecar.sock", b"%2frun%2fs.sock"])
def test_a_socket_has_no_name(host: bytes) -> None:
    """Clients of Unix sockets send an empty Host or the path."""
    assert guards.is_socket_host(host)


@pytest.mark.parametrize("host", [b"api.example", b"10.0.0.1", b"sidecar", b"/run/s"])
def test_a_public_name_on_a_socket_is_a_web_server_in_front_of_it(host: bytes) -> None:
    """A web server in front of a socket sends its public name."""
    assert not guards.is_socket_host(host)


@given(st.ip_addresses(v=4))
def test_addresses_are_judged_as_the_standard_library_does(
    address: ipaddress.IPv4Address,
) -> None:
    """The result is the same for every address."""
    assert guards.is_loopback_host(str(address).encode()) == address.is_loopback


@given(st.integers(0, 2**24 - 1))
def test_all_of_127_is_this_machine(low: int) -> None:
    """RFC 1122, 3.2.1.3."""
    address = ipaddress.IPv4Address((127 << 24) + low)

    assert guards.is_loopback_host(str(address).encode())


@given(st.text("localhost127.0:[]@1", max_size=14).map(str.encode))
def test_what_is_let_in_has_one_reading(host: bytes) -> None:
    """Names that are nearly the same are no sign."""
    if guards.is_loopback_host(host):
        name = host.lower().removeprefix(b"[").split(b"]")[0]
        if name != b"::1":
            name = name.split(b":")[0]
        assert name == b"localhost" or ipaddress.ip_address(name.decode()).is_loopback


@pytest.mark.parametrize(
    "name",
    [
        b"origin",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        b"sec-fetch-user",
        b"sec-fetch-storage-access",
        b"access-control-request-method",
        b"access-control-request-private-network",
    ],
)
def test_fields_of_browsers(name: bytes) -> None:
    """A page can neither omit nor forge them (Fetch standard, 2.2.2)."""
    assert guards.is_browser_field(name)


@pytest.mark.parametrize(
    "name",
    [
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-anything",
        b"x-real-ip",
        b"cf-connecting-ip",
    ],
)
def test_fields_of_proxies(name: bytes) -> None:
    """These fields show that the port is behind another proxy."""
    assert guards.is_forwarded_field(name)


@pytest.mark.parametrize("name", [b"x-http-method-override", b"x-original-url"])
def test_fields_that_evade_the_operations(name: bytes) -> None:
    """They ask the API for another method or path than the rules checked."""
    assert guards.is_override_field(name)


@pytest.mark.parametrize(
    "name", [b"user-agent", b"referer", b"x-request-id", b"traceparent", b"sec-x"]
)
def test_other_fields_are_none_of_them(name: bytes) -> None:
    """Services send these fields."""
    assert not guards.is_browser_field(name)
    assert not guards.is_forwarded_field(name)
    assert not guards.is_override_field(name)
