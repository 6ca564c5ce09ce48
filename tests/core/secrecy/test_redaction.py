"""Every learned key is masked in every text, and so is text that looks like a secret."""

import base64
import html
import json
import tracemalloc
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import example, given, strategies as st

from sidecar.core.secrecy.redaction import KEPT, Redactor
from sidecar.core.secrecy.secret import MASK, Secret
from sidecar.core.secrecy.secret_patterns import PATTERNS, WORDS, words_in

KEY = "fln_live_4f9A0bC1+dE2/fG3~hI4"


def every_percent(text: str) -> str:
    """Percent-encode every character."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


def every_unicode(text: str) -> str:
    """Escape every character as JSON may (RFC 8259, 7)."""
    return "".join(f"\\u{ord(char):04X}" for char in text)


def every_entity(text: str) -> str:
    """Write every character as an HTML entity."""
    return "".join(f"&#x{ord(char):x};" for char in text)


def in_base64(offset: int, *, url: bool) -> Callable[[str], str]:
    """Encode the text inside a longer value, at this offset."""
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    return lambda text: encode(b"x" * offset + text.encode() + b"yz").decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64-0": in_base64(0, url=False),
    "base64-1": in_base64(1, url=False),
    "base64-2": in_base64(2, url=False),
    "base64url-0": in_base64(0, url=True),
    "base64url-1": in_base64(1, url=True),
    "base64url-2": in_base64(2, url=True),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
}
ESCAPES: dict[str, Callable[[str], str]] = {
    "none": str,
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent-lower": every_percent,
    "json": lambda text: json.dumps(text)[1:-1],
    "json-slash": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "unicode": every_unicode,
    "repr": lambda text: repr(text)[1:-1],
    "html": html.escape,
    "entities": every_entity,
    "decimal-entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
}

# Keys that a header can carry, and those with many special characters.
keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8)
awkward = st.text(st.sampled_from("\\\"'/%&*+=<>u00254;"), min_size=8, max_size=20)
secrets = (keys | awkward).filter(lambda text: bool(text.strip("*")))


def taught(*values: str) -> Redactor:
    """Return a redactor that knows these keys."""
    redactor = Redactor()
    for value in values:
        redactor.learn(Secret(value))
    return redactor


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_known_key_is_masked_in_every_encoding(encoding: str, escape: str) -> None:
    """No part of the middle of the key remains, whichever encoder wrote it."""
    written = ESCAPES[escape](ENCODINGS[encoding](KEY))

    redacted = taught(KEY).redact(f"before <{written}> after")

    assert redacted.startswith("before <")
    assert redacted.endswith("> after")
    assert MASK in redacted
    assert written[8:-8] not in redacted


@given(secrets, st.text(), st.text(), st.sampled_from(sorted(ESCAPES)))
@example('a\\"b\\"c\\"d', "", "", "json")
@example("%41%42%43", "", "", "percent")
@example('quo"te\\and%41/slash', "", "", "json")
@example("\\u0041%41&lt;%2541", "", "", "json")
@example("aaaaaaaa", "aaa", "aaaaaaaaa", "none")
@example("\\\\\\\\\\\\\\\\", "\\", "\\", "unicode")
@example("ab********cd", "ab", "cd", "none")
def test_a_key_is_masked_in_any_text(
    key: str, before: str, after: str, escape: str
) -> None:
    """The key is not in the text, and not in the decoded text."""
    text = before + ESCAPES[escape](key) + after

    redacted = taught(key).redact(text)

    assert key not in redacted
    assert ESCAPES[escape](key) not in redacted
    assert key not in urllib.parse.unquote(redacted)


@given(secrets, st.lists(st.sampled_from(("head", "tail", MASK, "key", "%25", "\\"))))
def test_pieces_of_a_key_around_masked_text_never_join_to_the_key(
    key: str, parts: list[str]
) -> None:
    """A mask must not complete another key: a key may hold asterisks."""
    half = len(key) // 2
    words = {"head": key[:half], "tail": key[half:], "key": key}
    text = "".join(words.get(part, part) for part in parts)

    redacted = taught(key).redact(text)

    assert key not in redacted


@given(secrets, st.binary(), st.binary())
def test_a_key_inside_any_base64_is_masked(
    key: str, before: bytes, after: bytes
) -> None:
    """The offset does not matter: Basic credentials, encoded bodies."""
    whole = base64.b64encode(before + key.encode() + after).decode()

    redacted = taught(key).redact(whole)

    assert MASK in redacted
    for piece in redacted.split(MASK):
        for skip in range(4):
            rest = piece.rstrip("=")[skip:]
            rest = rest[: len(rest) // 4 * 4]
            assert key.encode() not in base64.b64decode(rest)


FRAGMENTS = (
    *('Authorization: "', "Bearer ", "Basic dTpw", "token=", 'password": "', "?key="),
    *("https://u:p@h/", "fln_live_abcdef0", "whsec_", "AKIAIOSFODNN7EXAMPLE", "%22"),
    *("\\", "\\u0022", "&quot;", "eyJhbGciOi.eyJhbGciOi.x", KEY, KEY[:9], MASK, "\n"),
    *("'", " ", ",", "abcdefgh", "-----BEGIN PRIVATE KEY-----", "Cookie=", "\u2028"),
)


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=20))
def test_redaction_is_idempotent(parts: list[str]) -> None:
    """A line is searched twice, as fields and rendered: the second search finds nothing."""
    hits: list[int] = []
    redactor = Redactor(hits.append)
    redactor.learn(Secret(KEY))
    once = redactor.redact("".join(parts))
    hits.clear()

    assert redactor.redact(once) == once
    assert hits == []


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        # Realistic
        ("Authorization: Bearer abc.def", f"Authorization: {MASK}"),
        ("got Bearer abc.def.", f"got Bearer {MASK}"),
        ("{'Authorization': 'Bearer x'}", f"{{'Authorization': '{MASK}'}}"),
        ("((b'authorization', b'x y'),)", f"((b'authorization', b'{MASK}'),)"),
        ("Basic dXNlcjpwYXNz", f"Basic {MASK}"),
        ("Proxy-Authorization: x\r\nHost: h", f"Proxy-Authorization: {MASK}\r\nHost: h"),
        ("Cookie: a=b; c=d\nHost: h", f"Cookie: {MASK}\nHost: h"),
        ("Set-Cookie: a=b; Path=/", f"Set-Cookie: {MASK}"),
        ("X-Api-Key: abc", f"X-Api-Key: {MASK}"),
        ("webhook-signature: v1,abc v1,def", f"webhook-signature: {MASK}"),
        ("svix-signature=v1,abc", f"svix-signature={MASK}"),
        ("fln_live_0123456789", f"fln_live_{MASK}"),
        ("fln_0123456789", f"fln_{MASK}"),
        ("v1,whsec_MfKQ9r8GKYqr", f"v1,whsec_{MASK}"),
        ("whsk_MfKQ9r8GKYqrTw==", f"whsk_{MASK}"),
        ("AKIAIOSFODNN7EXAMPLE", MASK),
        ("id ASIAIOSFODNN7EXAMPLE.", f"id {MASK}."),
        ("AWS_SECRET_ACCESS_KEY=wJalr/xx+yy", f"AWS_SECRET_ACCESS_KEY={MASK}"),
        ("aws_session_token = IQoJb3", f"aws_session_token = {MASK}"),
        ('"SecretAccessKey": "wJalr/xx"', f'"SecretAccessKey": "{MASK}"'),
        ('"SessionToken": "x"', f'"SessionToken": "{MASK}"'),
        ('"SecretString": "{\\"a\\": 1}"', f'"SecretString": "{MASK}"'),
        ("x IQoJ" + "b" * 80, f"x {MASK}"),
        ("https://u:p@h/x", f"https://{MASK}@h/x"),
        ("https://u:p@ss@h/x", f"https://{MASK}@h/x"),
        ("/a?api_key=x&b=2", f"/a?api_key={MASK}&b=2"),
        ("/a?access_token=x#f", f"/a?access_token={MASK}"),
        ("/a?b=2&key=x&token=y", f"/a?b=2&key={MASK}&token={MASK}"),
        ("/a?X-Amz-Date=1&X-Amz-Signature=x", f"/a?X-Amz-Date=1&X-Amz-Signature={MASK}"),
        ("?X-Amz-Credential=A/2/s&x=1", f"?X-Amz-Credential={MASK}&x=1"),
        ("?X-Amz-Security-Token=a%2Fb", f"?X-Amz-Security-Token={MASK}"),
        ("password='a b' x", f"password='{MASK}' x"),
        ("DB_PASSWORD: hunter2", f"DB_PASSWORD: {MASK}"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.abc!", f"jwt {MASK}!"),
        # Synthetic
        ("bearer%20abc", f"bearer%20{MASK}"),
        ("BEARER\tabc", f"BEARER\t{MASK}"),
        ('{"a": "{\\"token\\": \\"abc\\"}"}', f'{{"a": "{{\\"token\\": \\"{MASK}\\"}}"}}'),
        ('"token": "a\\"b", "c": 1', f'"token": "{MASK}", "c": 1'),
        ('"token": "cut', f'"token": "{MASK}'),
        ("u=https%3A%2F%2Fu%3Ap%40h", f"u=https%3A%2F%2F{MASK}%40h"),
        ("line\\nBearer\\u0020abc", f"line\\nBearer\\u0020{MASK}"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-", f"-----BEGIN RSA PRIVATE KEY-----{MASK}-"),
        # Pathological
        ("Bearer Bearer Bearer", f"Bearer {MASK} Bearer"),
        ("token=token=token=", f"token={MASK}"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(text: str, redacted: str) -> None:
    """The redactor does not have to know the key."""
    assert Redactor().redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret_id = prod/flownally/crm-sync",
        "key_prefix must be fln_live_ here",
        "json_key = api_key",
        "basic settings, bearer",
        "monkey business at https://api.flownally.com/v1/contacts?limit=1",
        "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw is a public key",
        '{"upstream": "flownally", "code": 401, "operation": "/contacts/{id}"}',
        "mailto:someone@example.com",
        "version 0a1b2c3d promoted after 2.5 s",
        "\x00\u2028\udcff\U0001f511",
        "100 % \\ & &amp; %zz \\u12",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    """A remedy that names a setting must stay readable."""
    assert taught(KEY).redact(text) == text


def test_hits_are_counted_once_per_secret() -> None:
    """The count feeds `sidecar_redactions_total`."""
    hits: list[int] = []
    redactor = Redactor(hits.append)
    redactor.learn(Secret(KEY))

    redactor.redact(f"a {KEY} b {KEY} c token=abc")
    redactor.redact("nothing here")

    assert hits == [3]


def knows(redactor: Redactor, key: str) -> bool:
    """Return whether a redactor masks this key."""
    return redactor.redact(key) != key


def numbered(number: int) -> str:
    """Return a key that no pattern recognises."""
    return f"key-number-{number:05}"


def test_the_last_keys_stay_known_and_older_ones_are_dropped() -> None:
    """The set is bounded; a key that is learned again counts as new."""
    redactor = Redactor()
    names = [numbered(number) for number in range(KEPT + 1)]
    for name in (*names[:-1], names[0], names[-1]):
        redactor.learn(Secret(name))

    assert [name for name in names if not knows(redactor, name)] == [names[1]]


def test_an_old_key_stays_known_after_a_rotation() -> None:
    """An old line may still be rendered: it is masked for the life of the process."""
    redactor = Redactor()
    redactor.hold("a", [Secret(numbered(1))])
    redactor.hold("a", [Secret(numbered(2))])
    redactor.hold("a", [])

    assert knows(redactor, numbered(1))
    assert knows(redactor, numbered(2))


def test_a_held_key_is_not_dropped_for_the_keys_of_another_owner() -> None:
    """A source that changes at every refresh does not displace another key."""
    redactor = Redactor()
    redactor.hold("quiet", [Secret(numbered(0))])
    last = 3 * KEPT
    for number in range(1, last + 1):
        redactor.hold("loud", [Secret(numbered(number))])

    assert knows(redactor, numbered(0))
    assert knows(redactor, numbered(last))
    assert knows(redactor, numbered(last - KEPT))
    assert not knows(redactor, numbered(last - KEPT - 1))
    assert repr(redactor) == f"Redactor({KEPT + 2} known)"


def test_a_key_of_two_owners_is_held_while_one_of_them_holds_it() -> None:
    """Two upstreams may share a secret."""
    redactor = Redactor()
    redactor.hold("a", [Secret(numbered(0))])
    redactor.hold("b", [Secret(numbered(0))])
    redactor.hold("a", [])
    for number in range(1, 2 * KEPT):
        redactor.learn(Secret(numbered(number)))
    assert knows(redactor, numbered(0))

    redactor.hold("b", [])
    redactor.learn(Secret(numbered(2 * KEPT)))
    assert not knows(redactor, numbered(0))


def test_ten_thousand_rotations_take_bounded_memory() -> None:
    """Old keys are the only thing that a rotation leaves, and their number is bounded."""
    redactor = Redactor()

    def rotate(numbers: range) -> int:
        for number in numbers:
            previous, current = numbered(number - 1), numbered(number)
            redactor.hold("a", [Secret(current), Secret(previous)])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = rotate(range(1, 100))
        after = rotate(range(100, 10_100))
    finally:
        tracemalloc.stop()

    assert after - before < 16_384
    assert repr(redactor) == f"Redactor({KEPT + 2} known)"
    assert knows(redactor, numbered(10_098 - KEPT))
    assert not knows(redactor, numbered(10_097 - KEPT))


@pytest.mark.parametrize("value", ["", "*", MASK])
def test_a_key_of_nothing_but_the_mask_is_no_key(value: str) -> None:
    """Masking it would never end, and there is nothing to hide."""
    redactor = taught(value)

    assert redactor.redact("a ** b ******** c") == "a ** b ******** c"


@pytest.mark.parametrize("value", ["x", "ab", "abc"])
def test_a_tiny_key_is_masked_plain(value: str) -> None:
    """Its encodings would match ordinary words."""
    redacted = taught(value).redact(f"<{value}> {value.encode().hex()}")

    assert redacted == f"<{MASK}> {value.encode().hex()}"


def test_text_that_masking_cannot_clean_is_masked_whole() -> None:
    """Every round of masking completes another key: no part of the text is shown."""
    redactor = taught(*(f"{'x' * n}{MASK}{'y' * n}" for n in range(1, 8)), "secret-x")
    text = "x" * 28 + "secret-x" + "y" * 28

    assert redactor.redact(text) == MASK


def test_a_redactor_does_not_show_its_keys() -> None:
    """Many objects hold a redactor; their `repr` must be safe."""
    assert repr(taught(KEY)) == "Redactor(1 known)"


def test_every_pattern_has_its_words() -> None:
    """A word outside `WORDS` would never start its pattern."""
    for pattern in PATTERNS:
        assert pattern.words
        assert pattern.words <= set(WORDS)
        assert all(word == word.lower() for word in pattern.words)


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=4)))
def test_the_words_of_a_text_are_found(parts: list[str]) -> None:
    """One search for all words finds each of them in any text."""
    lower = "".join(parts).lower()

    assert words_in(lower) == [word for word in WORDS if word in lower]


HOSTILE = [
    *("bearer+", "basic+", "basic ", "cookie:", "token=", '"token":"', "://", "eyJ"),
    *("AKIA", "IQoJ", "fln_", "fln_live_", "\\", "%25", "%", "&amp;", "&#", "\\u", "u"),
    *("token   :   ", "?key=", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "a@", "="),
    *("authorization", "'authorization', '", "api_", "secret", "\x00", KEY[:-1], "\n"),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_of_half_a_megabyte_ends(piece: str) -> None:
    """
    Linear patterns take under a second for each of these, a quadratic one minutes.

    The limit is the test's timeout.
    """
    text = piece * (524_288 // len(piece))

    assert KEY not in taught(KEY).redact(text)


@given(
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=6), st.integers(1, 2_000)
)
def test_hostile_mixtures_end(pieces: list[str], times: int) -> None:
    """They repeat beginnings of secrets without ends."""
    assert KEY not in taught(KEY).redact("".join(pieces) * times)
