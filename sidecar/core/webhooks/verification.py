"""
Verifies deliveries by Standard Webhooks, more strictly than its reference library.

Rule 1: `verify` returns a `Delivery` or raises `WebhookRejected`. Whatever bytes come
from the internet, nothing else leaves this file.
Rule 2: the signed bytes are the received bytes. Nothing here decodes a body.
Rule 3: the time is an argument, and the sender's time is checked both ways: a stamp
from the future would be a replay that works later.

The order is that of DESIGN section 10: well-formed, then fresh, then signed. So an
answer of `bad_signature` also says that the rest was right.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.core.webhooks.signing_keys import Key, strict_base64
from sidecar.errors import SidecarError

MAX_SIGNATURES: Final = 16
"""Bounds the work for one delivery; senders list one per secret that is still valid."""

# The signed message is id.timestamp.body: with a "." in the id, one message could be
# read as another. The rest of the alphabet keeps ids safe in logs and table keys.
_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,256}")
# [0-9], not \d, which takes any script; one spelling per number, so no leading zero.
_TIMESTAMP: Final = re.compile(rb"0|[1-9][0-9]{0,11}")
_ENTRY: Final = re.compile(rb"([A-Za-z0-9]{1,16}),([A-Za-z0-9+/]{1,1024}={0,2})")

_FAMILIES: Final = (
    (b"webhook-id", b"webhook-timestamp", b"webhook-signature"),
    (b"svix-id", b"svix-timestamp", b"svix-signature"),
)
SIGNATURE_FIELDS: Final = frozenset(name for family in _FAMILIES for name in family)
"""All that `verify` reads, in lower case."""


class Rejection(StrEnum):
    """Why a delivery is not let in; the metric label `result`."""

    MALFORMED = "malformed"
    STALE = "stale"
    BAD_SIGNATURE = "bad_signature"


class WebhookRejected(SidecarError):
    """A delivery is not true, or cannot be shown to be; `detail` is for our log."""

    def __init__(self, reason: Rejection, detail: str, id_: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.id = id_
        """Only ever a well-formed id; empty when there is none."""

    def __str__(self) -> str:
        """The reason in plain words: no value that came with the delivery but the id."""
        return self.detail


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that one of our keys vouches for."""

    id: str
    timestamp: int
    """Unix seconds at which the sender signed this attempt."""
    age_seconds: float
    """Our clock less the sender's; negative when theirs is ahead."""
    fingerprint: str
    """Of the key that matched."""
    family: bytes = b"webhook-"
    """How the names of the fields begin that were read: `webhook-` or `svix-`."""


def verify(
    fields: Iterable[tuple[bytes, bytes]],
    body: bytes,
    keys: Sequence[Key],
    *,
    now: float,
    tolerance_seconds: float,
) -> Delivery:
    """
    Check a delivery as it was received.

    Args:
        fields: the header fields, raw, in any order, with all repetitions.
        body: the exact bytes of the body.
        keys: every key that is valid now.
        now: Unix seconds.
        tolerance_seconds: how far the sender's stamp may be from `now`, both ways.

    Raises:
        WebhookRejected: it is malformed, stale or not signed by any of the keys.
    """
    family, raw_id, raw_timestamp, entries = _pick(fields)
    if not _ID.fullmatch(raw_id):
        raise WebhookRejected(
            Rejection.MALFORMED,
            "the id must be 1 to 256 letters, digits, _ or -; a . is never allowed",
        )
    id_ = raw_id.decode()
    if not _TIMESTAMP.fullmatch(raw_timestamp):
        raise WebhookRejected(
            Rejection.MALFORMED,
            "the timestamp must be whole Unix seconds: digits only, at most 12",
            id_,
        )
    signatures = _read_signatures(entries, id_)
    age = now - int(raw_timestamp)
    if not abs(age) <= tolerance_seconds:
        side = "old" if age > 0 else "in the future"
        raise WebhookRejected(
            Rejection.STALE,
            f"the timestamp is {abs(age):.0f} s {side}, the tolerance is "
            f"{tolerance_seconds:.0f} s; check both clocks",
            id_,
        )
    message = b"%b.%b.%b" % (raw_id, raw_timestamp, body)
    # No early exit: every key is compared with every entry of its version.
    matched = [
        key.fingerprint
        for key in keys
        if key.matches(message, signatures.by_version.get(key.version, []))
    ]
    if not matched:
        raise WebhookRejected(
            Rejection.BAD_SIGNATURE, signatures.explain(keys, len(body)), id_
        )
    return Delivery(id_, int(raw_timestamp), age, matched[0], family)


def sign(
    signer: tuple[str, Callable[[bytes], bytes]], id_: str, timestamp: int, body: bytes
) -> str:
    """Return one entry for `webhook-signature`, made by a `parse_signing_key`."""
    version, make = signer
    message = b"%b.%d.%b" % (id_.encode(), timestamp, body)
    return f"{version},{base64.b64encode(make(message)).decode()}"


def _pick(
    fields: Iterable[tuple[bytes, bytes]],
) -> tuple[bytes, bytes, bytes, bytes]:
    """Find family, id, timestamp and signatures: each once, all in one family."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in SIGNATURE_FIELDS:
            found.setdefault(lower, []).append(value)
    ours, older = _FAMILIES
    # Never mixed: an app that reads svix-id must not get one that was not signed.
    family = older if found and not any(name in found for name in ours) else ours
    for name in family:
        count = len(found.get(name, ()))
        if count != 1:
            fault = "is missing" if count == 0 else "was sent more than once"
            raise WebhookRejected(Rejection.MALFORMED, f"{name.decode()} {fault}")
    id_, timestamp, signature = (found[name][0] for name in family)
    return family[0].removesuffix(b"id"), id_, timestamp, signature


@dataclass(frozen=True, slots=True)
class _Signatures:
    """What was listed in the signature field."""

    by_version: dict[str, list[bytes]]
    malformed: int

    def explain(self, keys: Sequence[Key], size: int) -> str:
        """Return what was valid and what was tried, for the log."""
        tried = ", ".join(f"{key.fingerprint} ({key.version})" for key in keys)
        counts = [
            f"{len(entries)} of version {version}"
            for version, entries in sorted(self.by_version.items())
        ]
        if self.malformed:
            counts.append(f"{self.malformed} malformed")
        text = (
            f"id and timestamp are well-formed and fresh, the body has {size} bytes; "
            f"entries: {', '.join(counts)}; secrets tried: {tried or 'none'}"
        )
        if not any(key.version in self.by_version for key in keys):
            return f"{text}; no entry is of a version that these secrets can verify"
        return f"{text}; none made this signature, or the body was changed on its way"


def _read_signatures(field: bytes, id_: str) -> _Signatures:
    """Sort the listed signatures by version; skip the malformed, but not endlessly."""
    # Counted before it is split: 10,000 entries cost a scan, not 10,000 objects.
    if field.count(b" ") >= MAX_SIGNATURES:
        raise WebhookRejected(
            Rejection.MALFORMED, f"more than {MAX_SIGNATURES} signatures", id_
        )
    by_version: dict[str, list[bytes]] = {}
    malformed = 0
    for entry in field.split(b" "):
        parts = _ENTRY.fullmatch(entry)
        signature = strict_base64(parts[2]) if parts else None
        if parts is None or signature is None:
            malformed += 1
            continue
        version = parts[1].decode()
        # Unknown versions are counted under one name: it is the sender's text.
        label = version if version in {"v1", "v1a"} else "unknown"
        by_version.setdefault(label, []).append(signature)
    if not by_version:
        raise WebhookRejected(
            Rejection.MALFORMED,
            "no signature is well-formed: v1,<base64>, with standard alphabet and "
            "padding, entries parted by one space",
            id_,
        )
    return _Signatures(by_version, malformed)
