"""
From settings to parts: the only place that turns one into the other.

Each part gets its own table of the settings, and never sees the whole tree.
"""

import random
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from sidecar.core.access.operations import Operations
from sidecar.core.http.request_head import RequestRules
from sidecar.core.secrecy.secret import Secret
from sidecar.credential.manager import CredentialManager
from sidecar.credential.probe import ApiProbe, ProbeOptions
from sidecar.credential.sources.base import Source
from sidecar.errors import Problem, Refused, SettingsInvalid
from sidecar.metrics import Metrics
from sidecar.proxy.connect import tls_context
from sidecar.proxy.runner import bind
from sidecar.settings.model import Settings
from sidecar.settings.tables import AwsSettings, SecretSettings, UpstreamSettings
from sidecar.settings.values import Address

if TYPE_CHECKING:
    from sidecar.webhook.receiver import WebhookReceiver

OnCall = Callable[[str, str, str], None]
"""Counts an AWS call: service, operation, result."""
Hold = Callable[[str, tuple[Secret, ...]], None]
"""Takes the secrets that an owner has in use, before it uses a new one."""

ADMIN: Final = "admin"
WEBHOOKS: Final = "webhooks"


def operations_of(upstream: UpstreamSettings) -> Operations:
    """Return the rules of which calls may pass."""
    allow = upstream.allow
    return Operations(
        None if allow is None else [(entry.operation, entry.scopes) for entry in allow],
        [entry.operation for entry in upstream.deny],
    )


def request_rules_of(
    settings: Settings, upstream: UpstreamSettings, operations: Operations
) -> RequestRules:
    """Return how the requests of the service are read."""
    return RequestRules(
        header=upstream.credential.header,
        inspect=settings.guard.reflection == "mask",
        plain=hands_out_keys(operations),
        browser=settings.guard.browser == "block",
        forwarded=settings.guard.forwarded,
        socket=bool(upstream.listen.path),
    )


def hands_out_keys(operations: Operations) -> bool:
    """
    Return whether the settings allow calls whose answer is a new key.

    Such an answer must not be compressed: it could not be masked, only cut, and the key
    in it would be lost.
    """
    try:
        operations.match(b"POST", b"/service-accounts/id/api-keys")
    except Refused:
        return False
    return True


def tls_of(name: str, upstream: UpstreamSettings) -> ssl.SSLContext | None:
    """
    Return the TLS settings towards an API; None for http://, which is this machine.

    Raises:
        SettingsInvalid: The file of certificate authorities cannot be used.
    """
    if urlsplit(upstream.base_url).scheme != "https":
        return None
    ca_file = upstream.ca_file
    try:
        return tls_context(str(ca_file) if ca_file is not None else None)
    except OSError:
        path, reason = f"upstreams.{name}.ca_file", "cannot be read as PEM certificates"
        raise SettingsInvalid([Problem(path, reason)]) from None


def source_of(secret: SecretSettings, aws: AwsSettings, on_call: OnCall) -> Source:
    """Return where a secret comes from; a source that is not used is not imported."""
    if secret.file is not None:
        from sidecar.credential.sources.file import FileSource  # noqa: PLC0415 - only the source that is used

        return FileSource(secret.file)
    from sidecar.credential.sources.secrets_manager import (  # noqa: PLC0415 - only the source that is used
        SecretsManagerSource,
    )

    assert secret.secret_id is not None  # noqa: S101 - a rule of SecretSettings
    return SecretsManagerSource(
        secret.secret_id,
        region=aws.region,
        endpoint_url=aws.endpoint_url,
        now=time.time,
        on_call=on_call,
    )


def probe_of(
    upstream: UpstreamSettings, context: ssl.SSLContext | None
) -> ApiProbe | None:
    """Return the call that proves a key, if the settings name one."""
    if upstream.credential.probe is None:
        return None
    method, _, target = upstream.credential.probe.partition(" ")
    url = upstream.base_url.rstrip("/") + target
    tls = None if context is None else lambda: context
    return ApiProbe(ProbeOptions(method, url), tls)


def credential_manager_of(
    settings: Settings,
    name: str,
    metrics: Metrics,
    context: ssl.SSLContext | None,
    hold: Hold,
) -> CredentialManager:
    """Return what keeps the key of an upstream."""
    upstream = settings.upstreams[name]
    return CredentialManager(
        name,
        upstream.credential,
        source_of(upstream.credential, settings.aws, metrics.aws),
        rotate_every_days=settings.job.rotate_every_days,
        probe=probe_of(upstream, context),
        metrics=metrics.credential(name),
        on_secrets=lambda held: hold(name, held),
        now=time.time,
        monotonic=time.monotonic,
        jitter=random.random,
    )


def receiver_of(settings: Settings, metrics: Metrics, hold: Hold) -> "WebhookReceiver":
    """Return the receiver of all endpoints; those with one secret share its source."""
    # Late: a sidecar without webhooks needs none of it.
    from sidecar.webhook.receiver import Dependencies, WebhookReceiver  # noqa: PLC0415 - see above

    shared: dict[tuple[object, ...], Source] = {}
    sources: dict[str, Source] = {}
    for name, webhook in settings.webhooks.items():
        where = (webhook.secret_id, webhook.file, webhook.json_key)
        if where not in shared:
            shared[where] = source_of(webhook, settings.aws, metrics.aws)
        sources[name] = shared[where]

    tools = Dependencies(
        now=time.time,
        monotonic=time.monotonic,
        jitter=random.random,
        token=lambda: secrets.token_hex(8),
        metrics=metrics.webhook,
        aws=metrics.aws,
        # An upstream may have the same name, but no name has a dot in it.
        on_secrets=lambda name, held: hold(f"webhooks.{name}", held),
    )
    return WebhookReceiver(
        settings.webhooks,
        sources,
        tools,
        job=settings.job.name,
        aws=settings.aws,
        log_delivered=settings.log.access == "all",
    )


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
    """Return every listener of a run; no two have the same name or address."""
    found = [
        # With allow_uids every user may open the socket file, because the sidecar then
        # checks the peer's uid. Without it only the sidecar's own user may connect.
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
        SettingsInvalid: The address is in use, or its use is not permitted.
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
    Bind every listener; yield the sockets by name, and close them at the end.

    Raises:
        SettingsInvalid: Some cannot be bound; it names all of them.
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
    """Return the address of a socket, as it is written in the settings."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
