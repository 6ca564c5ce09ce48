"""How long the redactor remembers keys: while they are held, and a day longer."""

import pytest

from sidecar.core.secrecy.redaction import KEPT, REMEMBERED_SECONDS, Redactor
from sidecar.core.secrecy.secret import Secret

OLD, NEW, OTHER = (f"fln_live_{name}_0123456789" for name in ("old", "new", "other"))


@pytest.fixture(name="redactor")
def _redactor() -> Redactor:
    """One that has seen a rotation at 100 s."""
    redactor = Redactor()
    redactor.hold("a", [Secret(OLD)], 0.0)
    redactor.hold("a", [Secret(NEW)], 100.0)
    return redactor


def test_a_key_that_is_held_is_never_forgotten(redactor: Redactor) -> None:
    """However long it serves."""
    redactor.forget(1e12)

    assert "new" not in redactor.redact(f"a {NEW} b")


def test_a_key_is_masked_for_a_day_after_it_was_let_go(redactor: Redactor) -> None:
    """Then it is nowhere, and what was kept of it is told."""
    assert redactor.forget(100 + REMEMBERED_SECONDS - 1) == []
    assert redactor.retired(100.0) == [OLD]
    assert redactor.retired(99.0) == []

    gone = redactor.forget(100 + REMEMBERED_SECONDS)

    assert OLD in gone
    assert OLD.encode().hex() in gone
    assert redactor.retired(1e12) == []
    assert redactor.forget(1e12) == []
    assert repr(redactor) == "Redactor(1 known)"


def test_a_key_that_comes_back_is_held_again(redactor: Redactor) -> None:
    """A rollback ends the countdown."""
    redactor.hold("a", [Secret(OLD), Secret(NEW)], 200.0)

    assert redactor.forget(1e12) == []
    assert redactor.retired(1e12) == []


def test_a_key_of_two_owners_is_held_while_one_holds_it(redactor: Redactor) -> None:
    """Two upstreams may share a secret."""
    redactor.hold("b", [Secret(NEW)], 200.0)
    redactor.hold("a", [Secret(OTHER)], 300.0)
    assert redactor.retired(1e12) == [OLD]

    redactor.hold("b", [], 400.0)

    assert sorted(redactor.retired(400.0)) == sorted([OLD, NEW])
    assert NEW not in redactor.forget(399 + REMEMBERED_SECONDS)


def test_held_keys_are_not_dropped_for_others() -> None:
    """A source that changes at every look does not push out another's key."""
    redactor = Redactor()
    redactor.hold("quiet", [Secret(OLD)], 0.0)
    for number in range(3 * KEPT):
        redactor.hold("loud", [Secret(f"changing-{number:04}-key")], float(number))

    assert OLD not in redactor.redact(OLD)
    assert f"changing-{3 * KEPT - 1:04}-key" not in redactor.redact(
        f"changing-{3 * KEPT - 1:04}-key"
    )
    assert repr(redactor) == f"Redactor({KEPT + 2} known)"


def test_what_nobody_told_of_is_bounded_and_kept() -> None:
    """A key that was only learned has no end but the number of them."""
    redactor = Redactor()
    for number in range(KEPT + 1):
        redactor.learn(Secret(f"learned-{number:04}-key"))
    redactor.learn(Secret("learned-0001-key"))

    assert redactor.forget(1e12) == []
    assert redactor.redact("learned-0000-key") == "learned-0000-key"
    assert redactor.redact("learned-0001-key") == "********"
