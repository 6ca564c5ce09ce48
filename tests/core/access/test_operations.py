"""Which calls may pass: deny in any reading, allow in exactly one."""

import contextlib
import itertools
import urllib.parse

import pytest
from hypothesis import example, given, strategies as st

from sidecar.core.access.operations import (
    ANY,
    Operation,
    OperationPattern,
    Operations,
)
from sidecar.core.http.target import check_target
from sidecar.errors import Code, Refused

DENY = ["* /service-accounts/**"]
DEFAULT = Operations(deny=DENY)
ALLOW = Operations(
    [
        ("GET /contacts", ()),
        ("GET,PATCH /contacts/{id}", ["contacts:read"]),
        ("POST /contacts", ["contacts:write"]),
        ("* /files/**", ()),
        ("GET /tags/a@b", ()),
        ("GET /a%20b/{x}/c", ()),
        ("GET /end/", ()),
    ],
    DENY,
)


def refusal(operations: Operations, method: bytes, target: bytes) -> Code:
    """Return the code of the refusal."""
    with pytest.raises(Refused) as caught:
        operations.match(method, target)
    return caught.value.code


@pytest.mark.parametrize(
    "target",
    [
        *(b"/", b"/contacts", b"/contacts?limit=1", b"/x/service-accounts", b"/a%2Fb"),
        *(b"/service-accountsx", b"/service-account", b"/a?/service-accounts/1", b"//"),
        *(b"/Z%C3%BCrich", b"/jane%40example.com", b"/a;b", b"/service_accounts"),
    ],
)
def test_without_allow_everything_passes_but_what_is_denied(target: bytes) -> None:
    """All calls have one label, so metrics stay bounded."""
    assert DEFAULT.match(b"GET", target) == Operation(ANY)
    assert DEFAULT.match(b"PROPFIND", target) == Operation(ANY)


@pytest.mark.parametrize(
    ("target", "evasion"),
    [
        pytest.param(b"/service-accounts", "none", id="collection"),
        pytest.param(b"/service-accounts?a", "a query", id="query"),
        pytest.param(b"/service-accounts/", "a slash at the end", id="slash"),
        pytest.param(b"/service-accounts/1/api-keys", "none", id="below"),
        pytest.param(b"//service-accounts", "empty segment", id="slash-first"),
        pytest.param(b"///service-accounts//1", "empty segments", id="slashes"),
        pytest.param(b"/Service-Accounts/1", "case", id="case"),
        pytest.param(b"/%73ervice-accounts", "an escaped letter", id="letter"),
        pytest.param(b"/service%2Daccounts", "an escaped hyphen", id="hyphen"),
        pytest.param(b"/service%2daccounts", "lower case hex", id="hex-case"),
        pytest.param(b"/%53ERVICE-accounts", "escape and case", id="letter-case"),
        pytest.param(b"/%2573ervice-accounts", "escaped twice", id="twice"),
        pytest.param(b"/%252573ervice-accounts", "three times", id="three-times"),
        pytest.param(b"/service-accounts%2F1", "an escaped slash", id="slash-escaped"),
        pytest.param(b"/%2Fservice-accounts", "an escaped slash", id="slash-2"),
        pytest.param(b"/%2fservice-accounts%2f", "escaped slashes", id="slash-3"),
        pytest.param(b"/\\service-accounts", "a backslash", id="backslash"),
        pytest.param(b"/service-accounts%5C1", "backslash", id="backslash-escaped"),
        pytest.param(b"/service-accounts;x=1/1", "a parameter", id="parameter"),
        pytest.param(b"/service-accounts%3Bx", "a parameter", id="parameter-escaped"),
        pytest.param(b"/;x/service-accounts", "parameter alone", id="parameter-alone"),
        pytest.param(b"/service-accounts%20", "a blank", id="blank"),
        pytest.param(b"/service-accounts%09/1", "a tab", id="tab"),
        pytest.param(b"/service-accounts%3Fx", "a query, decoded", id="question-mark"),
        pytest.param(b"/service-accounts%23x", "a fragment", id="hash"),
        pytest.param(b"/%c1%b3ervice-accounts", "an overlong letter", id="overlong"),
        pytest.param(b"/%u0073ervice-accounts", "an IIS escape", id="percent-u"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"PURGE"])
def test_no_spelling_evades_deny(target: bytes, evasion: str, method: bytes) -> None:
    """A path that some server could read as a denied operation is denied."""
    assert refusal(DEFAULT, method, target) is Code.OPERATION_DENIED, evasion
    assert refusal(ALLOW, method, target) is Code.OPERATION_DENIED, evasion


@pytest.mark.parametrize(
    ("method", "target", "label", "scopes"),
    [
        pytest.param(b"GET", b"/contacts", "/contacts", (), id="exact"),
        pytest.param(b"GET", b"/contacts?a=b/c", "/contacts", (), id="query"),
        pytest.param(b"HEAD", b"/contacts", "/contacts", (), id="head-is-a-get"),
        pytest.param(
            b"POST", b"/contacts", "/contacts", ("contacts:write",), id="by-method"
        ),
        pytest.param(
            b"PATCH", b"/contacts/7", "/contacts/{id}", ("contacts:read",), id="one"
        ),
        pytest.param(
            b"GET",
            b"/contacts/jane%40a.b",
            "/contacts/{id}",
            ("contacts:read",),
            id="escape-as-data",
        ),
        pytest.param(
            b"GET",
            b"/contacts/Z%C3%BC;v=1",
            "/contacts/{id}",
            ("contacts:read",),
            id="parameter-as-data",
        ),
        pytest.param(b"GET", b"/%63ontacts", "/contacts", (), id="needless-escape"),
        pytest.param(b"PUT", b"/files", "/files/**", (), id="rest-of-nothing"),
        pytest.param(b"PUT", b"/files/", "/files/**", (), id="rest-of-a-slash"),
        pytest.param(b"PUT", b"/files/a/b", "/files/**", (), id="rest"),
        pytest.param(b"PUT", b"/files/a%2Fb//c", "/files/**", (), id="rest-as-data"),
        pytest.param(b"LOCK", b"/files/a", "/files/**", (), id="any-method"),
        pytest.param(b"GET", b"/tags/a@b", "/tags/a@b", (), id="punctuation"),
        pytest.param(b"GET", b"/tags/a%40b", "/tags/a@b", (), id="escaped"),
        pytest.param(b"GET", b"/a%20b/1/c", "/a%20b/{x}/c", (), id="escaped-entry"),
        pytest.param(b"GET", b"/end/", "/end/", (), id="slash-at-the-end"),
    ],
)
def test_an_allowed_operation_is_named(
    method: bytes, target: bytes, label: str, scopes: tuple[str, ...]
) -> None:
    """The label is the text of the entry, and its scopes are kept."""
    assert ALLOW.match(method, target) == Operation(label, scopes)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param(b"DELETE", b"/contacts/7", id="method"),
        pytest.param(b"HEAD", b"/nothing", id="path"),
        pytest.param(b"get", b"/contacts", id="methods-have-case"),
        pytest.param(b"GET", b"/Contacts", id="paths-have-case"),
        pytest.param(b"GET", b"/contacts/", id="slash-at-the-end"),
        pytest.param(b"GET", b"//contacts", id="empty-segment"),
        pytest.param(b"GET", b"/contacts/7/x", id="deeper"),
        pytest.param(b"GET", b"/contacts//", id="empty-id"),
        pytest.param(b"GET", b"/contacts;x", id="parameter"),
        pytest.param(b"GET", b"/contacts/a%2Fb", id="two-segments-to-some"),
        pytest.param(b"GET", b"/contacts/a%252Fb", id="two-segments-to-others"),
        pytest.param(b"GET", b"/contacts/a%5Cb", id="backslash"),
        pytest.param(b"GET", b"/contacts/%20", id="blank-id"),
        pytest.param(b"GET", b"/%2563ontacts", id="escaped-twice"),
        pytest.param(b"GET", b"/end", id="no-slash-at-the-end"),
        pytest.param(b"GET", b"/filesx/a", id="a-name-that-begins-so"),
        pytest.param(b"GET", b"/", id="root"),
    ],
)
def test_what_is_not_allowed_is_refused(method: bytes, target: bytes) -> None:
    """A path that only some servers read as an allowed operation is refused."""
    assert refusal(ALLOW, method, target) is Code.OPERATION_DENIED


def test_deny_wins_over_allow() -> None:
    """Deny wins in any order of the settings."""
    operations = Operations([("* /**", ())], ["GET /a/{id}", "DELETE /**"])

    assert operations.match(b"GET", b"/a").label == "/**"
    assert operations.match(b"PUT", b"/a/1").label == "/**"
    assert refusal(operations, b"GET", b"/a/1") is Code.OPERATION_DENIED
    assert refusal(operations, b"HEAD", b"/A/1/") is Code.OPERATION_DENIED
    assert refusal(operations, b"DELETE", b"/") is Code.OPERATION_DENIED


def test_an_escape_of_punctuation_does_not_evade_deny() -> None:
    """If deny names punctuation, escapes of it are denied too."""
    operations = Operations(deny=["* /keys@x/**", "* /a%20b"])

    for target in (b"/keys@x/1", b"/keys%40x/1", b"/keys%2540x", b"/a%20b", b"/ab"):
        assert refusal(operations, b"GET", target) is Code.OPERATION_DENIED
    assert operations.match(b"GET", b"/keys%41x").label == ANY


def test_the_first_entry_names_the_operation() -> None:
    """The first entry that matches names the operation."""
    operations = Operations([("GET /a/{id}", ()), ("GET /a/b", ()), ("GET /a/**", ())])

    assert operations.match(b"GET", b"/a/b").label == "/a/{id}"
    assert operations.match(b"GET", b"/a/b/c").label == "/a/**"


def test_nothing_is_allowed_by_an_empty_list() -> None:
    """An empty `allow` allows nothing; an absent one allows everything."""
    assert refusal(Operations([]), b"GET", b"/") is Code.OPERATION_DENIED


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (b"/../x", Code.BAD_TARGET),
        (b"/files/%2e%2e/x", Code.BAD_TARGET),
        (b"*", Code.BAD_TARGET),
        (b"/files/" + b"a" * 8192, Code.TARGET_TOO_LONG),
    ],
)
def test_the_target_is_judged_with_it(target: bytes, code: Code) -> None:
    """`match` checks the target too."""
    assert refusal(ALLOW, b"GET", target) is code
    assert refusal(DEFAULT, b"GET", target) is code


def test_labels_are_known_from_the_start() -> None:
    """The labels are known before the first call, for metrics."""
    assert DEFAULT.labels == (ANY,)
    assert ALLOW.labels == (
        *(ANY, "/contacts", "/contacts/{id}", "/files/**", "/tags/a@b"),
        *("/a%20b/{x}/c", "/end/"),
    )


@pytest.mark.parametrize("text", ["", "GET", "/contacts", "GET contacts", " /contacts"])
def test_an_entry_that_is_none_is_refused(text: str) -> None:
    """An entry that is not `METHODS /path` raises ValueError."""
    with pytest.raises(ValueError, match="METHOD /path"):
        Operations(deny=[text])


# Properties.

parts = st.sampled_from(
    [
        *("/", "/", "service-accounts", "Service-Accounts", "%73ervice-accounts", "a"),
        *(
            "%2f",
            "%5c",
            ";x",
            "1",
            "%2573",
            "ervice-accounts",
            "\\",
            "?",
            "%20",
            "%C3%A9",
        ),
        *("contacts", "%40", "@", "files", ".", "%3b"),
    ]
)
targets = st.lists(parts, max_size=7).map(lambda some: ("/" + "".join(some)).encode())


def flat(path: str) -> str:
    """Read a path in the loosest way: decoded, lower case, no empty segments."""
    segments = path.replace("\\", "/").lower().split("/")
    names = [segment.partition(";")[0].strip() for segment in segments]
    return "/".join(name for name in names if name)


@given(targets)
@example(b"/%2fservice-accounts")
def test_what_passes_is_denied_in_no_reading(target: bytes) -> None:
    """An independent reader decodes repeatedly and never finds a denied path."""
    for operations in (DEFAULT, ALLOW):
        with contextlib.suppress(Refused):
            operations.match(b"POST", target)

            path = target.decode().partition("?")[0]
            for _ in range(6):
                assert f"{flat(path)}/".startswith("service-accounts/") is False
                path = urllib.parse.unquote(path, errors="replace")


@given(targets)
def test_the_fast_way_and_the_slow_way_agree(target: bytes) -> None:
    """The compiled expressions and the patterns give the same result."""
    for operations, method in itertools.product(
        (DEFAULT, ALLOW), (b"GET", b"POST", b"LOCK")
    ):
        rules = operations._rules.get(method, operations._other)
        fast = rules.plain.fullmatch(target) or rules.escaped.fullmatch(target)
        if not fast:
            continue
        check_target(target)
        segments = target.partition(b"?")[0][1:].split(b"/")

        assert not any(pattern.denies(segments) for pattern in rules.deny)
        if rules.allow is not None:
            first = next(op for pattern, op in rules.allow if pattern.allows(segments))
            assert operations.match(method, target) == first


@given(targets)
def test_what_is_allowed_passes_without_a_list_too(target: bytes) -> None:
    """`allow` never permits what is refused without it."""
    with contextlib.suppress(Refused):
        ALLOW.match(b"POST", target)

        assert DEFAULT.match(b"POST", target).label == ANY


# Entries.


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        pytest.param(
            "POST /contacts",
            OperationPattern(frozenset({b"POST"}), (b"contacts",), rest=False),
            id="one",
        ),
        pytest.param(
            "GET,PATCH /contacts/{id}",
            OperationPattern(
                frozenset({b"GET", b"HEAD", b"PATCH"}), (b"contacts", None), rest=False
            ),
            id="get-is-head-too",
        ),
        pytest.param(
            "* /service-accounts/**",
            OperationPattern(frozenset(), (b"service-accounts",), rest=True),
            id="any-method-and-rest",
        ),
        pytest.param(
            "PUT /a%20b/{x}y/**/",
            OperationPattern(
                frozenset({b"PUT"}), (b"a b", b"{x}y", b"**", b""), rest=False
            ),
            id="decoded-once-and-nothing-guessed",
        ),
        pytest.param(
            "* /**", OperationPattern(frozenset(), (), rest=True), id="everything"
        ),
    ],
)
def test_an_entry_says_what_it_matches(text: str, pattern: OperationPattern) -> None:
    """An entry has methods, segments and whether more may follow."""
    assert OperationPattern.parse(text) == pattern


def test_an_entry_is_for_its_methods() -> None:
    """Methods are case-sensitive; `*` is any method, known or not."""
    assert OperationPattern.parse("GET /a").is_for(b"HEAD")
    assert not OperationPattern.parse("GET /a").is_for(b"get")
    assert OperationPattern.parse("* /a").is_for(b"QUERY")


def test_in_doubt_it_denies_and_does_not_allow() -> None:
    """A segment that some servers read as two is denied and not allowed."""
    pattern = OperationPattern.parse("* /a/{id}")

    assert pattern.allows([b"a", b"b"])
    assert not pattern.allows([b"a", b"b%2Fc"])
    assert not pattern.allows([b"a", b""])
    assert pattern.denies([b"", b"A", b"", b"b"])
    assert not pattern.denies([b"a", b"b", b"c"])
