"""Every address that a run listens on, from the settings to the sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sidecar.errors import Problem, SettingsInvalid
from sidecar.proxy.runner import bind
from sidecar.settings.values import Address

if TYPE_CHECKING:
    from sidecar.settings.model import Settings

ADMIN = "admin"
WEBHOOKS = "webhooks"


class Listener(NamedTuple):
    """An address to listen on."""

    name: str
    """An upstream's, `admin` or `webhooks`."""
    path: str
    """The setting's, for errors."""
    address: Address
    mode: int = 0o600
    """Permissions of a Unix socket's file."""


def listeners_of(settings: Settings) -> list[Listener]:
    """Return every listener of a run; names and addresses are unlike each other."""
    found = [
        # Where the peer's uid is judged, the file must let it come so far: the app has
        # a user of its own. Otherwise only our own user may connect.
        Listener(
            name,
            f"upstreams.{name}.listen",
            upstream.listen,
            0o600 if upstream.allow_uids is None else 0o666,
        )
        for name, upstream in settings.upstreams.items()
    ]
    found.append(Listener(ADMIN, "admin.listen", settings.admin.listen))
    if settings.webhooks:
        listen = settings.webhook_listener.listen
        found.append(Listener(WEBHOOKS, "webhook_listener.listen", listen))
    return found


def bound(listener: Listener) -> socket.socket:
    """
    Bind a listener's socket.

    Raises:
        SettingsInvalid: The address is in use, or not ours to take.
    """
    address = listener.address
    where = address.path or (address.host, address.port)
    try:
        return bind(where, mode=listener.mode)
    except OSError as error:
        reason = f"cannot listen there: {(error.strerror or 'refused').lower()}"
        raise SettingsInvalid([Problem(listener.path, reason)]) from None


@contextmanager
def all_bound(settings: Settings) -> Iterator[dict[str, socket.socket]]:
    """
    Bind every listener; give the sockets by name, and close them in the end.

    Raises:
        SettingsInvalid: Some cannot be bound; all of those are told.
    """
    sockets: dict[str, socket.socket] = {}
    problems: list[Problem] = []
    try:
        for listener in listeners_of(settings):
            try:
                sockets[listener.name] = bound(listener)
            except SettingsInvalid as invalid:
                problems += invalid.problems
        if problems:
            raise SettingsInvalid(problems)
        yield sockets
    finally:
        for sock in sockets.values():
            sock.close()


def address_of(sock: socket.socket) -> str:
    """Return where a socket listens, as it is written in the settings."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
