"""Who may send commands to the process."""

import pytest
from multidict import CIMultiDict

from sidecar.admin.guard import REFUSED_FIELDS, is_loopback, refusal


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        # Realistic
        pytest.param("127.0.0.1", True, id="ipv4"),
        pytest.param("::1", True, id="ipv6"),
        pytest.param("10.1.2.3", False, id="pod-network"),
        pytest.param("192.168.0.5", False, id="private"),
        pytest.param("fe80::1%eth0", False, id="link-local-with-zone"),
        # Synthetic
        pytest.param("127.8.9.10", True, id="all-of-127"),
        pytest.param("::ffff:127.0.0.1", True, id="mapped"),
        pytest.param("::ffff:10.1.2.3", False, id="mapped-pod-network"),
        pytest.param("0.0.0.0", False, id="unspecified"),
        # Pathological
        pytest.param("", False, id="empty"),
        pytest.param(None, False, id="unix-socket"),
        pytest.param("localhost", False, id="a-name-is-no-address"),
        pytest.param("127.0.0.1, 10.0.0.1", False, id="a-list"),
        pytest.param("127.1", False, id="short-form"),
        pytest.param("2130706433", False, id="one-number"),
    ],
)
def test_only_loopback_addresses_are_this_machine(
    peer: str | None, loopback: bool
) -> None:
    """The address comes from the kernel, never from a header."""
    assert is_loopback(peer) is loopback


def test_a_command_of_this_machine_may_pass() -> None:
    """`sidecar reload` sends only these fields."""
    assert refusal("127.0.0.1", CIMultiDict(Host="127.0.0.1:8701")) is None


def test_a_command_of_another_machine_is_refused() -> None:
    """The reason names where commands are accepted from."""
    reason = refusal("10.1.2.3", {})

    assert reason == "Commands are accepted from this machine only"


@pytest.mark.parametrize("name", REFUSED_FIELDS)
@pytest.mark.parametrize("value", ["null", "http://127.0.0.1:8701", ""])
def test_browsers_and_proxies_are_refused_on_any_machine(name: str, value: str) -> None:
    """The field is enough, whatever its value and its case."""
    for spelling in (name, name.lower(), name.upper()):
        reason = refusal("127.0.0.1", CIMultiDict({spelling: value}))

        assert reason is not None
        assert name in reason
