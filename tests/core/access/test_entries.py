"""Entries of `allow` and `deny`: what their text says."""

import pytest

from sidecar.core.access.entries import OperationPattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        pytest.param(
            "POST /contacts",
            OperationPattern(frozenset({b"POST"}), (b"contacts",), rest=False),
            id="one",
        ),
        pytest.param(
            "GET,PATCH /contacts/{id}",
            OperationPattern(
                frozenset({b"GET", b"HEAD", b"PATCH"}), (b"contacts", None), rest=False
            ),
            id="get-is-head-too",
        ),
        pytest.param(
            "* /service-accounts/**",
            OperationPattern(frozenset(), (b"service-accounts",), rest=True),
            id="any-method-and-rest",
        ),
        pytest.param(
            "PUT /a%20b/{x}y/**/",
            OperationPattern(
                frozenset({b"PUT"}), (b"a b", b"{x}y", b"**", b""), rest=False
            ),
            id="decoded-once-and-nothing-guessed",
        ),
        pytest.param(
            "* /**", OperationPattern(frozenset(), (), rest=True), id="everything"
        ),
    ],
)
def test_an_entry_says_what_it_matches(text: str, pattern: OperationPattern) -> None:
    """Methods, segments, and whether more may follow."""
    assert OperationPattern.parse(text) == pattern


def test_an_entry_is_for_its_methods() -> None:
    """Methods have case; `*` is every one, also of tomorrow."""
    assert OperationPattern.parse("GET /a").is_for(b"HEAD")
    assert not OperationPattern.parse("GET /a").is_for(b"get")
    assert OperationPattern.parse("* /a").is_for(b"QUERY")


def test_in_doubt_it_denies_and_does_not_allow() -> None:
    """A segment that some read as two."""
    pattern = OperationPattern.parse("* /a/{id}")

    assert pattern.allows([b"a", b"b"])
    assert not pattern.allows([b"a", b"b%2Fc"])
    assert not pattern.allows([b"a", b""])
    assert pattern.denies([b"", b"A", b"", b"b"])
    assert not pattern.denies([b"a", b"b", b"c"])
