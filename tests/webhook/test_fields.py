"""What the app sees of a delivery's header: what was verified, and nobody's word else."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.http.fields import TOKEN
from sidecar.core.webhooks.verification import Delivery, Rejection, WebhookRejected
from sidecar.webhook.fields import OUR_FIELD, ForwardedFields

DELIVERY = Delivery("msg_1", 1, 0.0, "1a2b3c4d")
SVIX = Delivery("msg_1", 1, 0.0, "1a2b3c4d", b"svix-")
SIGNED = [
    (b"webhook-id", b"msg_1"),
    (b"webhook-timestamp", b"1"),
    (b"webhook-signature", b"v1,AAAA"),
]


def forwarded(
    *fields: tuple[bytes, bytes], delivery: Delivery = DELIVERY
) -> list[tuple[str, str]]:
    """Forward fields, without ours at the end."""
    pairs = ForwardedFields().of(fields, delivery)
    assert pairs.pop() == (OUR_FIELD, "msg_1")
    return pairs


def test_what_was_verified_arrives_as_it_came() -> None:
    """Spelling, order and repetitions included."""
    fields = [
        (b"Webhook-ID", b"msg_1"),
        (b"webhook-timestamp", b"1"),
        (b"WEBHOOK-SIGNATURE", b"v1,AAAA"),
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"Content-Encoding", b"gzip"),
        (b"User-Agent", b"Flownally-Webhooks/1.0"),
        (b"X-Event", b"one"),
        (b"X-Event", b"two"),
        (b"Empty", b""),
    ]

    assert forwarded(*fields) == [(n.decode(), v.decode()) for n, v in fields]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"Authorization", id="credential"),
        pytest.param(b"Proxy-Authorization", id="proxy-credential"),
        pytest.param(b"Cookie", id="cookie"),
        pytest.param(b"Host", id="host"),
        pytest.param(b"Content-Length", id="framing"),
        pytest.param(b"Transfer-Encoding", id="transfer-coding"),
        pytest.param(b"Connection", id="connection"),
        pytest.param(b"Keep-Alive", id="keep-alive"),
        pytest.param(b"TE", id="te"),
        pytest.param(b"Trailer", id="trailer"),
        pytest.param(b"Upgrade", id="upgrade"),
        pytest.param(b"Expect", id="expect"),
        pytest.param(b"Forwarded", id="forwarded"),
        pytest.param(b"X-Forwarded-For", id="x-forwarded-for"),
        pytest.param(b"X-Forwarded-Anything", id="x-forwarded-anything"),
        pytest.param(b"X_Forwarded_For", id="x_forwarded_for"),
        pytest.param(b"X-Real-IP", id="x-real-ip"),
        pytest.param(b"Via", id="via"),
        pytest.param(b"Sidecar-Webhook-Id", id="ours"),
        pytest.param(b"sidecar_webhook_id", id="ours-with-underscores"),
        pytest.param(b"X-Sidecar-Error", id="ours-with-x"),
        pytest.param(b"AUTHORIZATION", id="in-capitals"),
        pytest.param(b"Authorization_", id="with-underscore-behind"),
    ],
)
def test_what_speaks_for_the_sender_does_not_arrive(name: bytes) -> None:
    """The app trusts this machine, and the sender is the internet."""
    assert forwarded(*SIGNED, (name, b"x")) == forwarded(*SIGNED)


@pytest.mark.parametrize(
    "name", [b"Webhook_Id", b"webhook_signature", b"Webhook.Id", b"webhook-id-"]
)
def test_another_spelling_of_a_verified_name_does_not_arrive(name: bytes) -> None:
    """A WSGI app could not tell it from the verified one."""
    assert forwarded(*SIGNED, (name, b"forged")) == forwarded(*SIGNED)


def test_a_family_that_was_not_verified_does_not_arrive() -> None:
    """An app that reads `svix-id` must not get one that nobody signed."""
    svix = [(n.replace(b"webhook", b"svix"), v) for n, v in SIGNED]

    assert forwarded(*SIGNED, *svix) == forwarded(*SIGNED)
    assert forwarded(*svix, delivery=SVIX) == [
        (n.decode(), v.decode()) for n, v in svix
    ]


def test_what_connection_nominates_does_not_arrive() -> None:
    """It is hop-by-hop (RFC 9110, 7.6.1), whatever it is."""
    fields = [*SIGNED, (b"Connection", b"close, X-Hop"), (b"X-Hop", b"1")]

    assert forwarded(*fields) == forwarded(*SIGNED)


def test_connection_cannot_remove_what_was_verified() -> None:
    """Nor what we add ourselves."""
    nominated = b"webhook-id, Sidecar-Webhook-Id, webhook-signature"

    assert forwarded(*SIGNED, (b"Connection", nominated)) == forwarded(*SIGNED)


@pytest.mark.parametrize(
    "field",
    [
        pytest.param((b"X-Name", b"caf\xc3\xa9"), id="utf-8"),
        pytest.param((b"X-Name", b"\xff"), id="not-utf-8"),
        pytest.param((b"X-Name", b"a\rb"), id="cr"),
        pytest.param((b"X-Name", b"a\x00b"), id="nul"),
        pytest.param((b"X Name", b"a"), id="space-in-the-name"),
        pytest.param((b"X-N\xc3\xa4me", b"a"), id="name-not-ascii"),
        pytest.param((b"", b"a"), id="no-name"),
        pytest.param((b"Connection", b"close, a b"), id="connection-with-a-space"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(field: tuple[bytes, bytes]) -> None:
    """And the delivery with it: it was malformed on its way."""
    with pytest.raises(WebhookRejected) as caught:
        forwarded(*SIGNED, field)

    assert (caught.value.reason, caught.value.id) == (Rejection.MALFORMED, "msg_1")


def test_spellings_are_remembered_up_to_a_bound() -> None:
    """A sender cannot fill our memory with names."""
    fields = ForwardedFields()

    for number in range(2000):
        fields.of([(b"X-%d" % number, b"")], DELIVERY)

    assert len(fields._table.actions) == 1024


@given(st.lists(st.tuples(st.binary(max_size=24), st.binary(max_size=24)), max_size=8))
def test_whatever_comes_ours_leaves_once(fields: list[tuple[bytes, bytes]]) -> None:
    """Exactly one `Sidecar-Webhook-Id`, and it is the verified id."""
    try:
        pairs = ForwardedFields().of(fields, DELIVERY)
    except WebhookRejected:
        return

    ours = [v for n, v in pairs if n.lower().replace("_", "-") == OUR_FIELD.lower()]
    assert ours == ["msg_1"]
    assert all(TOKEN.fullmatch(name.encode()) for name, _ in pairs)
