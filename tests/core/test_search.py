"""Search at the speed of memory finds what `in` finds."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core import search
from sidecar.core.search import LARGE, holds

LETTERS = st.binary(max_size=3) | st.text("ab\0", max_size=12).map(str.encode)


@given(
    before=LETTERS, needle=LETTERS.filter(len), after=LETTERS, other=LETTERS.filter(len)
)
def test_it_finds_what_in_finds(
    before: bytes, needle: bytes, after: bytes, other: bytes
) -> None:
    """For any bytes, NUL among them, and wherever the needle stands."""
    data = before + needle + after

    assert holds(data, needle)
    assert holds(data, other) == (other in data)


@pytest.mark.parametrize("at", [0, LARGE // 2, LARGE * 2], ids=["first", "mid", "last"])
def test_it_finds_a_key_in_much_data(at: int) -> None:
    """Also at either end."""
    data = b"f" * at + b"fln_live_key" + b"f" * (LARGE * 2 - at)

    assert holds(data, b"fln_live_key")
    assert not holds(data, b"fln_live_kez")


def test_a_system_without_memmem_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library has no memmem, Python searches."""
    monkeypatch.setattr(search, "_SEARCH", None)

    assert holds(b"a key b", b"key")
    assert not holds(b"a b", b"key")


def test_a_library_without_memmem_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing symbol is no error."""
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())

    assert search._memmem() is None
