"""Webhooks: the signing secret, and the service that deliveries go to."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.commands.checks.finding import Level
from sidecar.commands.checks.webhook import check_service, check_signing
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Exit

GOOD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_secret_that_verifies() -> None:
    """With the version of the signatures."""
    (found,) = check_signing("inbox: secret", Secret(GOOD))

    assert found.level is Level.OK
    assert "v1" in found.detail


@pytest.mark.parametrize("value", ["hunter2", f"v1,{GOOD}", "whpk_aaaa", "whsec_a-b_"])
def test_a_secret_that_cannot_verify(value: str) -> None:
    """The rule and the fix; never the value."""
    (found,) = check_signing("inbox: secret", Secret(value))

    assert (found.level, found.exit) == (Level.FAIL, Exit.CREDENTIAL)
    assert found.remedy
    assert value not in found.detail + found.remedy


@contextmanager
def _listening(family: int, where: str | tuple[str, int]) -> Iterator[socket.socket]:
    with socket.socket(family) as server:
        server.bind(where)
        server.listen()
        yield server


def test_a_service_that_listens(tmp_path: Path) -> None:
    """By TCP or by a Unix socket, with or without a path."""
    path = tmp_path / "app.sock"
    with (
        _listening(socket.AF_INET, ("127.0.0.1", 0)) as tcp,
        _listening(socket.AF_UNIX, str(path)),
    ):
        for place in (
            f"http://127.0.0.1:{tcp.getsockname()[1]}/hooks",
            f"unix:{path}",
            f"unix:{path}:/hooks",
        ):
            (found,) = check_service("inbox", place)

            assert found.level is Level.OK


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    """It may not be up yet, so it is no failure."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for place in (f"http://127.0.0.1:{port}/hooks", f"unix:{tmp_path}/none.sock"):
            (found,) = check_service("inbox", place)

            assert found.level is Level.WARN
            assert "webhooks.inbox.forward_to" in found.remedy
