"""Entries of `allow` and `deny`: what their text says."""

import pytest

from sidecar.core.entries import Pattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        pytest.param(
            "POST /contacts",
            Pattern(frozenset({b"POST"}), (b"contacts",), rest=False),
            id="one",
        ),
        pytest.param(
            "GET,PATCH /contacts/{id}",
            Pattern(
                frozenset({b"GET", b"HEAD", b"PATCH"}), (b"contacts", None), rest=False
            ),
            id="get-is-head-too",
        ),
        pytest.param(
            "* /service-accounts/**",
            Pattern(frozenset(), (b"service-accounts",), rest=True),
            id="any-method-and-rest",
        ),
        pytest.param(
            "PUT /a%20b/{x}y/**/",
            Pattern(frozenset({b"PUT"}), (b"a b", b"{x}y", b"**", b""), rest=False),
            id="decoded-once-and-nothing-guessed",
        ),
        pytest.param("* /**", Pattern(frozenset(), (), rest=True), id="everything"),
    ],
)
def test_an_entry_says_what_it_matches(text: str, pattern: Pattern) -> None:
    """Methods, segments, and whether more may follow."""
    assert Pattern.parse(text) == pattern


def test_an_entry_is_for_its_methods() -> None:
    """Methods have case; `*` is every one, also of tomorrow."""
    assert Pattern.parse("GET /a").is_for(b"HEAD")
    assert not Pattern.parse("GET /a").is_for(b"get")
    assert Pattern.parse("* /a").is_for(b"QUERY")


def test_in_doubt_it_denies_and_does_not_allow() -> None:
    """A segment that some read as two."""
    pattern = Pattern.parse("* /a/{id}")

    assert pattern.allows([b"a", b"b"])
    assert not pattern.allows([b"a", b"b%2Fc"])
    assert not pattern.allows([b"a", b""])
    assert pattern.denies([b"", b"A", b"", b"b"])
    assert not pattern.denies([b"a", b"b", b"c"])
