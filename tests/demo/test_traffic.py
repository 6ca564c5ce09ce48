"""The demo's clients count what they see."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.demo.traffic import Traffic
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.ca import Certificate
from sidecar.emulator.http_calls import wait_until
from sidecar.emulator.state import Cut, Faults


@pytest.fixture(name="plain")
def _plain(tmp_path: Path, certificate: Certificate) -> Iterator[EmulatedApi]:
    """An API without TLS: the clients speak HTTP, as to a sidecar."""
    with EmulatedApi(tmp_path, certificate=certificate, tls=False) as api:
        yield api


def test_answers_are_counted_by_status(plain: EmulatedApi) -> None:
    """A call without a key is a failed one here; every call is counted once."""
    with Traffic(f"127.0.0.1:{plain.port}", clients=2) as traffic:
        wait_until(lambda: traffic.calls >= 10)

    assert traffic.failed == traffic.calls
    assert sum(plain.state.by_status().values()) == traffic.calls


def test_good_answers_do_not_count_as_failed(plain: EmulatedApi) -> None:
    """Any 2xx is good."""
    plain.fail(Faults(status=204))
    with Traffic(f"127.0.0.1:{plain.port}", clients=1) as traffic:
        wait_until(lambda: traffic.calls >= 3)

    assert set(traffic.counts) == {"204"}
    assert traffic.failed == 0


def test_a_broken_connection_is_a_failed_call(plain: EmulatedApi) -> None:
    """It is counted by name, and the client goes on with a new one."""
    plain.fail(Faults(cut=Cut.HEAD))
    with Traffic(f"127.0.0.1:{plain.port}", clients=1) as traffic:
        wait_until(lambda: traffic.calls >= 3)

    assert traffic.failed == traffic.calls
    assert all(name[0].isalpha() for name in traffic.counts)
