"""Fixtures of the receiver's tests."""

import pytest

from sidecar.emulator.aws import ENVIRONMENT, AwsClient
from tests.support.webhook_fakes import Clock, make_table


@pytest.fixture(name="table")
def _table(moto: AwsClient) -> str:
    """A table for this test only."""
    return make_table(moto)


@pytest.fixture(name="clock")
def _clock() -> Clock:
    """A clock that a test sets."""
    return Clock()


@pytest.fixture(name="credentials")
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS credentials in the environment, as a pod has them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
