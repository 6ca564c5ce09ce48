"""The sentences of a 401 and a 403 line."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.access.explain import explain_401, explain_403
from sidecar.core.access.operations import ANY
from sidecar.core.secrecy.redaction import Redactor

SENTENCES = [
    explain_401(),
    explain_401("0a1b2c3d"),
    *(explain_401("0a1b2c3d", state) for state in ("stale", "rolled_back", "rejected")),
    explain_403(ANY),
    explain_403("/contacts/{id}"),
    explain_403("/contacts", ["contacts:write"]),
    explain_403("/contacts", ["contacts:read", "contacts:write"]),
]


def test_a_401_is_about_who_we_are() -> None:
    """It names the possible reasons, the remedy, and what it is not."""
    sentence = explain_401()

    assert sentence.startswith("The API did not accept who we are: the key is unknown")
    for word in ("malformed", "expired", "revoked", "Store a working key", "403"):
        assert word in sentence


def test_a_401_names_the_key_by_its_fingerprint() -> None:
    """So that a person finds the version in the secret source."""
    assert "(fingerprint 0a1b2c3d)" in explain_401("0a1b2c3d")
    assert "fingerprint" not in explain_401()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("stale", "has not answered for a while"),
        ("rolled_back", "the one before it was in use"),
        ("rejected", "The newest key does not work either."),
    ],
)
def test_a_401_tells_what_the_state_adds(state: str, words: str) -> None:
    """Each unusual state has its own hint."""
    assert words in explain_401("0a1b2c3d", state)


@pytest.mark.parametrize("state", ["fresh", "missing", None])
def test_a_usual_state_adds_nothing(state: str | None) -> None:
    """The sentence stays short."""
    assert explain_401("0a1b2c3d", state) == explain_401("0a1b2c3d")


def test_a_403_names_the_operation_and_its_scopes() -> None:
    """What is missing is in the sentence."""
    sentence = explain_403("/contacts/{id}", ["contacts:read", "contacts:write"])

    assert "The API knows who we are" in sentence
    assert "the operation /contacts/{id}" in sentence
    assert "the scopes contacts:read, contacts:write" in sentence
    assert "give them to the service account" in sentence
    assert "replacing it does not help" in sentence


def test_one_scope_is_singular() -> None:
    """People read these."""
    sentence = explain_403("/contacts", ["contacts:write"])

    assert "the scope contacts:write for it: give it to" in sentence


def test_a_403_without_scopes_says_so() -> None:
    """And where they would come from."""
    assert "note no scopes" in explain_403("/contacts")
    assert "`allow` list" in explain_403(ANY)
    assert "this call" in explain_403(ANY)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_pass_the_redactor_unchanged(sentence: str) -> None:
    """Nothing in them looks like a secret."""
    hits: list[int] = []

    assert Redactor(hits.append).redact(sentence) == sentence
    assert hits == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_are_whole(sentence: str) -> None:
    """One line, and short enough not to be cut."""
    assert sentence.endswith(".")
    assert "  " not in sentence
    assert len(sentence) < 600


@given(st.text(min_size=1), st.lists(st.text(min_size=1), max_size=5))
def test_any_operation_is_named_as_it_is(operation: str, scopes: list[str]) -> None:
    """Labels come from the settings."""
    sentence = explain_403(operation, scopes)

    assert operation in sentence or operation == ANY
    assert all(scope in sentence for scope in scopes)
