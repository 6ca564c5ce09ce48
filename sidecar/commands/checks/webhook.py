"""Checks of a webhook endpoint: the signing secret and the service."""

import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from sidecar.commands.checks.finding import Finding, failed, passed, warned
from sidecar.core.secrecy.secret import Secret
from sidecar.core.webhooks.signing_keys import parse_key
from sidecar.errors import Exit, SecretRejected

SECONDS: Final = 2.0


def check_signing(name: str, secret: Secret) -> Iterator[Finding]:
    """Check that a secret is a valid signing key."""
    try:
        key = parse_key(secret.reveal(), "")
    except SecretRejected as exc:
        yield failed(f"{name} format", exc.rule, exc.remedy, Exit.CREDENTIAL)
    else:
        yield passed(f"{name} format", f"verifies {key.version} signatures")


def check_service(name: str, forward_to: str) -> Iterator[Finding]:
    """Connect to the service; a failure is a warning, since it may start later."""
    label = f"{name}: service"
    try:
        _connect(forward_to).close()
    except OSError:
        yield warned(
            label,
            f"no service listens at {forward_to}",
            f"start the service, or correct webhooks.{name}.forward_to",
        )
    else:
        yield passed(label, f"{forward_to} accepts connections")


def _connect(forward_to: str) -> socket.socket:
    """Open a connection to a service; raises OSError."""
    if not forward_to.startswith("unix:"):
        parts = urlsplit(forward_to)
        return socket.create_connection((parts.hostname, parts.port or 80), SECONDS)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(SECONDS)
        sock.connect(forward_to.removeprefix("unix:").partition(":")[0])
    except OSError:
        sock.close()
        raise
    return sock
