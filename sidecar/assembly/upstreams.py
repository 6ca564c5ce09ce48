"""From settings to what the parts of an upstream are told."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sidecar.core.access.operations import Operations
from sidecar.core.http.target import BaseUrl
from sidecar.core.secrecy.secret import SecretRules
from sidecar.credential.options import CredentialManagerOptions
from sidecar.credential.probe import ApiProbe, ProbeOptions
from sidecar.credential.sources.base import Source
from sidecar.errors import Refused
from sidecar.proxy.options import Guards, Limits, Upstream

if TYPE_CHECKING:
    from sidecar.settings.model import Settings
    from sidecar.settings.tables import AwsSettings
    from sidecar.settings.tables import SecretSettings, UpstreamSettings

OnCall = Callable[[str, str, str], None]


def limits_of(upstream: UpstreamSettings) -> Limits:
    """Return the bounds of an upstream; the names are the same on both sides."""
    return Limits(**upstream.limits.model_dump())


def upstream_of(settings: Settings, name: str) -> Upstream:
    """Return what the hot path is told of an upstream."""
    upstream = settings.upstreams[name]
    return Upstream(
        name=name,
        base=BaseUrl.parse(upstream.base_url),
        limits=limits_of(upstream),
        guards=Guards(**settings.guard.model_dump()),
        access=settings.log.access,
        key_prefix=(upstream.credential.key_prefix or "").encode("ascii"),
    )


def operations_of(upstream: UpstreamSettings) -> Operations:
    """Return the rules of which calls may pass."""
    allow = upstream.allow
    return Operations(
        None if allow is None else [(entry.operation, entry.scopes) for entry in allow],
        [entry.operation for entry in upstream.deny],
    )


def hands_out_keys(operations: Operations) -> bool:
    """
    Tell whether the settings allow calls whose answer is a new key.

    Such an answer must not be compressed: it could not be masked, only cut, and the key
    in it would be lost.
    """
    try:
        operations.match(b"POST", b"/service-accounts/id/api-keys")
    except Refused:
        return False
    return True


def rules_of(upstream: UpstreamSettings) -> SecretRules:
    """Return what the key must look like, and how it is sent."""
    credential = upstream.credential
    return SecretRules(
        json_key=credential.json_key,
        key_prefix=credential.key_prefix or "",
        scheme=credential.scheme,
        header=credential.header,
    )


def keeper_options(settings: Settings, name: str) -> CredentialManagerOptions:
    """Return how the key of an upstream is kept."""
    credential = settings.upstreams[name].credential
    return CredentialManagerOptions(
        upstream=name,
        rules=rules_of(settings.upstreams[name]),
        refresh_seconds=credential.refresh_seconds,
        max_stale_seconds=credential.max_stale_seconds,
        rotate_every_days=settings.job.rotate_every_days,
    )


def source_of(secret: SecretSettings, aws: AwsSettings, on_call: OnCall) -> Source:
    """Return where a secret comes from; what is not used is not imported."""
    if secret.file is not None:
        from sidecar.credential.sources.file import FileSource  # noqa: PLC0415 - only the source that is used

        return FileSource(secret.file)
    from sidecar.credential.sources.secrets_manager import (  # noqa: PLC0415 - only the source that is used
        SecretsManagerSource,
    )

    assert secret.secret_id is not None  # noqa: S101 - the settings hold it to this
    return SecretsManagerSource(
        secret.secret_id,
        region=aws.region,
        endpoint_url=aws.endpoint_url,
        now=time.time,
        on_call=on_call,
    )


def is_tls(upstream: UpstreamSettings) -> bool:
    """Tell whether an upstream speaks TLS; without it only on this machine."""
    return urlsplit(upstream.base_url).scheme == "https"


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
