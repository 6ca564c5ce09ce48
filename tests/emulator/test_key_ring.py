"""Keys of the emulated API: shown once, checked, expired, revoked, remembered."""

from pathlib import Path

import pytest

from sidecar.emulator.key_ring import DEFAULT_ACCOUNT, KeyFault, KeyRing

NOW = 1_700_000_000.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    """Stand still until moved."""
    return Clock()


@pytest.fixture(name="ring")
def _ring(clock: Clock) -> KeyRing:
    """Hold the usual service account and no key."""
    return KeyRing(clock)


def fault(ring: KeyRing, authorization: str | None) -> KeyFault | None:
    """Tell what is wrong with an `Authorization` value."""
    return ring.check(authorization)[1]


@pytest.mark.parametrize("environment", ["live", "test"])
def test_a_new_key_proves_its_account(ring: KeyRing, environment: str) -> None:
    """A key that was just issued is good, and looks like its environment."""
    issued = ring.issue(environment=environment)

    key, wrong = ring.check(f"Bearer {issued.key}")

    assert issued.key.startswith(f"fln_{environment}_")
    assert wrong is None
    assert key is not None
    assert (key.id, key.account) == (issued.id, DEFAULT_ACCOUNT)


@pytest.mark.parametrize(
    ("authorization", "kind"),
    [
        pytest.param(None, KeyFault.MISSING, id="no-header"),
        pytest.param("", KeyFault.MALFORMED, id="empty"),
        pytest.param("Bearer", KeyFault.MALFORMED, id="scheme-only"),
        pytest.param("Basic dXNlcjpwYXNz", KeyFault.MALFORMED, id="basic"),
        pytest.param("fln_live_" + "a" * 40, KeyFault.MALFORMED, id="bare"),
        pytest.param(
            "Bearer Bearer fln_live_" + "a" * 40, KeyFault.MALFORMED, id="double-scheme"
        ),
        pytest.param("Bearer sk_live_" + "a" * 40, KeyFault.MALFORMED, id="not-ours"),
        pytest.param(
            "Bearer  fln_live_" + "a" * 40, KeyFault.MALFORMED, id="two-spaces"
        ),
        pytest.param("Bearer fln_live_" + "a" * 40, KeyFault.UNKNOWN, id="unknown"),
        pytest.param("bearer fln_live_" + "a" * 40, KeyFault.UNKNOWN, id="lower-case"),
    ],
)
def test_a_call_that_proves_nothing_is_told_why(
    ring: KeyRing, authorization: str | None, kind: KeyFault
) -> None:
    """Missing, malformed and unknown keys are three different things."""
    assert fault(ring, authorization) is kind


def test_a_revoked_key_stays_revoked(ring: KeyRing, clock: Clock) -> None:
    """Revoking twice keeps the first time; other keys of the account go on."""
    leaked, other = ring.issue(), ring.issue()
    ring.revoke(leaked.id)
    clock.now += 10
    ring.revoke(leaked.id)

    assert fault(ring, f"Bearer {leaked.key}") is KeyFault.REVOKED
    assert ring.get(leaked.id).revoked == NOW
    assert fault(ring, f"Bearer {other.key}") is None


def test_a_key_expires_at_its_time(ring: KeyRing, clock: Clock) -> None:
    """A key is good until its time has come, not after."""
    issued = ring.issue(ttl_seconds=60)
    before = fault(ring, f"Bearer {issued.key}")
    clock.now += 60

    assert before is None
    assert fault(ring, f"Bearer {issued.key}") is KeyFault.EXPIRED


def test_a_key_can_be_made_to_expire_now(ring: KeyRing) -> None:
    """A test need not wait for a key's time to be over."""
    issued = ring.issue()
    ring.expire(issued.id)

    assert fault(ring, f"Bearer {issued.key}") is KeyFault.EXPIRED


def test_an_inactive_key_is_unknown_until_it_is_activated(ring: KeyRing) -> None:
    """Like an API whose servers hear of a new key a little later."""
    issued = ring.issue(active=False)
    before = fault(ring, f"Bearer {issued.key}")
    ring.activate(issued.id)

    assert before is KeyFault.UNKNOWN
    assert fault(ring, f"Bearer {issued.key}") is None


def test_a_key_needs_an_account(ring: KeyRing) -> None:
    """No key without somebody whose it is."""
    with pytest.raises(KeyError):
        ring.issue("sa_nobody")


def test_the_state_outlives_the_process_without_a_secret(
    clock: Clock, tmp_path: Path
) -> None:
    """After a restart every key is what it was, and the file does not hold one."""
    file = tmp_path / "keys.json"
    first = KeyRing(clock, file)
    first.add_account("sa_reader", "production-reader", ["contacts:read"])
    good, revoked = first.issue("sa_reader"), first.issue()
    first.revoke(revoked.id)

    second = KeyRing(clock, file)

    assert fault(second, f"Bearer {good.key}") is None
    assert fault(second, f"Bearer {revoked.key}") is KeyFault.REVOKED
    assert second.accounts == first.accounts
    assert good.key not in file.read_text()
    assert [key.id for key in second.of_account("sa_reader")] == [good.id]
