"""The keys that are held, and the moves among them."""

import pytest

from sidecar.core.keylife.keys import HeldKeys, same
from sidecar.core.keylife.messages import (
    Cutover,
)
from tests.support.machine_driver import key


def test_one_key_under_two_numbers_is_the_same() -> None:
    """By identity, by its secret, or by value; nothing is never the same."""
    one = key("v1")
    keys = HeldKeys()

    assert same(one, one)
    assert same(one, keys.number(one))
    assert same(one, key("v9", text="key-v1"))
    assert not same(one, key("v2"))
    assert not same(one, None)
    assert not same(None, None)


def test_every_key_that_comes_into_use_has_a_greater_number() -> None:
    """Whether it is new or was in use before."""
    keys = HeldKeys()
    numbers = []
    for move in (keys.promote, keys.promote, keys.roll_back, keys.promote):
        move(key("v1"))
        assert keys.in_use is not None
        numbers.append(keys.in_use.generation)

    assert numbers == sorted(set(numbers))


def test_what_is_held_is_known() -> None:
    """In use first; guards search for all of them."""
    keys = HeldKeys()
    nothing = keys.known()
    keys.promote(key("v1"))
    keys.promote(key("v2"))
    keys.candidate = key("v3")

    assert nothing == ()
    assert [s.reveal() for s in keys.known()] == ["key-v2", "key-v1", "key-v3"]


@pytest.mark.parametrize(
    ("created", "newest", "older"),
    [
        (1.0, 2.0, True),
        (2.0, 2.0, False),
        (3.0, 2.0, False),
        (1.0, None, False),
        (-1.0, 2.0, False),
    ],
)
def test_a_version_is_older_by_its_date(
    created: float, newest: float | None, older: bool
) -> None:
    """Without both dates the order is unknown."""
    keys = HeldKeys(newest_created=newest)
    credential = key("v1", created)
    if created < 0:
        object.__setattr__(credential, "created", None)

    assert keys.is_older(credential) is older


def test_the_first_key_is_no_cutover() -> None:
    """There was none before."""
    keys = HeldKeys()

    assert keys.promote(key("v1")) == ()


def test_without_a_key_in_use_there_is_nothing_to_relabel_or_settle() -> None:
    """And nothing happens."""
    keys = HeldKeys()

    assert keys.relabel(key("v1")) == ()
    assert keys.settle_on_use() == ()
    assert keys == HeldKeys()


def test_a_key_stored_anew_while_rolled_back_to_it_is_a_restoration() -> None:
    """AWSCURRENT holds what is in use, under another version."""
    keys = HeldKeys()
    keys.promote(key("v2"))
    keys.roll_back(key("v1"))
    commands = keys.relabel(key("v3", text="key-v1"))

    assert [command.cutover for command in commands] == [Cutover.RESTORED]  # type: ignore[union-attr]  # or the test fails
    assert not keys.rolled_back
    assert keys.newest == "v3"


def test_without_a_key_in_use_no_cutover_is_counted() -> None:
    """A cutover always names the key in use."""
    assert HeldKeys()._count(Cutover.PROMOTED) == ()
