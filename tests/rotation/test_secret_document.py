"""The value that a rotation stores."""

import json

import pytest
from hypothesis import given, strategies as st

from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import Secret, SecretRules, parse_secret
from sidecar.errors import Exit
from sidecar.rotation.secret_document import (
    FENCE,
    CreatedKey,
    KeyMetadata,
    read_label,
    successor,
)

RULES = SecretRules(json_key="api_key")
MADE = CreatedKey("k1", Secret("fln_live_new"), "2026-01-01T00:00:00Z")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(document=st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_whatever_else_is_in_the_value_stays(document: dict[str, object]) -> None:
    """Members, their values and their order."""
    value = successor(Secret(json.dumps(document)), RULES, "sa", MADE)

    written = json.loads(value.reveal())
    ours = {"api_key", "key_id", "service_account_id", "created_at"}
    assert {k: v for k, v in written.items() if k not in ours} == {
        k: v for k, v in document.items() if k not in ours
    }
    assert list(written)[: len(document)] == list(document)


@pytest.mark.parametrize(
    ("old", "json_key"),
    [
        pytest.param('{"api_key": "old"}', "api_key", id="replaced"),
        pytest.param("{}", "api_key", id="added"),
        pytest.param('{"a": {"b": "old", "c": 1}}', "a.b", id="nested"),
        pytest.param('{"a": 1}', "a.b", id="nested-over-a-number"),
        pytest.param('{"a.b": "old", "a": {"b": "x"}}', "a.b", id="dot-in-the-name"),
    ],
)
def test_the_key_is_where_the_sidecar_looks(old: str, json_key: str) -> None:
    """Writer and reader agree on what `json_key` means."""
    rules = SecretRules(json_key=json_key)

    value = successor(Secret(old), rules, "sa", MADE)

    assert parse_secret(value.reveal(), rules) == MADE.secret


def test_a_first_value_has_what_a_rotation_needs() -> None:
    """The secret had none."""
    value = successor(None, RULES, "sa", MADE)

    assert json.loads(value.reveal()) == {
        "api_key": "fln_live_new",
        "key_id": "k1",
        "service_account_id": "sa",
        "created_at": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("old", "rules", "code"),
    [
        pytest.param("fln_live_old", RULES, Exit.CREDENTIAL, id="bare"),
        pytest.param('["fln_live_old"]', RULES, Exit.CREDENTIAL, id="list"),
        pytest.param("[" * 100_000, RULES, Exit.CREDENTIAL, id="deep"),
        pytest.param("{}", SecretRules(), Exit.USAGE, id="no-json-key"),
    ],
)
def test_a_value_without_a_place_for_the_id_is_refused_unseen(
    old: str, rules: SecretRules, code: Exit
) -> None:
    """The message has a remedy, and nothing of the value."""
    with pytest.raises(RotationStopped) as caught:
        successor(Secret(old), rules, "sa", MADE)

    assert caught.value.exit is code
    assert caught.value.remedy
    assert "fln_live" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        pytest.param(
            '{"key_id": "k", "service_account_id": "sa"}',
            KeyMetadata("k", "sa"),
            id="ours",
        ),
        pytest.param(FENCE.reveal(), KeyMetadata(fence=True), id="fence"),
        pytest.param('{"key_id": 1}', KeyMetadata(), id="number"),
        pytest.param("{}", KeyMetadata(), id="empty"),
        pytest.param("fln_live_x", KeyMetadata(), id="bare"),
        pytest.param("", KeyMetadata(), id="nothing"),
        pytest.param("[" * 100_000, KeyMetadata(), id="deep"),
    ],
)
def test_what_lies_beside_a_key_is_read(raw: str, label: KeyMetadata) -> None:
    """Anything else tells nothing, and is no error: it may be somebody else's."""
    assert read_label(Secret(raw)) == label


def test_a_fence_holds_no_key() -> None:
    """A sidecar that reads it by mistake refuses it."""
    assert "key" not in FENCE.reveal()
