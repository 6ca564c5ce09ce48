"""
Rules between settings: what the type of one setting cannot express.

They are checked on the values as they were read, table by table, so that one wrong
setting does not hide what is wrong elsewhere.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.errors import Problem
from sidecar.settings import introspection, names, urls, values
from sidecar.settings.base import Table
from sidecar.settings.tables import (
    AdminSettings,
    UpstreamSettings,
    WebhookListenerSettings,
)

OWN = frozenset({"admin", "webhooks"})
"""Listeners that belong to no upstream, as they are named in logs and in `/status`."""


def problems(
    settings: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Problem]:
    """Find what is wrong between tables, and with the process's environment."""
    if not settings.get("upstreams") and not settings.get("webhooks"):
        yield Problem(
            "upstreams",
            "nothing to do: there is no upstream and no webhook endpoint",
            "[upstreams.flownally]",
        )
    if environ.get("SSLKEYLOGFILE"):
        yield Problem(
            "SSLKEYLOGFILE",
            "must not be set: it writes down what decrypts the traffic, key included",
        )
    for name in OWN & _tables(settings, "upstreams").keys():
        yield Problem(
            f"upstreams.{name}",
            "is how logs and /status name a listener of the sidecar's own",
            f"[upstreams.{name}-api]",
        )
    yield from _clashes(settings)
    yield from _loops(settings)
    yield from _environments(settings)
    yield from _files(settings)
    yield from _rotation(settings)


def _tables(settings: Mapping[str, Any], section: str) -> dict[str, Mapping[str, Any]]:
    """Give the named tables of a section, without those that are no tables."""
    found = settings.get(section)
    if not isinstance(found, Mapping):
        return {}
    return {name: table for name, table in found.items() if isinstance(table, Mapping)}


def _table(settings: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for step in path:
        inner = settings.get(step)
        settings = inner if isinstance(inner, Mapping) else {}
    return settings


def _listen(values: Mapping[str, Any], table: type[Table]) -> Any:
    return values.get("listen", introspection.settings_of(table)["listen"].default)


def _listeners(settings: Mapping[str, Any]) -> dict[str, values.Address]:
    texts = {
        f"upstreams.{name}.listen": _listen(table, UpstreamSettings)
        for name, table in _tables(settings, "upstreams").items()
    }
    texts["admin.listen"] = _listen(_table(settings, "admin"), AdminSettings)
    if _tables(settings, "webhooks"):
        table = _table(settings, "webhook_listener")
        texts["webhook_listener.listen"] = _listen(table, WebhookListenerSettings)
    addresses = {}
    for path, text in texts.items():
        try:
            addresses[path] = values.parse_address(text)
        except ValueError:
            continue  # reported where it stands
    return addresses


def _clashes(settings: Mapping[str, Any]) -> Iterator[Problem]:
    for (one, first), (two, second) in combinations(_listeners(settings).items(), 2):
        if first.clashes(second):
            yield Problem(two, f"is the address of {one} already", '"127.0.0.1:8703"')


def _loops(settings: Mapping[str, Any]) -> Iterator[Problem]:
    targets = {
        f"upstreams.{name}.base_url": table.get("base_url")
        for name, table in _tables(settings, "upstreams").items()
    } | {
        f"webhooks.{name}.forward_to": table.get("forward_to")
        for name, table in _tables(settings, "webhooks").items()
    }
    own = _listeners(settings)
    for path, url in targets.items():
        try:
            parts = urlsplit(urls.check_url(url if isinstance(url, str) else ""))
        except ValueError:
            continue  # reported where it stands
        port = parts.port or (443 if parts.scheme == "https" else 80)
        for listener, address in own.items():
            if values.is_loopback(parts.hostname or "") and address.port == port:
                yield Problem(path, f"is the sidecar itself: {listener}")


def _environments(settings: Mapping[str, Any]) -> Iterator[Problem]:
    environment = str(_table(settings, "job").get("environment"))
    for name in _tables(settings, "upstreams"):
        prefix = _table(settings, "upstreams", name, "credential").get("key_prefix")
        try:
            names.check_key_prefix(str(prefix or ""), environment)
        except ValueError as exc:
            path = f"upstreams.{name}.credential.key_prefix"
            yield Problem(path, str(exc), '"fln_live_"')
    endpoint = _table(settings, "aws").get("endpoint_url")
    if environment == "production" and isinstance(endpoint, str) and endpoint:
        try:
            urls.check_base_url(endpoint)
        except ValueError as exc:
            yield Problem("aws.endpoint_url", str(exc))


def _files(settings: Mapping[str, Any]) -> Iterator[Problem]:
    for name, table in _tables(settings, "upstreams").items():
        path = table.get("ca_file")
        if not isinstance(path, str) or not path:
            continue
        try:
            usable = b"-----BEGIN CERTIFICATE-----" in Path(path).read_bytes()
        except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
            reason = getattr(exc, "strerror", None) or "not a path"
            yield Problem(f"upstreams.{name}.ca_file", f"cannot be read: {reason}")
        else:
            if not usable:
                yield Problem(f"upstreams.{name}.ca_file", "has no PEM certificate")


def _rotation(settings: Mapping[str, Any]) -> Iterator[Problem]:
    if "rotation" not in settings:
        return
    known = _tables(settings, "upstreams")
    chosen = _table(settings, "rotation").get("upstream") or None
    example = f'"{next(iter(known))}"' if known else '"flownally"'
    if chosen is None and len(known) != 1:
        reason = "is required, unless there is exactly one upstream"
        yield Problem("rotation.upstream", reason, example)
    elif isinstance(chosen, str) and chosen not in known:
        yield Problem("rotation.upstream", "names no upstream", example)
    for name in known if chosen is None and len(known) == 1 else [chosen]:
        yield from _rotated(settings, str(name))


def _rotated(settings: Mapping[str, Any], name: str) -> Iterator[Problem]:
    path = f"upstreams.{name}.credential"
    credential = _table(settings, "upstreams", name, "credential")
    if credential.get("file"):
        reason = "cannot be rotated: [rotation] stores new keys in Secrets Manager"
        yield Problem(f"{path}.file", reason)
    elif credential.get("secret_id") and not credential.get("json_key"):
        reason = "is required by [rotation]: the key's id is stored beside the key"
        yield Problem(f"{path}.json_key", reason, '"api_key"')
