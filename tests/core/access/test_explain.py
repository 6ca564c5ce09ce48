"""The explanations in the log of a 401 and of a 403."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.access.explain import EXPLAIN_401, explain_403
from sidecar.core.access.operations import ANY
from sidecar.core.secrecy.redaction import Redactor

SENTENCES = [
    EXPLAIN_401,
    explain_403(ANY),
    explain_403("/contacts/{id}"),
    explain_403("/contacts", ["contacts:write"]),
    explain_403("/contacts", ["contacts:read", "contacts:write"]),
]


def test_a_401_is_about_the_key() -> None:
    """The explanation names the possible causes, the remedy, and what is no cause."""
    assert EXPLAIN_401.startswith("The API did not accept the key: it is unknown")
    for word in ("malformed", "expired", "revoked", "Store a working key", "403"):
        assert word in EXPLAIN_401


def test_a_403_names_the_operation_and_its_scopes() -> None:
    """The explanation says which scopes are missing."""
    sentence = explain_403("/contacts/{id}", ["contacts:read", "contacts:write"])

    assert "The API accepted the key" in sentence
    assert "the operation /contacts/{id}" in sentence
    assert "the scopes contacts:read, contacts:write" in sentence
    assert "give them to the service account" in sentence
    assert "replacing it does not help" in sentence


def test_one_scope_is_singular() -> None:
    """One scope and many scopes are written differently."""
    sentence = explain_403("/contacts", ["contacts:write"])

    assert "the scope contacts:write for it: give it to" in sentence


def test_a_403_without_scopes_says_so() -> None:
    """It also says how the settings can note scopes."""
    assert "note no scopes" in explain_403("/contacts")
    assert "`allow` list" in explain_403(ANY)
    assert "this call" in explain_403(ANY)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_explanations_pass_the_redactor_unchanged(sentence: str) -> None:
    """Nothing in an explanation looks like a secret."""
    hits: list[int] = []

    assert Redactor(hits.append).redact(sentence) == sentence
    assert hits == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_explanations_have_the_style_of_messages(sentence: str) -> None:
    """No full stop at the end, one line, and short enough not to be cut."""
    assert not sentence.endswith(".")
    assert "  " not in sentence
    assert len(sentence) < 600


@given(st.text(min_size=1), st.lists(st.text(min_size=1), max_size=5))
def test_any_operation_is_named_as_it_is(operation: str, scopes: list[str]) -> None:
    """Labels come from the settings."""
    sentence = explain_403(operation, scopes)

    assert operation in sentence or operation == ANY
    assert all(scope in sentence for scope in scopes)
