"""The emulated API's certificates: trusted by those who trust its CA, for its names."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.emulator.ca import Certificate, ensure_certificate, make_certificate


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname=name)
    right = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [left, right]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_the_certificate_holds_for_every_loopback_name(
    certificate: Certificate, name: str
) -> None:
    """A client that trusts the CA can check the name it called."""
    handshake(certificate.client_context(), certificate.server_context(), name)


def test_another_name_is_refused(certificate: Certificate) -> None:
    """The certificate is for loopback and nothing else."""
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(
            certificate.client_context(),
            certificate.server_context(),
            "api.flownally.com",
        )


def test_nobody_else_trusts_the_ca(certificate: Certificate) -> None:
    """A client with the usual authorities refuses it."""
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local"):
        handshake(
            ssl.create_default_context(), certificate.server_context(), "localhost"
        )


def test_an_expired_certificate_can_be_made(tmp_path: Path) -> None:
    """Tests of expiry need one."""
    expired = make_certificate(
        tmp_path, starts=-timedelta(days=2), lifetime=timedelta(days=1)
    )

    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(expired.client_context(), expired.server_context(), "localhost")


def test_a_restart_keeps_the_certificate(tmp_path: Path) -> None:
    """Who trusted the CA before need not be told again."""
    first = ensure_certificate(tmp_path / "state").ca_file.read_bytes()

    assert ensure_certificate(tmp_path / "state").ca_file.read_bytes() == first


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    """No other user of the machine may read the private key."""
    mode = make_certificate(tmp_path).key_file.stat().st_mode

    assert stat.S_IMODE(mode) == 0o600
