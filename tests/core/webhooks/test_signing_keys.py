"""A secret in the wrong format is refused, with the fix named and no value shown."""

import base64
import contextlib
import copy
import pickle

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, strategies as st

from sidecar.core.webhooks.signing_keys import (
    Ed25519Key,
    HmacKey,
    parse_key,
    parse_signing_key,
)
from sidecar.errors import SecretRejected
from tests.core.webhooks.test_verification import (
    ED_PUBLIC,
    OTHER,
    SECRET,
    WHPK,
    WHSK,
    b64,
)


def refusal(raw: str, *, signing: bool = False) -> SecretRejected:
    """Return what the secret was refused with."""
    with pytest.raises(SecretRejected) as caught:
        parse_signing_key(raw) if signing else parse_key(raw, "1a2b3c4d")
    return caught.value


@pytest.mark.parametrize(
    ("raw", "kind", "version"),
    [
        pytest.param(SECRET, HmacKey, "v1", id="24-bytes-unpadded"),
        pytest.param(OTHER, HmacKey, "v1", id="32-bytes"),
        pytest.param(f"whsec_{b64(b'k' * 64)}", HmacKey, "v1", id="64-bytes"),
        pytest.param(f"{SECRET}\n", HmacKey, "v1", id="one-trailing-newline"),
        pytest.param(WHPK, Ed25519Key, "v1a", id="public-key"),
    ],
)
def test_the_prefix_decides_what_a_key_can_verify(
    raw: str, kind: type, version: str
) -> None:
    """`whsec_` is HMAC and `whpk_` ed25519; nothing else decides."""
    key = parse_key(raw, "1a2b3c4d")

    assert isinstance(key, kind)
    assert (key.version, key.fingerprint) == (version, "1a2b3c4d")


@pytest.mark.parametrize(
    ("raw", "fix"),
    [
        pytest.param(f"v1,{SECRET}", "without the leading v1,", id="versioned"),
        pytest.param(f"v1a,{WHPK}", "without the leading v1,", id="versioned-v1a"),
        pytest.param(SECRET[6:], "as whsec_<base64>", id="bare-base64"),
        pytest.param("", "store the whsec_ or whpk_ value", id="empty"),
        pytest.param("\n", "store the whsec_ or whpk_ value", id="only-newline"),
        pytest.param("changeme", "as whsec_<base64>", id="placeholder"),
        pytest.param(f'{{"secret": "{SECRET}"}}', "json_key", id="json"),
        pytest.param(WHSK, "begins with whpk_", id="private-key"),
        pytest.param(f"whsec_{b64(b'k' * 23)}", "copy the secret again", id="23-bytes"),
        pytest.param(f"whsec_{b64(b'k' * 65)}", "copy the secret again", id="65-bytes"),
        pytest.param("whsec_", "keep the = padding", id="prefix-only"),
        pytest.param("whsec_changeme!", "keep the = padding", id="not-base64"),
        pytest.param(OTHER.rstrip("="), "keep the = padding", id="padding-missing"),
        pytest.param(OTHER + "=", "keep the = padding", id="padding-too-much"),
        pytest.param(f"whsec_{'-_' * 16}", "+ and /, not - and _", id="url-safe"),
        pytest.param(f"{OTHER[:20]}\n{OTHER[20:]}", "no line breaks", id="wrapped"),
        pytest.param(f"{SECRET}\n\n", "no line breaks", id="two-newlines"),
        pytest.param(f"{SECRET}\r\n", "no line breaks", id="crlf"),
        pytest.param(f" {SECRET}", "as whsec_<base64>", id="leading-space"),
        pytest.param(f"{SECRET} ", "no spaces", id="trailing-space"),
        pytest.param(f"{OTHER[:-2]}x=", "keep the = padding", id="unused-bits"),
        pytest.param(f"whsec_{'é' * 40}", "keep the = padding", id="not-ascii"),
        pytest.param("whsec_\udcff", "keep the = padding", id="lone-surrogate"),
        pytest.param(f"WHSEC_{SECRET[6:]}", "as whsec_<base64>", id="upper-case"),
        pytest.param(
            f"whpk_{SECRET[6:]}", "HMAC secret begins with whsec_", id="hmac-as-whpk"
        ),
        pytest.param(f"whpk_{b64(b'k' * 33)}", "whole", id="whpk-33-bytes"),
    ],
)
def test_a_wrong_format_is_refused_with_the_fix(raw: str, fix: str) -> None:
    """The message says what to do, and shows no part of the value."""
    refused = refusal(raw)

    assert fix in str(refused)
    body = raw.strip().removeprefix("whsec_")
    assert len(body) < 8 or body[:8] not in str(refused)


@pytest.mark.parametrize(
    "encoded",
    [
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("ee" + "ff" * 30 + "7f"),
        bytes.fromhex("ec" + "ff" * 31),
    ],
    ids=["zeros", "identity", "identity-not-canonical", "order-2-with-sign-bit"],
)
def test_a_key_for_which_anybody_can_sign_is_refused(encoded: bytes) -> None:
    """A point of small order lets one made-up signature pass for many messages."""
    assert "small order" in str(refusal(f"whpk_{b64(encoded)}"))


def test_the_library_itself_would_accept_such_a_forgery() -> None:
    """The reason for the rule above: OpenSSL verifies it without complaint."""
    identity = b"\x01" + bytes(31)
    forged = identity + bytes(32)

    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"anything at all")

    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(ED_PUBLIC).verify(forged, b"anything")


def test_signing_with_a_public_key_is_refused() -> None:
    """The fix is the other half of the pair."""
    assert "whsk_ key of the pair" in str(refusal(WHPK, signing=True))


@pytest.mark.parametrize("size", [16, 31, 33, 63, 65])
def test_a_private_key_of_another_size_is_refused(size: int) -> None:
    """A seed, or a seed and the public key: nothing is cut to fit."""
    refused = refusal(f"whsk_{b64(b'k' * size)}", signing=True)

    assert "32-byte seed" in str(refused)


def test_a_key_shows_nothing_of_itself() -> None:
    """Whatever prints, pickles or copies a key gets a mask or an error."""
    key = parse_key(SECRET, "1a2b3c4d")
    material = base64.b64decode(SECRET[6:])

    for text in (repr(key), str(key), f"{key}", repr((key,))):
        assert "********" in text
        assert SECRET[6:] not in text
        assert repr(material)[2:-1] not in text
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.deepcopy(key)
    assert repr(parse_key(WHPK, "9f8e7d6c")) == "Ed25519Key('9f8e7d6c')"


@given(st.text(max_size=120) | st.from_regex(r"(whsec_|whpk_|whsk_|v1,)[\s\S]{0,90}"))
def test_any_text_is_a_key_or_refused(raw: str) -> None:
    """Nothing but the refusal is raised, for either use."""
    for parse in (lambda: parse_key(raw, ""), lambda: parse_signing_key(raw)):
        with contextlib.suppress(SecretRejected):
            parse()


@given(st.binary(min_size=24, max_size=64))
def test_every_secret_of_the_right_size_is_a_key(material: bytes) -> None:
    """Round trip: what the receiver verifies with is what the sender signs with."""
    raw = f"whsec_{b64(material)}"
    version, make = parse_signing_key(raw)

    assert version == "v1"
    assert parse_key(raw, "").matches(b"message", [make(b"message")])
