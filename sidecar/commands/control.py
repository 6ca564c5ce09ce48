"""
How a command talks to a running sidecar: its admin port, over plain HTTP.

`http.client` and not a client that knows proxies: a proxy variable of the environment
must never see a call to this machine.
"""

import argparse
import http.client
import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sidecar.commands.support import settings_of
from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings.urls import check_url
from sidecar.settings.values import Address

CALL_SECONDS: Final = 5.0
GOOD: Final = range(200, 300)
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared)


@dataclass(frozen=True, slots=True)
class AdminResponse:
    """What the admin port said; status 0 when it did not."""

    status: int
    text: str

    @property
    def good(self) -> bool:
        """Whether what was asked for was done (RFC 9110, 15.3)."""
        return self.status in GOOD


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where the admin port is."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="admin port of the sidecar; unset = admin.listen of the settings",
    )


def target_of(args: argparse.Namespace) -> Address:
    """
    Tell where the admin port is.

    Raises:
        SettingsInvalid: `--url` is no URL, or the settings do not tell the port.
    """
    if args.url is not None:
        try:
            parts = urlsplit(check_url(args.url))
        except ValueError as exc:
            raise SettingsInvalid(
                [Problem("--url", str(exc), "http://127.0.0.1:8701")]
            ) from None
        if parts.scheme != "http":
            problem = Problem("--url", "must be http://", "http://127.0.0.1:8701")
            raise SettingsInvalid([problem])
        return Address(parts.hostname or "", parts.port or 80)
    listen = settings_of(args).admin.listen
    if not listen.port:
        reason = "leaves the port to the system, so only --url can tell it"
        raise SettingsInvalid([Problem("admin.listen", reason)])
    return reachable(listen)


def reachable(listen: Address) -> Address:
    """Tell where to call a listener; 0.0.0.0 is no address to call."""
    return Address(EVERYWHERE.get(listen.host, listen.host), listen.port)


def call(method: str, target: Address, path: str, seconds: float) -> AdminResponse:
    """Make one call; never raises for what a network can do."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=seconds)
    try:
        connection.request(method, path, headers={"Connection": "close"})
        response = connection.getresponse()
        return AdminResponse(
            response.status, response.read(4096).decode(errors="replace")
        )
    except (OSError, http.client.HTTPException) as exc:
        number = exc.errno if isinstance(exc, OSError) else None
        return AdminResponse(0, os.strerror(number) if number else type(exc).__name__)
    finally:
        connection.close()


def explain(target: Address, answer: AdminResponse) -> str:
    """Say in one sentence what an answer means."""
    if not answer.status:
        return f"no sidecar answers at {target}: {answer.text.lower()}"
    return f"the admin port at {target} answered {answer.status}"
