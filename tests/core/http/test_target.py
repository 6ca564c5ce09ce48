"""Request targets: forwarded byte for byte or refused, never below the base path."""

import contextlib
import posixpath
import re
import urllib.parse

import pytest
import yarl
from hypothesis import example, given, strategies as st

from sidecar.core.http.target import (
    MAX_TARGET_BYTES,
    BaseUrl,
    check_target,
    localise,
    readings,
)
from sidecar.errors import Code, Refused

BASE = BaseUrl.parse("https://api.flownally.com/v1")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b"/", id="root"),
        pytest.param(b"/contacts", id="path"),
        pytest.param(b"/contacts/", id="slash-at-the-end"),
        pytest.param(b"/contacts?limit=1&cursor=a%2Fb==", id="query"),
        pytest.param(b"/contacts?", id="empty-query"),
        pytest.param(b"/?", id="root-query"),
        pytest.param(b"/contacts/jane%40example.com", id="escape"),
        pytest.param(b"/contacts/Z%C3%BCrich", id="utf-8"),
        pytest.param(b"/a%2Fb", id="encoded-slash-as-data"),
        pytest.param(b"/a%252Fb", id="encoded-twice-as-data"),
        pytest.param(b"/a%2525252541", id="encoded-five-times-as-data"),
        pytest.param(b"/a%5Fb", id="needless-escape"),
        pytest.param(b"//a//b", id="empty-segments"),
        pytest.param(b"/a;v=1/b;w", id="parameters"),
        pytest.param(b"/.well-known/x", id="leading-dot"),
        pytest.param(b"/...", id="three-dots"),
        pytest.param(b"/a..b/c.", id="dots-inside"),
        pytest.param(b"/..a/a..", id="dots-beside"),
        pytest.param(b"/a?x=../../b", id="dots-in-query"),
        pytest.param(b"/a?x=/../", id="path-in-query"),
        pytest.param(b"/a?x=%2e%2e%2f", id="escaped-dots-in-query"),
        pytest.param(b"/a?x=100%", id="percent-in-query"),
        pytest.param(b"/a?x=%zz", id="malformed-escape-in-query"),
        pytest.param(b"/a%0d%0aX:y", id="encoded-crlf-stays-encoded"),
        pytest.param(b"/a\\b", id="backslash"),
        pytest.param(b'/a"<>^`{|}', id="what-rfc-3986-leaves-out"),
        pytest.param(b"/" + b"a" * (MAX_TARGET_BYTES - 1), id="longest"),
    ],
)
def test_data_goes_on_byte_for_byte(target: bytes) -> None:
    """`check_target` accepts it; the exchange appends it to the base path unchanged."""
    check_target(target)


@pytest.mark.parametrize(
    ("target", "attack"),
    [
        pytest.param(b"/../admin", "plain", id="plain"),
        pytest.param(b"/a/../../admin", "plain", id="climbs"),
        pytest.param(b"/a/..", "plain", id="at-the-end"),
        pytest.param(b"/./a", "single dot", id="single"),
        pytest.param(b"/.", "single dot", id="only-dot"),
        pytest.param(b"/..?x", "before a query", id="before-query"),
        pytest.param(b"/%2e%2e/admin", "encoded dots", id="encoded"),
        pytest.param(b"/%2E./admin", "mixed", id="mixed"),
        pytest.param(b"/.%2e/admin", "mixed", id="mixed-2"),
        pytest.param(b"/%2e%2e%2fadmin", "encoded slash", id="encoded-slash"),
        pytest.param(b"/a%2f..%2fadmin", "encoded slashes", id="encoded-slashes"),
        pytest.param(b"/..%5cadmin", "backslash", id="encoded-backslash"),
        pytest.param(b"/..\\admin", "backslash", id="backslash"),
        pytest.param(b"/a\\..\\..\\admin", "backslashes", id="backslashes"),
        pytest.param(b"/%252e%252e/admin", "encoded twice", id="twice"),
        pytest.param(b"/%25252e%25252e/admin", "three times", id="three-times"),
        pytest.param(b"/%2525252e%2525252e/x", "four times", id="four-times"),
        pytest.param(b"/%252525252e%252525252e/x", "five times", id="five-times"),
        pytest.param(b"/%25252525252e/x", "deeper than we follow", id="six-times"),
        pytest.param(b"/a%252525252541", "deeper than we follow", id="six-times-data"),
        pytest.param(b"/%c0%ae%c0%ae/x", "overlong dot, 2 bytes", id="overlong-2"),
        pytest.param(b"/%e0%80%ae./x", "overlong dot, 3 bytes", id="overlong-3"),
        pytest.param(b"/%f0%80%80%ae./x", "overlong dot, 4 bytes", id="overlong-4"),
        pytest.param(b"/%f8%80%80%80%ae./x", "overlong, 5 bytes", id="overlong-5"),
        pytest.param(b"/%fc%80%80%80%80%ae./x", "overlong, 6 bytes", id="overlong-6"),
        pytest.param(b"/..%c0%afx", "overlong slash", id="overlong-slash"),
        pytest.param(b"/..%c1%9cx", "overlong backslash", id="overlong-backslash"),
        pytest.param(b"/%c0%2e%c0%2e/x", "broken continuation", id="overlong-broken"),
        pytest.param(b"/..%c0%bbx/y", "overlong semicolon", id="overlong-semicolon"),
        pytest.param(b"/%25c0%25ae./x", "overlong, encoded twice", id="overlong-twice"),
        pytest.param(b"/%u002e%u002e/x", "IIS escapes", id="percent-u"),
        pytest.param(b"/..;/admin", "parameter (CVE-2026-73551)", id="parameter"),
        pytest.param(b"/..;x=y/admin", "parameter", id="parameter-value"),
        pytest.param(b"/%2e%2e;x/admin", "parameter", id="parameter-encoded-dots"),
        pytest.param(b"/..%3bx/admin", "encoded parameter", id="encoded-parameter"),
        pytest.param(b"/..%3fx/admin", "a query, to a second parser", id="query"),
        pytest.param(b"/..%23x/admin", "a fragment, to a second parser", id="hash"),
        pytest.param(b"/..%20/admin", "Windows trims blanks", id="blank"),
        pytest.param(b"/.%09./admin", "URL parsers skip tabs", id="tab-inside"),
        pytest.param(b"/..%0a/admin", "URL parsers skip newlines", id="newline"),
        pytest.param(b"/a%00b", "C strings end there", id="nul"),
        pytest.param(b"/a%2500b", "decoded twice", id="nul-twice"),
        pytest.param(b"/a?b=%00", "C strings end there", id="nul-in-query"),
        pytest.param(b"/a%zz", "decoders disagree", id="malformed-escape"),
        pytest.param(b"/a%2", "decoders disagree", id="half-escape"),
        pytest.param(b"/a%", "decoders disagree", id="percent-at-the-end"),
        pytest.param(b"http://evil.example/", "absolute-form", id="absolute"),
        pytest.param(b"https://api.flownally.com/v1/a", "absolute-form", id="own"),
        pytest.param(b"evil.example:443", "authority-form", id="authority"),
        pytest.param(b"*", "asterisk-form", id="asterisk"),
        pytest.param(b"", "nothing", id="empty"),
        pytest.param(b"contacts", "no slash", id="relative"),
        pytest.param(b"?a", "no path", id="only-query"),
        pytest.param(b"/a#b", "fragment", id="fragment"),
        pytest.param(b"/a?b#c", "fragment", id="fragment-in-query"),
        pytest.param(b"/a b", "two words in the request line", id="space"),
        pytest.param(b"/a?b c", "two words in the request line", id="space-in-query"),
        pytest.param(b"/a\tb", "a blank to some", id="tab"),
        pytest.param(b"/a\r\nX: y", "a line of its own", id="crlf"),
        pytest.param(b"/a?b\r\nX: y", "a line of its own", id="crlf-in-query"),
        pytest.param(b"/a\n", "`$` in expressions", id="newline-at-the-end"),
        pytest.param(b"/a\x00", "C strings end there", id="raw-nul"),
        pytest.param(b"/a\x7f", "control byte", id="del"),
        pytest.param(b"/caf\xc3\xa9", "decoded in different ways", id="raw-utf-8"),
        pytest.param(b"/a?caf\xc3\xa9", "in the query", id="raw-utf-8-in-query"),
    ],
)
def test_what_could_leave_the_base_path_is_refused(target: bytes, attack: str) -> None:
    """A target is refused if any server could read it so."""
    with pytest.raises(Refused) as caught:
        check_target(target)

    assert caught.value.code is Code.BAD_TARGET, attack


def test_a_long_target_is_refused() -> None:
    """The length is checked first."""
    with pytest.raises(Refused) as caught:
        check_target(b"/" + b"%2e" * MAX_TARGET_BYTES)

    assert caught.value.code is Code.TARGET_TOO_LONG


def test_a_reading_is_one_decoding_after_another() -> None:
    """Segments are without parameters and blanks, which some servers drop."""
    assert list(readings(b"/a%2fb;x/%2541")) == [
        [b"a%2fb", b"%2541"],
        [b"a", b"b", b"%41"],
        [b"a", b"b", b"A"],
    ]


# Properties: independent resolvers never leave the base.

parts = st.sampled_from(
    [
        *(
            "/",
            "/",
            "a",
            ".",
            "..",
            "%2e",
            "%2E",
            "%252e",
            "%2f",
            "%5c",
            "\\",
            "%25",
            ";",
        ),
        *(
            ";x",
            "%3b",
            "%c0%ae",
            "%c0%af",
            "%20",
            "%09",
            "%00",
            "%",
            "2e",
            "?",
            "%3f",
            "b",
        ),
        *("%e0%80%ae", "%u002e", "%23", "é", "%C3%A9", "%41", "//"),
    ]
)
targets = st.lists(parts, max_size=8).map(lambda some: "/" + "".join(some))


def resolved(path: str) -> list[str]:
    """Resolve a path as different libraries and servers do."""
    outcomes = [posixpath.normpath(path), urllib.parse.urljoin("http://h/", path)]
    with contextlib.suppress(ValueError):
        outcomes.append(yarl.URL(f"http://h{path}").path)
    outcomes.append(posixpath.normpath(path.replace("\\", "/")))
    outcomes.append(posixpath.normpath(re.sub(";[^/]*", "", path)))
    return [urllib.parse.urlsplit(outcome).path for outcome in outcomes]


@given(targets)
@example("/%252e%252e/x")
@example("/a%2f..%2f..%2fx")
def test_no_resolver_leaves_the_base_path(target: str) -> None:
    """Decoded any number of times by any library, an accepted target stays below it."""
    try:
        check_target(target.encode())
    except Refused:
        return

    path = "/v1" + target.partition("?")[0]
    for _ in range(7):
        for outcome in resolved(path):
            assert outcome == "/v1" or outcome.startswith("/v1/"), path
        # As a server would, with and without tolerance for overlong characters.
        path = urllib.parse.unquote(path, errors="replace").replace("\\", "/")


@given(targets)
def test_no_reading_of_an_accepted_target_has_dots(target: str) -> None:
    """The fast expressions and the slow check give the same result."""
    with contextlib.suppress(Refused):
        check_target(target.encode())
        path = target.encode().partition(b"?")[0]

        for segments in readings(path):
            assert not {b".", b".."} & set(segments)


@given(st.binary(max_size=30))
def test_noise_raises_nothing_else(noise: bytes) -> None:
    """No bytes raise another exception; an accepted target is visible ASCII."""
    for target in (noise, b"/" + noise):
        with contextlib.suppress(Refused):
            check_target(target)

            assert re.fullmatch(rb"/[\x21\x22\x24-\x7e]*", target)


# Base URLs.


@pytest.mark.parametrize(
    ("text", "base"),
    [
        pytest.param(
            "https://api.flownally.com/v1",
            BaseUrl("https", "api.flownally.com", 443, b"/v1", b"api.flownally.com"),
            id="usual",
        ),
        pytest.param(
            "https://api.flownally.com/v1/",
            BaseUrl("https", "api.flownally.com", 443, b"/v1", b"api.flownally.com"),
            id="slash-at-the-end",
        ),
        pytest.param(
            "http://127.0.0.1:9000",
            BaseUrl("http", "127.0.0.1", 9000, b"", b"127.0.0.1:9000"),
            id="no-path-but-a-port",
        ),
        pytest.param(
            "HTTPS://API.Example:443/",
            BaseUrl("https", "api.example", 443, b"", b"api.example"),
            id="case-and-default-port",
        ),
        pytest.param(
            "https://[2001:db8::1]:8443/a/b",
            BaseUrl("https", "2001:db8::1", 8443, b"/a/b", b"[2001:db8::1]:8443"),
            id="ipv6",
        ),
    ],
)
def test_a_base_url_is_parsed_once(text: str, base: BaseUrl) -> None:
    """The parts are those for connecting, TLS and the request line."""
    assert BaseUrl.parse(text) == base


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ftp://a/",
            "api.example/v1",
            "https:///v1",
            "https://u:p@a/",
            "https://a/?x",
        ),
        *("https://a/#x", "https://a/../b", "https://a/b c", "https://a:99999/", ""),
        *("https://caf\u00e9/", "https://a/caf\u00e9", "https://a/?", "https://[::1"),
    ],
)
def test_a_base_url_that_is_none_is_refused(text: str) -> None:
    """A wrong base URL would send the key to another host."""
    with pytest.raises(ValueError, match=r"."):
        BaseUrl.parse(text)


# Location.


@pytest.mark.parametrize(
    ("location", "local"),
    [
        pytest.param(b"https://api.flownally.com/v1/a/1", b"/a/1", id="absolute"),
        pytest.param(b"https://api.flownally.com/v1/a?b#c", b"/a?b#c", id="query"),
        pytest.param(b"https://api.flownally.com/v1", b"/", id="the-base-itself"),
        pytest.param(b"https://api.flownally.com/v1/", b"/", id="its-root"),
        pytest.param(b"https://api.flownally.com/v1?a", b"/?a", id="base-and-query"),
        pytest.param(b"https://api.flownally.com/v1#a", b"/#a", id="base-and-fragment"),
        pytest.param(b"HTTPS://API.Flownally.com:443/v1/a", b"/a", id="case-and-port"),
        pytest.param(b"//api.flownally.com/v1/a", b"/a", id="without-scheme"),
        pytest.param(b"/v1/a/1", b"/a/1", id="path"),
        pytest.param(b"/v1/a%2Fb", b"/a%2Fb", id="bytes-stay"),
        pytest.param(
            b"/login", b"https://api.flownally.com/login", id="path-outside-the-base"
        ),
        pytest.param(
            b"/v10/a", b"https://api.flownally.com/v10/a", id="a-name-that-begins-so"
        ),
        pytest.param(
            b"/v1/../x", b"https://api.flownally.com/v1/../x", id="path-that-climbs"
        ),
        pytest.param(
            b"/v1//evil.example/x",
            b"https://api.flownally.com/v1//evil.example/x",
            id="would-name-a-host",
        ),
    ],
)
def test_a_location_under_the_base_is_one_on_the_listener(
    location: bytes, local: bytes
) -> None:
    """The result means the same; other paths on the API's host become full URLs."""
    assert localise(location, BASE) == local


@pytest.mark.parametrize(
    "location",
    [
        pytest.param(b"https://elsewhere.example/v1/a", id="another-host"),
        pytest.param(b"https://api.flownally.com.evil.example/v1/a", id="begins-so"),
        pytest.param(b"https://user@api.flownally.com/v1/a", id="user-info"),
        pytest.param(b"https://api.flownally.com:8443/v1/a", id="another-port"),
        pytest.param(b"http://api.flownally.com/v1/a", id="another-scheme"),
        pytest.param(b"https://api.flownally.com/v2/a", id="outside-the-base"),
        pytest.param(b"https://api.flownally.com/v1/../admin", id="climbs"),
        pytest.param(b"https://api.flownally.com/v1//evil.example", id="names-a-host"),
        pytest.param(b"https://api.flownally.com/v1/\\evil.example", id="to-browsers"),
        pytest.param(b"https://api.flownally.com/v1/caf\xc3\xa9", id="not-ascii"),
        pytest.param(b"a/1", id="relative"),
        pytest.param(b"../a", id="relative-up"),
        pytest.param(b"?page=2", id="only-query"),
        pytest.param(b"", id="empty"),
        pytest.param(b"mailto:a@b", id="not-http"),
        pytest.param(b"https:/v1/a", id="no-authority"),
    ],
)
def test_any_other_location_stays_as_it_is(location: bytes) -> None:
    """The client may follow it by itself, without the key."""
    assert localise(location, BASE) == location


def test_a_base_without_a_path_keeps_all_paths() -> None:
    """With an empty base path, the whole host is under it."""
    base = BaseUrl.parse("http://127.0.0.1:9000")

    assert localise(b"/a", base) == b"/a"
    assert localise(b"http://127.0.0.1:9000", base) == b"/"
    assert localise(b"http://127.0.0.1:9000/a?b", base) == b"/a?b"


locations = st.lists(
    st.sampled_from(
        [
            *(
                "https://",
                "//",
                "api.flownally.com",
                "/v1",
                "/",
                "\\",
                "..",
                "evil",
                "@",
            ),
            *(":443", ":", "?", "#", "a", "%2f", ";", "http://", " ", "\xe9"),
        ]
    ),
    max_size=8,
).map(lambda some: "".join(some).encode("latin-1"))


@given(locations)
def test_a_localised_location_never_names_a_host(location: bytes) -> None:
    """A changed location is a plain path, or a full URL on the API's host."""
    local = localise(location, BASE)

    if local != location:
        full = local.startswith(b"https://api.flownally.com/")
        assert full or re.match(rb"/(?![/\\])", local)
    if local != location and local.startswith(b"/"):
        check_target(local.partition(b"#")[0])
