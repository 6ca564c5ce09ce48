"""Only a true delivery passes, and hostile bytes raise nothing but a rejection."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from sidecar.core.webhooks.signing_keys import Key, parse_key, parse_signing_key
from sidecar.core.webhooks.verification import (
    Delivery,
    Rejection,
    WebhookRejected,
    sign,
    verify,
)

# The vector of the reference library (standardwebhooks, `test_sign_function`).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

# RFC 8032, section 7.1, TEST 1: the seed and its public key.
ED_SEED = bytes.fromhex(
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
)
ED_PUBLIC = bytes.fromhex(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)
# Our own: the message above under that key; ed25519 is deterministic.
ED_SIGNATURE = (
    "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7z"
    "gPePmPsle0zV9jSeGlHFG2NVAw=="
)

Fields = list[tuple[bytes, bytes]]


def b64(data: bytes) -> str:
    """Encode as text."""
    return base64.b64encode(data).decode()


OTHER = f"whsec_{b64(b'o' * 32)}"
WHSK = f"whsk_{b64(ED_SEED)}"
WHPK = f"whpk_{b64(ED_PUBLIC)}"


def key(raw: str = SECRET, fingerprint: str = "1a2b3c4d") -> Key:
    """Read a key as the receiver does."""
    return parse_key(raw, fingerprint)


def fields(
    id_: str = ID,
    at: str = str(AT),
    signature: str = SIGNATURE,
    family: str = "webhook",
) -> Fields:
    """The three fields among others, as a server hands them over."""
    pairs = (
        ("Host", "sidecar:8702"),
        (f"{family}-id", id_),
        (f"{family}-timestamp", at),
        (f"{family}-signature", signature),
        ("Content-Type", "application/json"),
    )
    return [(name.encode(), value.encode("latin-1")) for name, value in pairs]


def check(
    pairs: Fields,
    body: bytes = BODY,
    keys: tuple[Key, ...] | None = None,
    now: float = AT,
    tolerance: float = 300,
) -> Delivery:
    """Verify against the vector's key and time."""
    keys = (key(),) if keys is None else keys
    return verify(pairs, body, keys, now=now, tolerance_seconds=tolerance)


def rejection(action: Callable[[], object]) -> WebhookRejected:
    """Return what the action was rejected with."""
    with pytest.raises(WebhookRejected) as caught:
        action()
    return caught.value


def signed(id_: str, at: int, body: bytes, raw: str = SECRET) -> str:
    """Sign as a sender does."""
    return sign(parse_signing_key(raw), id_, at, body)


def test_the_published_vector_verifies() -> None:
    """The reference library's vector is a delivery."""
    delivery = check(fields())

    assert delivery == Delivery(ID, AT, 0.0, "1a2b3c4d")


def test_the_published_vector_is_what_we_sign() -> None:
    """Signing gives the same signature, byte for byte."""
    assert signed(ID, AT, BODY) == SIGNATURE


def test_our_ed25519_vector_verifies() -> None:
    """A `v1a` entry is verified with the public key only."""
    delivery = check(fields(signature=ED_SIGNATURE), keys=(key(WHPK, "9f8e7d6c"),))

    assert delivery.fingerprint == "9f8e7d6c"


@pytest.mark.parametrize(
    "raw", [WHSK, f"whsk_{b64(ED_SEED + ED_PUBLIC)}"], ids=["seed", "seed-and-public"]
)
def test_our_ed25519_vector_is_what_we_sign(raw: str) -> None:
    """Both encodings of the private key make the vector."""
    assert signed(ID, AT, BODY, raw) == ED_SIGNATURE


def test_the_older_names_are_read() -> None:
    """`svix-*` fields are the same scheme under the names it had before."""
    delivery = check(fields(family="svix"))

    assert (delivery.id, delivery.family) == (ID, b"svix-")


def test_a_second_family_is_not_looked_at() -> None:
    """The receiver drops it: only what was verified reaches the app."""
    pairs = [*fields(), (b"svix-id", b"msg_2"), (b"svix-id", b"x.y")]

    assert check(pairs).family == b"webhook-"


def test_names_are_read_in_any_case() -> None:
    """Field names have no case (RFC 9110, 5.1)."""
    pairs = [(name.upper(), value) for name, value in fields()]

    assert check(pairs).id == ID


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(f"{SIGNATURE} {ED_SIGNATURE}", id="both-versions"),
        pytest.param(f"v1,{b64(b'x' * 32)} {SIGNATURE}", id="behind-a-wrong-one"),
        pytest.param(f"{SIGNATURE} v1,{b64(b'x' * 32)}", id="before-a-wrong-one"),
        pytest.param(f"garbage v1,a,b v1 , {SIGNATURE}", id="behind-garbage"),
        pytest.param(f"v2,AAAA {SIGNATURE}", id="behind-an-unknown-version"),
        pytest.param(f"v1,AAA= {SIGNATURE}", id="behind-a-short-one"),
        pytest.param(f"  {SIGNATURE} ", id="among-spaces"),
        pytest.param(" ".join(["v1,AAAA"] * 15 + [SIGNATURE]), id="the-sixteenth"),
        pytest.param(f"v1,\xff\xfe {SIGNATURE}", id="behind-non-ascii"),
    ],
)
def test_one_good_signature_among_many_is_enough(signature: str) -> None:
    """A bad entry never hides a good one."""
    assert check(fields(signature=signature)).id == ID


def test_any_current_secret_may_have_signed() -> None:
    """During a rotation both secrets are valid, and the log can tell which it was."""
    keys = (key(OTHER, "newnewne"), key(SECRET, "oldoldol"))

    assert check(fields(), keys=keys).fingerprint == "oldoldol"


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([p for p in fields() if p[0] != b"webhook-id"], id="no-id"),
        pytest.param(
            [p for p in fields() if p[0] != b"webhook-timestamp"], id="no-timestamp"
        ),
        pytest.param(
            [p for p in fields() if p[0] != b"webhook-signature"], id="no-signature"
        ),
        pytest.param([], id="nothing"),
        pytest.param([*fields(), (b"Webhook-Id", b"msg_2")], id="id-twice"),
        pytest.param([*fields(), (b"webhook-id", ID.encode())], id="same-id-twice"),
        pytest.param([*fields(), (b"webhook-timestamp", b"1")], id="timestamp-twice"),
        pytest.param([*fields(), (b"webhook-signature", b"v1,AA")], id="sig-twice"),
        pytest.param(
            [(n.replace(b"webhook-id", b"svix-id"), v) for n, v in fields()],
            id="mixed-families",
        ),
        pytest.param(fields(id_=""), id="empty-id"),
        pytest.param(fields(id_="msg.1"), id="id-with-dot"),
        pytest.param(fields(id_="msg 1"), id="id-with-space"),
        pytest.param(fields(id_="msg\t1"), id="id-with-tab"),
        pytest.param(fields(id_="msg_1\n"), id="id-with-newline-at-the-end"),
        pytest.param(fields(id_="msg_\x00"), id="id-with-nul"),
        pytest.param(fields(id_="msg_\xe9"), id="id-not-ascii"),
        pytest.param(fields(id_="m" * 257), id="id-one-too-long"),
        pytest.param(fields(id_="m" * 10_000), id="id-of-10-kB"),
        pytest.param(fields(at=""), id="empty-timestamp"),
        pytest.param(fields(at="1614265330.0"), id="float"),
        pytest.param(fields(at="1.6e9"), id="exponent"),
        pytest.param(fields(at="-1614265330"), id="negative"),
        pytest.param(fields(at="+1614265330"), id="plus"),
        pytest.param(fields(at=" 1614265330"), id="padded-left"),
        pytest.param(fields(at="1614265330 "), id="padded-right"),
        pytest.param(fields(at="01614265330"), id="leading-zero"),
        pytest.param(fields(at="1614265330\n"), id="newline-at-the-end"),
        pytest.param(fields(at="1_614_265_330"), id="underscores"),
        pytest.param(fields(at="\xb2"), id="superscript-digit"),
        pytest.param(fields(at="16142653301614265330"), id="20-digits"),
        pytest.param(fields(at="0x60379d32"), id="hex"),
        pytest.param(fields(at="now"), id="word"),
        pytest.param(fields(signature=""), id="empty-signature"),
        pytest.param(fields(signature=" "), id="blank-signature"),
        pytest.param(fields(signature="garbage"), id="no-comma"),
        pytest.param(fields(signature="v1,a,b"), id="two-commas"),
        pytest.param(fields(signature="v1,"), id="nothing-behind-the-comma"),
        pytest.param(fields(signature=SIGNATURE[:-1]), id="padding-missing"),
        pytest.param(fields(signature=SIGNATURE + "="), id="padding-too-much"),
        pytest.param(fields(signature=SIGNATURE + "\n"), id="newline-behind"),
        pytest.param(
            fields(signature=SIGNATURE.replace("+", "-").replace("/", "_")),
            id="url-safe-alphabet",
        ),
        pytest.param(fields(signature=SIGNATURE[:-2] + "F="), id="unused-bits-set"),
        pytest.param(fields(signature=SIGNATURE.replace(",", ", ")), id="space"),
        pytest.param(fields(signature=" ".join([SIGNATURE] * 17)), id="17-entries"),
        pytest.param(fields(signature="v1,AAAA " * 10_000), id="10000-entries"),
        pytest.param(fields(signature="v1," + "A" * 100_000), id="100-kB-entry"),
    ],
)
def test_what_is_not_well_formed_is_refused(pairs: Fields) -> None:
    """Each fault is `malformed`, before any time or signature is looked at."""
    rejected = rejection(lambda: check(pairs, now=0))

    assert rejected.reason is Rejection.MALFORMED


@pytest.mark.parametrize(
    ("now", "fresh"),
    [(AT + 300, True), (AT - 300, True), (AT + 300.5, False), (AT - 301, False)],
)
def test_the_time_is_checked_both_ways(now: float, fresh: bool) -> None:
    """The tolerance is inclusive, and as long into the future as into the past."""
    if fresh:
        assert check(fields(), now=now).age_seconds == now - AT
    else:
        assert rejection(lambda: check(fields(), now=now)).reason is Rejection.STALE


@pytest.mark.parametrize(
    ("at", "words"),
    [("0", "s old"), ("999999999999", "in the future"), ("1614265031", "301 s old")],
)
def test_a_stale_rejection_says_which_clock_is_behind(at: str, words: str) -> None:
    """Whoever reads the log learns by how much and in which direction."""
    rejected = rejection(lambda: check(fields(at=at), now=AT + 2))

    assert rejected.reason is Rejection.STALE
    assert words in rejected.detail


def test_a_clock_that_is_no_number_lets_nothing_in() -> None:
    """Comparisons with NaN are false; the check is written so that false refuses."""
    rejected = rejection(lambda: check(fields(), now=float("nan")))

    assert rejected.reason is Rejection.STALE


@pytest.mark.parametrize(
    ("pairs", "body", "keys"),
    [
        pytest.param(fields(), BODY + b"\n", (key(),), id="body-one-byte-longer"),
        pytest.param(fields(), BODY[:-1], (key(),), id="body-one-byte-shorter"),
        pytest.param(fields(), b"", (key(),), id="body-gone"),
        pytest.param(fields(id_=ID[:-1]), BODY, (key(),), id="another-id"),
        pytest.param(fields(at=str(AT + 1)), BODY, (key(),), id="another-time"),
        pytest.param(fields(), BODY, (key(OTHER),), id="another-secret"),
        pytest.param(fields(), BODY, (), id="no-secret"),
        pytest.param(fields(signature="v1,AAAA"), BODY, (key(),), id="short"),
        pytest.param(
            fields(signature=SIGNATURE.replace("v1", "v2")), BODY, (key(),), id="v2"
        ),
        pytest.param(
            fields(signature=SIGNATURE.replace("v1", "V1")), BODY, (key(),), id="V1"
        ),
        pytest.param(
            fields(signature=SIGNATURE.replace("v1", "v1a")), BODY, (key(),), id="v1a"
        ),
        pytest.param(fields(signature=ED_SIGNATURE), BODY, (key(),), id="only-v1a"),
        pytest.param(fields(), BODY, (key(WHPK),), id="only-v1-for-ed25519"),
        pytest.param(
            fields(signature=f"v1a,{b64(b'x' * 64)}"), BODY, (key(WHPK),), id="ed-wrong"
        ),
        pytest.param(
            fields(signature=f"v1a,{b64(b'x' * 63)}"), BODY, (key(WHPK),), id="ed-short"
        ),
    ],
)
def test_what_no_secret_signed_is_refused(
    pairs: Fields, body: bytes, keys: tuple[Key, ...]
) -> None:
    """Well-formed and fresh is not enough."""
    rejected = rejection(lambda: check(pairs, body, keys))

    assert rejected.reason is Rejection.BAD_SIGNATURE


def test_a_public_key_is_never_an_hmac_key() -> None:
    """The reference library accepts this forgery: a `v1` made with the public key."""
    forged = signed(ID, AT, BODY, f"whsec_{b64(ED_PUBLIC)}")

    rejected = rejection(lambda: check(fields(signature=forged), keys=(key(WHPK),)))

    assert rejected.reason is Rejection.BAD_SIGNATURE


def test_a_dot_in_the_id_cannot_move_the_border() -> None:
    """`a.1.b` signed as id `a` must not pass as id `a.1` or another time."""
    signature = signed("a", 1, b"2.x")

    rejected = rejection(
        lambda: check(fields(id_="a.1", at="2", signature=signature), b"x", now=2)
    )

    assert rejected.reason is Rejection.MALFORMED


def test_a_bad_signature_explains_itself_and_tells_no_secret() -> None:
    """The log names what was right, what was tried and how, by fingerprint."""
    pairs = fields(signature=f"v1,{b64(b'x' * 32)} garbage v7,AAAA")

    rejected = rejection(lambda: check(pairs, keys=(key(), key(WHPK, "9f8e7d6c"))))

    assert str(rejected) == (
        "id and timestamp are well-formed and fresh, the body has 20 bytes; entries: "
        "1 of version unknown, 1 of version v1, 1 malformed; secrets tried: "
        "1a2b3c4d (v1), 9f8e7d6c (v1a); none made this signature, or the body was "
        "changed on its way"
    )
    assert rejected.id == ID
    assert SECRET[6:] not in repr(rejected)


def test_a_version_that_no_secret_can_verify_is_named() -> None:
    """A sender that switched to ed25519 is told apart from a forger."""
    rejected = rejection(lambda: check(fields(signature=ED_SIGNATURE), keys=()))

    assert "secrets tried: none" in rejected.detail
    assert "no entry is of a version" in rejected.detail


names = st.sampled_from([n for n, _ in fields()] + [n for n, _ in fields("", "", "")])
hostile = st.binary(max_size=64) | st.sampled_from([v for _, v in fields()])


@given(
    pairs=st.lists(st.tuples(names | st.binary(max_size=20), hostile), max_size=12),
    body=st.binary(max_size=64),
    now=st.floats(),
)
def test_hostile_bytes_raise_nothing_but_a_rejection(
    pairs: Fields, body: bytes, now: float
) -> None:
    """Whatever arrives: a delivery or a rejection, and an unsigned one is none."""
    try:
        delivery = check(pairs, body, keys=(key(), key(WHPK)), now=now)
    except WebhookRejected:
        return

    assert delivery.id == ID
    assert body == BODY


@given(signature=st.text(st.characters(max_codepoint=255), max_size=200))
def test_a_hostile_signature_field_is_never_let_in(signature: str) -> None:
    """Any text as the list of signatures is a rejection."""
    reason = rejection(lambda: check(fields(signature=signature))).reason

    assert reason in {Rejection.MALFORMED, Rejection.BAD_SIGNATURE}


ids = st.from_regex(r"[A-Za-z0-9_-]{1,256}", fullmatch=True)
times = st.integers(min_value=0, max_value=10**12 - 1)


@given(
    id_=ids,
    at=times,
    body=st.binary(max_size=300),
    pair=st.sampled_from([(SECRET, SECRET), (OTHER, OTHER), (WHSK, WHPK)]),
)
def test_what_is_signed_verifies(
    id_: str, at: int, body: bytes, pair: tuple[str, str]
) -> None:
    """Round trip, for both versions and any body."""
    private, public = pair
    pairs = fields(id_, str(at), signed(id_, at, body, private))

    delivery = check(pairs, body, (key(public),), now=at)

    assert (delivery.id, delivery.timestamp) == (id_, at)


@given(
    body=st.binary(min_size=1, max_size=80),
    bit=st.integers(min_value=0),
    secrets=st.sampled_from([(SECRET, SECRET), (WHSK, WHPK)]),
)
def test_one_flipped_bit_of_the_body_is_seen(
    body: bytes, bit: int, secrets: tuple[str, str]
) -> None:
    """The exact bytes are signed."""
    bit %= len(body) * 8
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    pairs = fields(signature=signed(ID, AT, body, secrets[0]))

    rejected = rejection(lambda: check(pairs, bytes(changed), (key(secrets[1]),)))

    assert rejected.reason is Rejection.BAD_SIGNATURE
