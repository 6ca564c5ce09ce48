"""What the hot path is told at start: small frozen objects, made by `app` from the settings."""

from dataclasses import dataclass
from typing import Literal

from sidecar.core.http.target import BaseUrl


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one upstream; seconds and bytes. The meaning is in the settings."""

    max_connections: int = 1024
    max_upstream_connections: int = 128
    queue_seconds: float = 2
    max_header_bytes: int = 32768
    max_body_bytes: int = 0
    replay_body_bytes: int = 65536
    connect_seconds: float = 5
    header_seconds: float = 10
    response_seconds: float = 60
    idle_seconds: float = 60
    keepalive_seconds: float = 75


@dataclass(frozen=True, slots=True)
class Guards:
    """Which of the guards act, and how."""

    reflection: Literal["mask", "off"] = "mask"
    tripwire: Literal["block", "warn", "off"] = "block"
    browser: Literal["block", "off"] = "block"
    forwarded: Literal["block", "strip"] = "block"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One API as the hot path sees it."""

    name: str
    base: BaseUrl
    limits: Limits
    guards: Guards
    access: Literal["off", "errors", "all"] = "errors"
    key_prefix: bytes = b""
    """What keys of this API begin with: new ones in answers are masked too."""
