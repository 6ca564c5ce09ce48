"""How a secret is shown, and which values are accepted or refused."""

import copy
import json
import pickle
import re
import traceback

import pytest
from hypothesis import given, strategies as st

from sidecar.core.secrecy.secret import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    Credential,
    Secret,
    SecretRules,
    digest_of,
    fingerprint_of,
    header_line,
    parse_secret,
)
from sidecar.errors import SecretRejected

PLAIN = SecretRules()
LIVE = SecretRules(key_prefix="fln_live_")
MEMBER = SecretRules(json_key="api_key")

VISIBLE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60
)
"""The characters of keys."""


@pytest.mark.parametrize(
    ("raw", "rules", "key"),
    [
        # realistic
        pytest.param("fln_live_0aZ9-_.~", LIVE, "fln_live_0aZ9-_.~", id="key"),
        pytest.param("fln_live_0aZ9\n", LIVE, "fln_live_0aZ9", id="echo"),
        pytest.param("fln_live_0aZ9\r\n", LIVE, "fln_live_0aZ9", id="windows-editor"),
        pytest.param('{"api_key": "abc"}', MEMBER, "abc", id="json"),
        pytest.param('{"api_key": "abc\\n"}', MEMBER, "abc", id="json-newline"),
        pytest.param(
            '{"a": {"b": "abc"}}', SecretRules(json_key="a.b"), "abc", id="json-path"
        ),
        pytest.param("c2VjcmV0+/==", PLAIN, "c2VjcmV0+/==", id="base64"),
        # synthetic
        pytest.param(
            '{"a.b": "abc", "a": {"b": "no"}}',
            SecretRules(json_key="a.b"),
            "abc",
            id="a-name-with-a-dot-wins",
        ),
        pytest.param("bearer_abc", PLAIN, "bearer_abc", id="key-named-like-the-scheme"),
        pytest.param("Bearertoken", PLAIN, "Bearertoken", id="scheme-as-a-prefix"),
        pytest.param("~!@#$%^&*()", PLAIN, "~!@#$%^&*()", id="punctuation"),
        pytest.param("k" * MAX_KEY_BYTES, PLAIN, "k" * MAX_KEY_BYTES, id="longest"),
        pytest.param("x", PLAIN, "x", id="shortest"),
    ],
)
def test_a_good_value_becomes_its_key(raw: str, rules: SecretRules, key: str) -> None:
    """A key is not changed, except for one newline at its end."""
    secret = parse_secret(raw, rules)

    assert secret.reveal() == key


@pytest.mark.parametrize(
    ("raw", "rules", "rule"),
    [
        # realistic
        pytest.param("", PLAIN, "the key is empty", id="empty"),
        pytest.param("\n", PLAIN, "the key is empty", id="only-a-newline"),
        pytest.param("Bearer abc", PLAIN, "begins with Bearer", id="scheme"),
        pytest.param("bearer abc", PLAIN, "begins with Bearer", id="scheme-any-case"),
        pytest.param("Bearer", PLAIN, "begins with Bearer", id="only-the-scheme"),
        pytest.param("Bearer:abc", PLAIN, "begins with Bearer", id="scheme-colon"),
        pytest.param("Bearer%20abc", PLAIN, "begins with Bearer", id="scheme-encoded"),
        pytest.param("fln_test_abc", LIVE, "begin with fln_live_", id="environment"),
        pytest.param("fln_live_", LIVE, "begin with fln_live_", id="only-the-prefix"),
        pytest.param("replace_with_key", PLAIN, "placeholder", id="replace-with"),
        pytest.param("REPLACE_WITH_KEY", LIVE, "placeholder", id="before-the-prefix"),
        pytest.param("ChangeMe!", PLAIN, "placeholder", id="changeme"),
        pytest.param("change-me", PLAIN, "placeholder", id="change-me"),
        pytest.param("<your key>", PLAIN, "placeholder", id="angle"),
        pytest.param("fln_live_<key>", LIVE, "placeholder", id="angle-within"),
        pytest.param("your_api_key", PLAIN, "placeholder", id="your-api-key"),
        pytest.param("********", PLAIN, "placeholder", id="a-masked-copy"),
        pytest.param(" abc", PLAIN, "a space", id="leading-space"),
        pytest.param("abc ", PLAIN, "a space", id="trailing-space"),
        pytest.param("a\tb", PLAIN, "a space", id="tab"),
        pytest.param("a\nb", PLAIN, "a line break", id="line-break"),
        pytest.param("abc\n\n", PLAIN, "a line break", id="two-newlines"),
        pytest.param("abc\r\nHost: x", PLAIN, "a line break", id="header-injection"),
        pytest.param("a\0b", PLAIN, "a NUL", id="nul"),
        pytest.param("a\x7fb", PLAIN, "not visible ASCII", id="delete"),
        pytest.param("schlüssel", PLAIN, "not visible ASCII", id="non-ascii"),
        pytest.param("a\u2028b", PLAIN, "a space", id="line-separator"),
        pytest.param('{"api_key":"abc"}', PLAIN, "JSON object", id="json-unasked"),
        pytest.param("k" * (MAX_KEY_BYTES + 1), PLAIN, "longer than 8192", id="long"),
        pytest.param(
            "k" * (MAX_VALUE_BYTES + 1), MEMBER, "longer than 65536", id="huge"
        ),
        pytest.param(b"\x00\x01", PLAIN, "the secret is binary", id="binary"),
        # json_key
        pytest.param("abc", MEMBER, "no JSON object", id="not-json"),
        pytest.param('["api_key"]', MEMBER, "no JSON object", id="array"),
        pytest.param('"abc"', MEMBER, "no JSON object", id="json-string"),
        pytest.param("null", MEMBER, "no JSON object", id="null"),
        pytest.param('{"other": "abc"}', MEMBER, "no member api_key", id="missing"),
        pytest.param('{"api_key": 1}', MEMBER, "is not a string", id="number"),
        pytest.param('{"api_key": null}', MEMBER, "is not a string", id="member-null"),
        pytest.param('{"api_key": {}}', MEMBER, "is not a string", id="object"),
        pytest.param('{"api_key": ""}', MEMBER, "the key is empty", id="member-empty"),
        pytest.param(
            '{"a": "x"}', SecretRules(json_key="a.b"), "no member a.b", id="path-ends"
        ),
        pytest.param(
            '{"a": {"c": "x"}}', SecretRules(json_key="a.b"), "no member", id="path"
        ),
        # pathological
        pytest.param("[" * 60000, MEMBER, "no JSON object", id="deep-json"),
        pytest.param('{"api_key": "Bearer x"}', MEMBER, "begins with", id="member"),
    ],
)
def test_a_bad_value_is_refused_by_the_rule_it_breaks(
    raw: str | bytes, rules: SecretRules, rule: str
) -> None:
    """The message names the rule and the remedy."""
    with pytest.raises(SecretRejected) as caught:
        parse_secret(raw, rules)

    assert rule in caught.value.rule
    assert caught.value.remedy


def test_an_api_with_another_scheme_may_have_keys_that_begin_with_bearer() -> None:
    """Only the scheme of the header would be sent twice."""
    secret = parse_secret("Bearer:abc", SecretRules(scheme="Token"))

    assert secret.reveal() == "Bearer:abc"


def test_a_bare_key_has_no_scheme_to_begin_with() -> None:
    """Without a scheme any visible text is a key."""
    assert parse_secret("Bearer", SecretRules(scheme="")).reveal() == "Bearer"


@given(VISIBLE)
def test_a_refusal_holds_nothing_of_the_value(text: str) -> None:
    """Message, traceback and context do not show the value."""
    value = f"zq{text}\x00{text}qz"
    with pytest.raises(SecretRejected) as caught:
        parse_secret(value, PLAIN)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)

    assert f"zq{text}" not in told
    assert caught.value.__context__ is None


@given(st.text(max_size=200))
def test_a_refused_json_value_does_not_live_on_in_the_context(text: str) -> None:
    """The exception of json holds the document, so it is not chained."""
    try:
        parse_secret(text, MEMBER)
    except SecretRejected as rejected:
        context = rejected.__context__
    else:
        context = None

    assert context is None


@given(st.one_of(st.text(max_size=300), st.binary(max_size=50)), st.booleans())
def test_hostile_values_raise_nothing_else(raw: str | bytes, member: bool) -> None:
    """Any value of a source becomes a visible key or is refused."""
    try:
        secret = parse_secret(raw, MEMBER if member else PLAIN)
    except SecretRejected:
        return

    assert re.fullmatch(r"[\x21-\x7e]+", secret.reveal())


@given(st.recursive(st.none() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_hostile_json_raises_nothing_else(document: object) -> None:
    """The member of any JSON becomes a key or is refused."""
    try:
        secret = parse_secret(json.dumps(document), SecretRules(json_key="a.b"))
    except SecretRejected:
        return

    assert secret.reveal()


@given(VISIBLE, st.sampled_from(["Bearer", "Token", ""]))
def test_the_header_is_one_line_that_ends_with_the_key(key: str, scheme: str) -> None:
    """No accepted key can add a line or change its own line."""
    rules = SecretRules(scheme=scheme, header="X-Api-Key")
    try:
        secret = parse_secret(key, rules)
    except SecretRejected:
        return
    line = header_line(rules, secret)

    assert line.count(b"\r\n") == 1
    assert line == f"X-Api-Key: {scheme} {key}\r\n".replace(":  ", ": ").encode()


def test_the_default_header_is_a_bearer_token() -> None:
    """RFC 6750, 2.1."""
    line = header_line(PLAIN, Secret("abc"))

    assert line == b"Authorization: Bearer abc\r\n"


def test_a_fingerprint_is_the_beginning_of_a_version() -> None:
    """Eight characters distinguish two versions."""
    assert fingerprint_of("01234567-89ab") == "01234567"
    assert digest_of("abc") == "ba7816bf"


@pytest.mark.parametrize("form", ["{}", "{!r}", "{!s}", "{!a}", "{:>20}"])
def test_a_secret_masks_itself(form: str) -> None:
    """Only `reveal` returns the value."""
    shown = form.format(Secret("abc"))

    assert "abc" not in shown
    assert "********" in shown


def test_a_credential_does_not_show_its_header() -> None:
    """The `repr` of an object that holds a secret does not show it."""
    credential = Credential(Secret("abc"), b"Authorization: Bearer abc", 1, "v", "v")

    assert "abc" not in repr(credential)


def test_secrets_are_equal_by_value_only() -> None:
    """A secret equals no object of another type."""
    assert Secret("abc") == Secret("abc")
    assert Secret("abc") != Secret("abd")
    assert Secret("abc") != "abc"


@pytest.mark.parametrize("use", [hash, pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_cannot_be_hashed_pickled_or_copied(use: object) -> None:
    """Each would store the value, or a digest of it, in another place."""
    assert callable(use)
    with pytest.raises(TypeError):
        use(Secret("abc"))
