"""What the API's answers about keys mean."""

import contextlib
import json

import pytest
from hypothesis import given, strategies as st

from sidecar.core.rotation.facts import ApiKey, RotationStopped
from sidecar.errors import Exit
from sidecar.http_client import Fault, NoAnswer
from sidecar.rotation.key_answers import (
    CreateUnsure,
    Unreadable,
    check,
    read_keys,
    read_made,
    silence,
)
from sidecar.rotation.options import ApiOptions

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
OPTIONS = ApiOptions(base_url="https://api.example", account="sa")


def listed(**fields: object) -> ApiKey:
    """Read a list of one key."""
    body = json.dumps({"data": [{"id": "k", **fields}]}).encode()
    keys, _ = read_keys(body, OPTIONS, NOW)
    return keys[0]


def test_a_new_key_is_read() -> None:
    """Id, plaintext, and when."""
    made = read_made(b'{"id": "k1", "key": "fln_live_x", "name": "n"}', OPTIONS, NOW)

    assert made.key_id == "k1"
    assert made.secret.reveal() == "fln_live_x"
    assert made.created_at == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"id": "k1"}', id="no-key"),
        pytest.param(b'{"key": "fln_live_x"}', id="no-id"),
        pytest.param(b'{"id": 7, "key": "fln_live_x"}', id="id-a-number"),
        pytest.param(b'{"id": "", "key": "fln_live_x"}', id="id-empty"),
        pytest.param(b'{"data": {"id": "k1", "key": "fln_live_x"}}', id="wrapped"),
        pytest.param(b'["fln_live_x"]', id="list"),
        pytest.param(b"fln_live_x", id="not-json"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"\xff\xfe", id="not-text"),
    ],
)
def test_an_answer_without_a_field_leaves_a_lost_key(body: bytes) -> None:
    """The API has made one, so it must be looked for; nothing of the body is told."""
    with pytest.raises(CreateUnsure) as caught:
        read_made(body, OPTIONS, NOW)

    assert caught.value.exit is Exit.API
    assert "fln_live" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("fields", "live"),
    [
        pytest.param({}, True, id="nothing-said"),
        pytest.param({"revoked_at": None, "expires_at": None}, True, id="nulls"),
        pytest.param({"status": "active"}, True, id="active"),
        pytest.param({"status": "ACTIVE"}, True, id="active-in-capitals"),
        pytest.param({"status": None}, True, id="status-null"),
        pytest.param({"expires_at": ""}, True, id="expires-never"),
        pytest.param({"expires_at": 0}, True, id="expires-never-as-a-number"),
        pytest.param({"expires_at": NOW + 1}, True, id="expires-later"),
        pytest.param({"expires_at": (NOW + 1) * 1000}, True, id="later-in-ms"),
        pytest.param({"expires_at": "2026-01-01T00:00:01Z"}, True, id="later-iso"),
        pytest.param(
            {"expires_at": "2026-01-01T01:00:01+01:00"}, True, id="later-zone"
        ),
        pytest.param({"expires_at": "2026-01-01T00:00:00Z"}, False, id="expired-iso"),
        pytest.param(
            {"expires_at": "2026-01-01 00:00:00"}, False, id="expired-no-zone"
        ),
        pytest.param({"expires_at": "2020-01-01"}, False, id="expired-date"),
        pytest.param({"expires_at": NOW * 1000}, False, id="expired-in-ms"),
        pytest.param(
            {"status": "Active", "expires_at": 1}, False, id="active-but-expired"
        ),
        pytest.param({"revoked_at": 1.0}, False, id="revoked-at"),
        pytest.param({"revoked_at": "2026-01-01T00:00:00Z"}, False, id="revoked-text"),
        pytest.param({"revoked": True}, False, id="revoked"),
        pytest.param({"status": "revoked"}, False, id="status-revoked"),
        pytest.param({"status": "disabled"}, False, id="status-disabled"),
        pytest.param({"status": "Revoked"}, False, id="status-capital"),
        pytest.param({"expires_at": NOW}, False, id="expired"),
    ],
)
def test_a_key_is_live_unless_the_list_says_otherwise(
    fields: dict[str, object], live: bool
) -> None:
    """By the fields that APIs use for it."""
    assert listed(**fields).live is live


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"status": "rolling"}, id="status-unknown"),
        pytest.param({"status": ""}, id="status-empty"),
        pytest.param({"status": 1}, id="status-a-number"),
        pytest.param({"expires_at": "fln_live_x"}, id="expires-no-time"),
        pytest.param({"expires_at": True}, id="expires-a-bool"),
        pytest.param({"expires_at": 10**400}, id="expires-huge"),
        pytest.param({"expires_at": {"at": 1}}, id="expires-an-object"),
    ],
)
def test_a_state_that_is_not_understood_is_not_guessed(
    fields: dict[str, object],
) -> None:
    """A live key that counts as dead would be made again, and leak, at every run."""
    with pytest.raises(Unreadable) as caught:
        listed(**fields)

    assert caught.value.exit is Exit.API
    assert "fln_live" not in str(caught.value)
    assert "rolling" not in str(caught.value)


@pytest.mark.parametrize(
    ("moment", "date"),
    [
        pytest.param(NOW, "2026-01-01", id="unix"),
        pytest.param(NOW * 1000, "2026-01-01", id="unix-in-ms"),
        pytest.param(1e300, "", id="far-away"),
        pytest.param(-1e300, "", id="long-ago"),
        pytest.param(10**400, "", id="huge"),
        pytest.param(float("nan"), "", id="nan"),
        pytest.param(True, "", id="bool"),
        pytest.param("2026-01-01T10:00:00Z", "2026-01-01", id="iso"),
        pytest.param("fln_live_x", "", id="something-else"),
        pytest.param(None, "", id="nothing"),
    ],
)
def test_a_date_is_shown_only_when_it_is_one(moment: object, date: str) -> None:
    """Nothing else of an answer reaches the screen."""
    assert listed(created_at=moment).created == date


def test_a_name_that_is_no_text_is_none() -> None:
    """Then the key is not recognised as ours, and left alone."""
    assert listed(name=7).name == ""


@pytest.mark.parametrize("item", [{}, {"id": 7}, {"id": ""}, "k", None])
def test_a_key_without_an_id_is_refused(item: object) -> None:
    """A key that cannot be named could never be revoked."""
    with pytest.raises(Unreadable, match="a key without id"):
        read_keys(json.dumps({"data": [item]}).encode(), OPTIONS, NOW)


def test_the_list_may_be_the_answer_itself() -> None:
    """`list_field = ""`."""
    options = ApiOptions(base_url="https://api.example", account="sa", list_field="")

    keys, more = read_keys(b'[{"id": "k"}]', options, NOW)

    assert (keys, more) == ([ApiKey("k")], False)


def test_a_page_tells_that_more_follows() -> None:
    """A key that is overlooked would never be revoked."""
    _, more = read_keys(b'{"data": [{"id": "k"}], "has_more": true}', OPTIONS, NOW)

    assert more


@given(body=st.binary() | st.text().map(str.encode))
def test_hostile_answers_raise_nothing_else(body: bytes) -> None:
    """Whatever the API sends."""
    for read in (read_made, read_keys):
        with contextlib.suppress(CreateUnsure, Unreadable):
            read(body, OPTIONS, NOW)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        pytest.param(401, Exit.CREDENTIAL, id="401"),
        pytest.param(403, Exit.CREDENTIAL, id="403"),
        pytest.param(404, Exit.CREDENTIAL, id="404"),
        pytest.param(409, Exit.API, id="409"),
        pytest.param(422, Exit.API, id="422"),
        pytest.param(429, Exit.API, id="429"),
        pytest.param(500, Exit.API, id="500"),
        pytest.param(302, Exit.API, id="302"),
    ],
)
def test_every_other_status_has_an_exit_code_and_a_remedy(
    status: int, code: Exit
) -> None:
    """403 is about the key that may not manage keys, 409 about keys."""
    with pytest.raises(RotationStopped) as caught:
        check(status, "creating a key")

    assert caught.value.exit is code
    assert str(status) in caught.value.reason
    assert caught.value.remedy


def test_a_success_is_no_failure() -> None:
    """Any 2xx."""
    check(204, "revoking key k")


@pytest.mark.parametrize("fault", list(Fault))
def test_no_answer_has_an_exit_code_and_a_remedy(fault: Fault) -> None:
    """A timeout is told apart."""
    code, reason, remedy = silence(NoAnswer(fault), "creating a key")

    assert code is (Exit.TIMED_OUT if fault is Fault.TIMEOUT else Exit.API)
    assert reason.startswith("creating a key: the API")
    assert remedy
