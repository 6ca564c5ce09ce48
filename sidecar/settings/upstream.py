"""The tables of an API that is called: where, which key, which calls, which limits."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sidecar.settings.base import (
    BaseUrl,
    HeaderName,
    Operation,
    OwnAddress,
    Probe,
    Scheme,
    Seconds,
    SecretName,
    Table,
    Text,
    Unset,
    Whole,
)
from sidecar.settings.values import Address, refuse


class SecretSettings(Table):
    """Where a secret is: exactly one of `secret_id` and `file`."""

    file: Annotated[Path | None, Unset] = Field(
        default=None, examples=["/run/secrets/flownally"]
    )
    """File that holds the secret; a change is in use within 2 s; or set `secret_id`."""
    secret_id: Annotated[SecretName | None, Unset] = Field(
        default=None, validate_default=True, examples=["prod/flownally/crm-sync"]
    )
    """Name or ARN of the secret in AWS Secrets Manager; or set `file`."""
    json_key: Annotated[Text | None, Unset] = Field(default=None, examples=["api_key"])
    """The secret is a JSON object, and the value is under this key."""

    @field_validator("secret_id", mode="after")
    @classmethod
    def _exactly_one(cls, secret_id: str | None, info: ValidationInfo) -> str | None:
        if "file" in info.data:
            by_file = info.data["file"] is not None
            if by_file and secret_id is not None:
                refuse("exactly one of secret_id and file: not both")
            if not by_file and secret_id is None:
                refuse("exactly one of secret_id and file is required")
        return secret_id


class CredentialSettings(SecretSettings):
    """The key that is injected, and how it is kept fresh."""

    key_prefix: Annotated[Text | None, Unset] = Field(
        default=None, examples=["fln_live_"]
    )
    """What every key begins with; any other value is refused, so a key of another
    environment is never used."""
    header: HeaderName = Field(default="Authorization", examples=["X-Api-Key"])
    """Header that carries the key."""
    scheme: Scheme = Field(default="Bearer", examples=["Token"])
    """Word before the key; empty sends the bare key."""
    refresh_seconds: Seconds = Field(default=300, ge=0.1, le=86400)
    """Seconds between two looks for a new version, give or take 10 %."""
    max_stale_seconds: Seconds = Field(default=0, ge=0, le=31536000)
    """Seconds that the last good key serves while Secrets Manager is away; 0 = for ever."""
    probe: Annotated[Probe | None, Unset] = Field(
        default=None, examples=["GET /contacts?limit=1"]
    )
    """Cheap call that proves a new key before traffic moves to it."""


class OperationSettings(Table):
    """One operation that the service may call."""

    operation: Operation = Field(examples=["GET /contacts"])
    """Methods and path: `GET,PATCH /contacts/{id}`; `*` is any method, `/**` the rest."""
    scopes: tuple[Text, ...] = Field(default=(), examples=[["contacts:write"]])
    """Scopes that the API asks for; named in the log when it answers 403."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"operation": value} if isinstance(value, str) else value


class LimitSettings(Table):
    """Bounds on what one caller or the API can use up."""

    max_connections: Whole = Field(default=1024, ge=1, le=65536)
    """Connections from the service; further ones wait in the listen backlog."""
    max_upstream_connections: Whole = Field(default=128, ge=1, le=65536)
    """Connections to the API."""
    queue_seconds: Seconds = Field(default=2, ge=0, le=300)
    """Seconds to wait for a free connection to the API, then 503 `upstream_busy`."""
    max_header_bytes: Whole = Field(default=32768, ge=1024, le=1048576)
    """Bytes of a request's head; an answer's may have 65536."""
    max_body_bytes: Whole = Field(default=0, ge=0)
    """Bytes of a request's body; 0 = unlimited (bodies are always streamed)."""
    replay_body_bytes: Whole = Field(default=65536, ge=0, le=16777216)
    """Request bodies up to this many bytes are held, so a 401 can be replayed."""
    connect_seconds: Seconds = Field(default=5, ge=0.1, le=300)
    """Seconds to connect to the API, TLS included."""
    header_seconds: Seconds = Field(default=10, ge=0.1, le=300)
    """Seconds for the service to finish its request head."""
    response_seconds: Seconds = Field(default=60, ge=0.1, le=86400)
    """Seconds for the API to start its answer."""
    idle_seconds: Seconds = Field(default=60, ge=0.1, le=86400)
    """Seconds that either side may be silent in the middle of a body."""
    keepalive_seconds: Seconds = Field(default=75, ge=0.1, le=86400)
    """Seconds that an idle connection from the service stays open."""


def _default_deny() -> tuple[OperationSettings, ...]:
    # These calls answer with a plaintext key: the service must not have one.
    return (OperationSettings(operation="* /service-accounts/**"),)


class UpstreamSettings(Table):
    """An API: the service calls `listen`, the sidecar calls `base_url`."""

    listen: OwnAddress = Field(
        default=Address("127.0.0.1", 8700), examples=["127.0.0.1:8700"]
    )
    """Where the service calls: a loopback `host:port`, or `unix:/path`."""
    base_url: BaseUrl = Field(examples=["https://api.flownally.com/v1"])
    """Where calls go; https only, http only to this machine."""
    ca_file: Annotated[Path | None, Unset] = Field(
        default=None, examples=["/etc/ssl/private-ca.pem"]
    )
    """PEM file of certificate authorities to trust, beside the system's."""
    allow: tuple[OperationSettings, ...] | None = Field(
        default=None, examples=[["GET /contacts", "GET,PATCH /contacts/{id}"]]
    )
    """Operations that the service may call; unset = every one but `deny`."""
    deny: tuple[OperationSettings, ...] = Field(
        default_factory=_default_deny, examples=[["* /service-accounts/**"]]
    )
    """Operations that are refused whatever `allow` says."""
    allow_uids: tuple[Whole, ...] | None = Field(default=None, examples=[[1000]])
    """User ids that may connect; for a Unix socket only."""
    credential: CredentialSettings
    limits: LimitSettings = LimitSettings()

    @field_validator("allow_uids", mode="after")
    @classmethod
    def _only_on_a_socket(
        cls, uids: tuple[int, ...] | None, info: ValidationInfo
    ) -> tuple[int, ...] | None:
        listen = info.data.get("listen")
        if uids is not None and isinstance(listen, Address) and not listen.path:
            refuse(
                "needs a Unix socket (listen = unix:/path): TCP does not tell who calls"
            )
        if uids is not None and any(uid < 0 for uid in uids):
            refuse("user ids are not negative")
        return uids
