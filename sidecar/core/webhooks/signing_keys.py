"""
The two kinds of key that sign webhooks, and how a secret becomes one.

Rule 1: a key knows its version. `v1` entries are compared with HMAC keys only and `v1a`
entries with ed25519 keys only: a *public* key used as an HMAC key lets anybody sign.
Rule 2: a format that is not exactly right is refused with the fix named, never
repaired: `v1,whsec_...` cut to fit would hide that two systems disagree.

Standard Webhooks, "Signature scheme": `whsec_` is base64 of 24 to 64 random bytes,
`whpk_` base64 of an ed25519 public key, `whsk_` base64 of the private one.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from typing import Final, Never

from sidecar.core.secrecy.secret import MASK
from sidecar.errors import SecretRejected

MIN_HMAC_BYTES: Final = 24
MAX_HMAC_BYTES: Final = 64
PUBLIC_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

# The y coordinates of the points of order 1, 2, 4 and 8, as canonical and as
# non-canonical encodings (the list of libsodium's ge25519_has_small_order). Under such
# a "key" one signature holds for many messages or all: AAAA...= is one of them.
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)

# Each rule that a secret can break, and its fix. No value, not even a part of one.
_EMPTY: Final = ("the webhook secret is empty", "store the whsec_ or whpk_ value")
_VERSIONED: Final = (
    "the webhook secret begins with a signature version",
    "store it without the leading v1, or v1a, : from whsec_ or whpk_ on",
)
_JSON: Final = (
    "the webhook secret is a JSON object",
    "name the member that holds it with json_key, or store the bare value",
)
_NO_PREFIX: Final = (
    "the webhook secret begins with neither whsec_ nor whpk_",
    "store a shared secret as whsec_<base64>, an ed25519 public key as whpk_<base64>",
)
_NOT_BASE64: Final = (
    "the webhook secret is not strict base64 behind its prefix",
    "use + and /, not - and _; keep the = padding; no spaces, no line breaks",
)
_HMAC_SIZE: Final = (
    f"a whsec_ secret is base64 of {MIN_HMAC_BYTES} to {MAX_HMAC_BYTES} bytes",
    "copy the secret again, whole, or have the sender make a new one",
)
_PUBLIC_SIZE: Final = (
    f"a whpk_ key is base64 of the {PUBLIC_BYTES} bytes of an ed25519 public key",
    "copy it again, whole; a shared HMAC secret begins with whsec_, not whpk_",
)
_WEAK_POINT: Final = (
    "the whpk_ key is a point of small order: anybody could sign for it",
    "copy the sender's real public key",
)
_PRIVATE: Final = (
    "a whsk_ key is the sender's private key and must not leave the sender",
    "store the public key of the pair, which begins with whpk_",
)
_PRIVATE_SIZE: Final = (
    "a whsk_ key is base64 of a 32-byte seed, or of the seed and the public key",
    "copy the private key again, whole",
)
_CANNOT_SIGN: Final = (
    "a whpk_ key is public: it verifies and cannot sign",
    "sign with the whsk_ key of the pair",
)


class HmacKey:
    """A shared secret: it signs and verifies."""

    __slots__ = ("__material", "fingerprint")
    version: Final = "v1"

    def __init__(self, material: bytes, fingerprint: str) -> None:
        self.__material = material
        self.fingerprint = fingerprint

    def sign(self, message: bytes) -> bytes:
        """Return HMAC-SHA256 of the message."""
        return hmac.digest(self.__material, message, "sha256")

    def matches(self, message: bytes, signatures: list[bytes]) -> bool:
        """Compare every signature in constant time; where a match stands shows nowhere."""
        expected = self.sign(message)
        found = False
        for signature in signatures:
            found |= hmac.compare_digest(expected, signature)
        return found

    def __repr__(self) -> str:
        return f"HmacKey({MASK}, {self.fingerprint!r})"

    def __reduce__(self) -> Never:
        message = "a key cannot be pickled or copied"
        raise TypeError(message)


class Ed25519Key:
    """The sender's public key: it verifies and cannot sign."""

    __slots__ = ("_verify", "fingerprint")
    version: Final = "v1a"

    def __init__(self, public: bytes, fingerprint: str) -> None:
        # Imported late: most senders use HMAC and this costs megabytes.
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only for who has such a key
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - only for who has such a key
            Ed25519PublicKey,
        )

        key = Ed25519PublicKey.from_public_bytes(public)

        def verify(signature: bytes, message: bytes) -> bool:
            if len(signature) != SIGNATURE_BYTES:
                return False
            try:
                key.verify(signature, message)
            except InvalidSignature:
                return False
            return True

        self._verify: Callable[[bytes, bytes], bool] = verify
        self.fingerprint = fingerprint

    def matches(self, message: bytes, signatures: list[bytes]) -> bool:
        """Verify every signature; where a match stands shows nowhere."""
        found = False
        for signature in signatures:
            found |= self._verify(signature, message)
        return found

    def __repr__(self) -> str:
        return f"Ed25519Key({self.fingerprint!r})"


Key = HmacKey | Ed25519Key


def parse_key(raw: str, fingerprint: str) -> Key:
    """
    Read a secret as a key to verify with: `whsec_...` or `whpk_...`.

    Raises:
        SecretRejected: naming the rule broken and the fix, never the value.
    """
    prefix, encoded = _split(raw)
    if prefix == "whsec_":
        return HmacKey(_hmac_material(encoded), fingerprint)
    if prefix == "whpk_":
        return Ed25519Key(_public_material(encoded), fingerprint)
    raise SecretRejected(*_PRIVATE)


def parse_signing_key(raw: str) -> tuple[str, Callable[[bytes], bytes]]:
    """
    Read a secret as a key to sign with: `whsec_...` or `whsk_...`.

    Returns:
        The version of its signatures, and what signs a message.

    Raises:
        SecretRejected: naming the rule broken and the fix, never the value.
    """
    prefix, encoded = _split(raw)
    if prefix == "whsec_":
        return "v1", HmacKey(_hmac_material(encoded), "").sign
    if prefix == "whpk_":
        raise SecretRejected(*_CANNOT_SIGN)
    material = _decode(encoded)
    # libsodium and the reference libraries keep the public half behind the seed.
    if len(material) not in {SEED_BYTES, SEED_BYTES + PUBLIC_BYTES}:
        raise SecretRejected(*_PRIVATE_SIZE)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415  (as above)
        Ed25519PrivateKey,
    )

    return "v1a", Ed25519PrivateKey.from_private_bytes(material[:SEED_BYTES]).sign


def _split(raw: str) -> tuple[str, str]:
    """Part a secret into its prefix and its base64."""
    value = raw.removesuffix("\n")
    if not value:
        raise SecretRejected(*_EMPTY)
    if re.match(r"v1a?,", value):
        raise SecretRejected(*_VERSIONED)
    if value.startswith("{"):
        raise SecretRejected(*_JSON)
    prefix = re.match(r"whsec_|whpk_|whsk_", value)
    if prefix is None:
        raise SecretRejected(*_NO_PREFIX)
    return prefix[0], value[prefix.end() :]


def _hmac_material(encoded: str) -> bytes:
    material = _decode(encoded)
    if not MIN_HMAC_BYTES <= len(material) <= MAX_HMAC_BYTES:
        raise SecretRejected(*_HMAC_SIZE)
    return material


def _public_material(encoded: str) -> bytes:
    material = _decode(encoded)
    if len(material) != PUBLIC_BYTES:
        raise SecretRejected(*_PUBLIC_SIZE)
    if material[:31] + bytes([material[31] & 0x7F]) in _SMALL_ORDER:
        raise SecretRejected(*_WEAK_POINT)
    return material


def strict_base64(text: bytes) -> bytes | None:
    """Decode base64; None if alphabet, padding or an unused bit is wrong (RFC 4648, 4)."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    return decoded if base64.b64encode(decoded) == text else None


def _decode(encoded: str) -> bytes:
    material = strict_base64(encoded.encode("utf-8", "replace"))
    if not material:
        raise SecretRejected(*_NOT_BASE64)
    return material
