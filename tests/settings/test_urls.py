"""URLs and probe targets: where a key or a delivery may go."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given, strategies as st

from sidecar.core.http.target import BaseUrl
from sidecar.settings import urls


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.flownally.com/v1", "https://api.flownally.com/v1"),
        ("https://api.flownally.com/v1/", "https://api.flownally.com/v1"),
        ("https://api.flownally.com", "https://api.flownally.com"),
        ("https://api.flownally.com:8443/", "https://api.flownally.com:8443"),
        ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
        (f"https://{'a' * 63}.com/v1", f"https://{'a' * 63}.com/v1"),
        (f"https://{'a.' * 126}a/v1", f"https://{'a.' * 126}a/v1"),
        ("https://xn--bcher-kva.example/v1", "https://xn--bcher-kva.example/v1"),
        ("http://127.0.0.1:9100/v1", "http://127.0.0.1:9100/v1"),
        ("http://localhost/v1", "http://localhost/v1"),
        ("http://[::1]:9/v1", "http://[::1]:9/v1"),
        ("https://api.flownally.com/a%2Fb", "https://api.flownally.com/a%2Fb"),
    ],
)
def test_an_api_is_called_over_tls_or_on_this_machine(text: str, url: str) -> None:
    """A final slash makes no difference."""
    assert urls.check_base_url(text) == url


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("http://api.flownally.com/v1", "https", id="plain"),
        pytest.param("http://10.0.0.1/v1", "https", id="plain-private"),
        pytest.param("http://127.0.0.1.nip.io/", "https", id="plain-dns-loopback"),
        pytest.param("ftp://api.flownally.com", "https", id="scheme"),
        pytest.param("api.flownally.com/v1", "https", id="no-scheme"),
        pytest.param("//api.flownally.com/v1", "https", id="network-path"),
        pytest.param("https://u:p@api.flownally.com", "user", id="userinfo"),
        pytest.param("https://u@api.flownally.com", "user", id="user"),
        pytest.param("https://@api.flownally.com", "user", id="empty-user"),
        pytest.param("https://a.com/v1?key=x", "query", id="query"),
        pytest.param("https://a.com/v1?", "query", id="empty-query"),
        pytest.param("https://a.com/v1#x", "query", id="fragment"),
        pytest.param("https://a.com/v1#", "query", id="empty-fragment"),
        pytest.param("https://a.com:0/", "port", id="port-0"),
        pytest.param("https://a.com:99999/", "URL", id="port-too-large"),
        pytest.param("https://a.com:x/", "URL", id="port-is-text"),
        pytest.param("https:///v1", "host", id="no-host"),
        pytest.param("https://a,b.com/", "host", id="comma"),
        pytest.param("https://-a.com/", "host", id="hyphen-first"),
        pytest.param("https://a..com/", "host", id="empty-label"),
        pytest.param(f"https://{'a' * 64}.com/", "host", id="label-too-long"),
        pytest.param(f"https://{'a.' * 126}ab/", "host", id="name-too-long"),
        pytest.param("https://[::1/", "URL", id="half-a-bracket"),
        pytest.param("https://a.com/../x", "segment", id="dots"),
        pytest.param("https://a.com/./x", "segment", id="dot"),
        pytest.param("https://a.com/%2e%2E/x", "segment", id="encoded-dots"),
        pytest.param("https://a.com/v1/..%2fx", "segment", id="encoded-slash"),
        pytest.param("https://a.com/v1/..;x/", "segment", id="parameter"),
        pytest.param("https://a.com/v1\\..\\x", "segment", id="backslash"),
        pytest.param("https://a.com/a%zz", "escape", id="bad-escape"),
        pytest.param("https://a.com/v 1", "visible", id="space"),
        pytest.param("https://a.com/v1\n", "visible", id="newline"),
        pytest.param("https://a.com/\tv1", "visible", id="tab"),
        pytest.param("https://bücher.example/", "visible", id="not-ascii"),
        pytest.param("", "visible", id="empty"),
    ],
)
def test_a_url_that_could_send_the_key_elsewhere_is_refused(
    text: str, rule: str
) -> None:
    """Each names the rule, never the text."""
    with pytest.raises(ValueError, match=rule) as caught:
        urls.check_base_url(text)

    assert not text or text not in str(caught.value)


@given(st.text())
def test_checking_a_url_raises_nothing_but_value_errors(text: str) -> None:
    """And what is accepted has a host, and no part that was refused."""
    try:
        url = urls.check_base_url(text)
    except ValueError:
        return

    parts = urlsplit(url)
    assert parts.hostname
    assert (parts.username, parts.query, parts.fragment) == (None, "", "")


@given(
    st.from_regex(
        r"https?://[a-z0-9.@:\[\]-]{1,20}(/[a-z.%2eE;\\]{0,10})*", fullmatch=True
    )
)
def test_an_accepted_url_reads_back_the_same(text: str) -> None:
    """Checking twice is checking once."""
    try:
        url = urls.check_base_url(text)
    except ValueError:
        return

    assert urls.check_base_url(url) == url


@given(
    st.from_regex(
        r"https://[a-z0-9.:\[\]-]{1,9}(/[a-z.%2eE;\\]{0,10})*", fullmatch=True
    )
)
def test_the_proxy_accepts_what_the_settings_accept(text: str) -> None:
    """`BaseUrl.parse` would end the process after the settings were called right."""
    try:
        url = urls.check_base_url(text)
    except ValueError:
        return

    assert BaseUrl.parse(url).host == urlsplit(text).hostname


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:3000/hooks", "http://127.0.0.1:3000/hooks"),
        ("http://localhost:3000/hooks/", "http://localhost:3000/hooks"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:/run/app.sock:/hooks/x", "unix:/run/app.sock:/hooks/x"),
    ],
)
def test_deliveries_go_to_the_service_on_this_machine(text: str, url: str) -> None:
    """By a loopback port or a Unix socket."""
    assert urls.check_forward_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://app.internal:3000/hooks",
        "https://127.0.0.1:3000/hooks",
        "http://0.0.0.0:3000/hooks",
        "http://u:p@127.0.0.1/hooks",
        "unix:run/app.sock",
        "unix:/run/app.sock:hooks",
        "unix:/run/app.sock:",
        "unix:/run/app.sock:/a b",
        "unix:/run/app.sock:/../x",
        "file:///etc/passwd",
        "",
    ],
)
def test_deliveries_go_nowhere_else(text: str) -> None:
    """A delivery may hold what other machines must not see."""
    with pytest.raises(ValueError, match=r"\w"):
        urls.check_forward_url(text)


@pytest.mark.parametrize(
    "text", ["GET /contacts?limit=1", "HEAD /", "OPTIONS /a%2Fb", "GET /a?b=../c"]
)
def test_a_probe_is_a_safe_call(text: str) -> None:
    """A method that changes nothing, and a path with its query."""
    assert urls.check_probe(text) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("POST /contacts", "safe"),
        ("DELETE /contacts", "safe"),
        ("get /contacts", "safe"),
        ("/contacts", "safe"),
        ("GET", "METHOD /path"),
        ("GET contacts", "a path"),
        ("GET  /contacts", "a path"),
        ("GET /contacts HTTP/1.1", "a path"),
        ("GET /a\r\nX: y", "a path"),
        ("GET /a#b", "a path"),
        ("GET https://evil.example/", "a path"),
        ("GET /../admin", "segment"),
        ("GET /%2e%2e/admin", "segment"),
        ("GET /%252e%252e/admin", "segment"),
        ("GET /a%zz", "escape"),
        ("", "safe"),
    ],
)
def test_a_probe_that_changes_something_or_leaves_the_api(text: str, rule: str) -> None:
    """It is sent with a key that nobody has proven yet."""
    with pytest.raises(ValueError, match=rule):
        urls.check_probe(text)
