"""
The tables of the settings, as in the TOML file: name, type, range, default and example.

The docstring under a setting is its reference; `reference.py` reads it. Every table is a
frozen dataclass that a part of the sidecar gets as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from sidecar.core.secrecy.secret import SecretRules
from sidecar.settings.base import (
    UNSET,
    AnyAddress,
    BaseUrl,
    Dedupe,
    Example,
    ForwardUrl,
    HeaderName,
    Number,
    Operation,
    OwnAddress,
    Probe,
    Region,
    Rule,
    Scheme,
    SecretName,
    Table,
    TableName,
    TableRule,
    Text,
    Url,
)
from sidecar.settings.names import check_job_name
from sidecar.settings.values import Address, refuse


def _name_fits_environment(name: str, job: Mapping[str, Any]) -> None:
    if "environment" in job:
        check_job_name(name, job["environment"])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings(Table):
    """What this credential is for, and who answers for it."""

    environment: Annotated[
        Literal["production", "staging", "development"], Example("production")
    ]
    """Environment of the job and of its key."""
    name: Annotated[
        str, TableRule(_name_fits_environment), Example("production-crm-sync")
    ]
    """`<environment>-<system>...`: one key for one job, named after it."""
    owner: Annotated[Text | None, UNSET, Example("crm-platform")] = None
    """Team that answers for the key; compared with the secret's tags by `check`."""
    rotate_every_days: Annotated[
        Annotated[int, Number(1, 3650)] | None, UNSET, Example(90)
    ] = None
    """Days after which a key is due for rotation; shown on metrics and the status."""


def _exactly_one(secret_id: str | None, secret: Mapping[str, Any]) -> None:
    if "file" not in secret:
        return
    if secret["file"] is not None and secret_id is not None:
        refuse("exactly one of secret_id and file: not both")
    if secret["file"] is None and secret_id is None:
        refuse("exactly one of secret_id and file is required")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings(Table):
    """Where a secret is: exactly one of `secret_id` and `file`."""

    file: Annotated[Path | None, UNSET, Example("/run/secrets/flownally")] = None
    """File that holds the secret; a change is in use within 2 s; or set `secret_id`."""
    secret_id: Annotated[
        SecretName | None,
        UNSET,
        TableRule(_exactly_one),
        Example("prod/flownally/crm-sync"),
    ] = None
    """Name or ARN of the secret in AWS Secrets Manager; or set `file`."""
    json_key: Annotated[Text | None, UNSET, Example("api_key")] = None
    """The secret is a JSON object, and the value is under this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSettings(SecretSettings):
    """The key that is injected, and how it is kept fresh."""

    key_prefix: Annotated[Text | None, UNSET, Example("fln_live_")] = None
    """What every key begins with; any other value is refused, so a key of another
    environment is never used."""
    header: Annotated[HeaderName, Example("X-Api-Key")] = "Authorization"
    """Header that carries the key."""
    scheme: Annotated[Scheme, Example("Token")] = "Bearer"
    """Word before the key; empty sends the bare key."""
    refresh_seconds: Annotated[float, Number(0.1, 86400)] = 300
    """Seconds between two refreshes from the source, give or take 10 %."""
    max_stale_seconds: Annotated[float, Number(0, 31536000)] = 0
    """Seconds that the last good key serves while Secrets Manager is away; 0 = no limit."""
    probe: Annotated[Probe | None, UNSET, Example("GET /contacts?limit=1")] = None
    """Cheap call that proves a new key before traffic moves to it."""

    @property
    def rules(self) -> SecretRules:
        """The form of the key, and how it is sent."""
        return SecretRules(
            json_key=self.json_key,
            key_prefix=self.key_prefix or "",
            scheme=self.scheme,
            header=self.header,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSettings(Table):
    """One operation that the service may call."""

    operation: Annotated[Operation, Example("GET /contacts")]
    """Methods and path: `GET,PATCH /contacts/{id}`; `*` is any method, `/**` the rest."""
    scopes: Annotated[tuple[Text, ...], Example(["contacts:write"])] = ()
    """Scopes that the API asks for; named in the log when it answers 403."""


def _operation_from_text(value: object) -> object:
    return {"operation": value} if isinstance(value, str) else value


Operations = tuple[
    Annotated[OperationSettings, Rule(_operation_from_text, "before")], ...
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings(Table):
    """Bounds on what one caller or the API can use up."""

    max_connections: Annotated[int, Number(1, 65536)] = 1024
    """Connections from the service; further ones wait in the listen backlog."""
    max_upstream_connections: Annotated[int, Number(1, 65536)] = 128
    """Connections to the API."""
    queue_seconds: Annotated[float, Number(0, 300)] = 2
    """Seconds to wait for a free connection to the API, then 503 `upstream_busy`."""
    max_header_bytes: Annotated[int, Number(1024, 1048576)] = 32768
    """Bytes of a request's head; an answer's may have 65536."""
    max_body_bytes: Annotated[int, Number(0)] = 0
    """Bytes of a request's body; 0 = unlimited (bodies are always streamed)."""
    replay_body_bytes: Annotated[int, Number(0, 16777216)] = 65536
    """Request bodies up to this many bytes are held, so a 401 can be replayed."""
    connect_seconds: Annotated[float, Number(0.1, 300)] = 5
    """Seconds to connect to the API, TLS included."""
    header_seconds: Annotated[float, Number(0.1, 300)] = 10
    """Seconds for the service to finish its request head."""
    response_seconds: Annotated[float, Number(0.1, 86400)] = 60
    """Seconds for the API to start its answer."""
    idle_seconds: Annotated[float, Number(0.1, 86400)] = 60
    """Seconds that either side may be silent in the middle of a body."""
    keepalive_seconds: Annotated[float, Number(0.1, 86400)] = 75
    """Seconds that an idle connection from the service stays open."""


def _only_on_a_socket(
    uids: tuple[int, ...] | None, upstream: Mapping[str, Any]
) -> None:
    listen = upstream.get("listen")
    if uids is not None and isinstance(listen, Address) and not listen.path:
        refuse("needs a Unix socket (listen = unix:/path): TCP has no user ids")
    if uids is not None and any(uid < 0 for uid in uids):
        refuse("user ids are not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings(Table):
    """An API: the service calls `listen`, the sidecar calls `base_url`."""

    listen: Annotated[OwnAddress, Example("127.0.0.1:8700")] = Address(
        "127.0.0.1", 8700
    )
    """Where the service calls: a loopback `host:port`, or `unix:/path`."""
    base_url: Annotated[BaseUrl, Example("https://api.flownally.com/v1")]
    """Where calls go; https only, http only to this machine."""
    ca_file: Annotated[Path | None, UNSET, Example("/etc/ssl/private-ca.pem")] = None
    """PEM file of certificate authorities to trust, beside the system's."""
    allow: Annotated[
        Operations | None, Example(["GET /contacts", "GET,PATCH /contacts/{id}"])
    ] = None
    """Operations that the service may call; unset = every one but `deny`."""
    # The default: these calls answer with a plaintext key.
    deny: Annotated[Operations, Example(["* /service-accounts/**"])] = (
        OperationSettings(operation="* /service-accounts/**"),
    )
    """Operations that are refused whatever `allow` says."""
    allow_uids: Annotated[
        tuple[Annotated[int, Number()], ...] | None,
        TableRule(_only_on_a_socket),
        Example([1000]),
    ] = None
    """User ids that may connect; for a Unix socket only."""
    credential: CredentialSettings
    limits: LimitSettings = LimitSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(SecretSettings):
    """An endpoint `POST /webhooks/<name>`."""

    forward_to: Annotated[ForwardUrl, Example("http://127.0.0.1:3000/hooks/flownally")]
    """Where true deliveries go: http to this machine, or `unix:/socket:/path`."""
    tolerance_seconds: Annotated[float, Number(1, 3600)] = 300
    """Seconds that a delivery's timestamp may be off, both ways."""
    dedupe_seconds: Annotated[float, Number(60, 2592000)] = 345600
    """Seconds that a delivery's id is remembered; senders retry for about 75 h."""
    dedupe: Annotated[Dedupe, Example("dynamodb:sidecar-webhooks")] = "memory"
    """Where ids are remembered: `memory` (this process) or `dynamodb:TABLE` (the fleet)."""
    max_body_bytes: Annotated[int, Number(1, 67108864)] = 1048576
    """Bytes of a delivery."""
    refresh_seconds: Annotated[float, Number(0.1, 86400)] = 300
    """Seconds between two refreshes of the signing secret."""
    response_seconds: Annotated[float, Number(0.1, 300)] = 15
    """Seconds for the service to answer a delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookListenerSettings(Table):
    """Where webhook senders come in; opened when an endpoint exists."""

    listen: Annotated[AnyAddress, Example("0.0.0.0:8702")] = Address(
        "0.0.0.0",  # noqa: S104  (public by purpose)
        8702,
    )
    """Address of the webhook listener; never shared with another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings(Table):
    """Health, metrics, status and control."""

    listen: Annotated[AnyAddress, Example("127.0.0.1:8701")] = Address(
        "127.0.0.1", 8701
    )
    """Address of the admin port; in a pod 0.0.0.0, for kubelet and Prometheus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings(Table):
    """AWS; credentials come from the standard chain."""

    region: Annotated[Region | None, UNSET, Example("eu-west-1")] = None
    """Region; unset = AWS_REGION, AWS_DEFAULT_REGION or the AWS profile."""
    endpoint_url: Annotated[Url | None, UNSET, Example("http://127.0.0.1:5000")] = None
    """Another endpoint than AWS, for emulators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings(Table):
    """Answers to the ways in which a key gets out."""

    reflection: Literal["mask", "off"] = "mask"
    """The key in an answer of the API: overwritten, or left."""
    tripwire: Literal["block", "warn", "off"] = "block"
    """The service sends the key itself, which it should not have."""
    browser: Literal["block", "off"] = "block"
    """Calls that come from a web page."""
    forwarded: Literal["block", "strip"] = "block"
    """Calls that came through another proxy: refused, or its headers dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings(Table):
    """Logs; no level shows a secret."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""
    format: Literal["json", "console"] = "json"
    """One JSON object per line, or lines for people."""
    access: Literal["off", "errors", "all"] = "errors"
    """Which calls get a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSettings(Table):
    """The way out after SIGTERM."""

    timeout_seconds: Annotated[float, Number(0, 3600)] = 25
    """Seconds for calls in flight to finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationSettings(Table):
    """Rotation by `sidecar rotate` and the Lambda handler."""

    service_account_id: Annotated[Text, Example("sa_crm_sync")]
    """Service account whose keys are rotated; `{id}` in the operations."""
    upstream: Annotated[TableName | None, UNSET, Example("flownally")] = None
    """Upstream whose key is rotated; unset = the only one."""
    create_operation: Operation = "POST /service-accounts/{id}/api-keys"
    """Call that creates a key."""
    list_operation: Operation = "GET /service-accounts/{id}/api-keys"
    """Call that lists the keys, without their plaintext."""
    revoke_operation: Operation = "DELETE /service-accounts/{id}/api-keys/{key_id}"
    """Call that revokes the key `{key_id}`."""
    name_field: str = "name"
    """Field of a key's name in the create call and the list; empty = none."""
    id_field: Text = "id"
    """Field of a key's id in the API's answers."""
    key_field: Text = "key"
    """Field of the plaintext in the answer of the create call."""
    list_field: str = "data"
    """Field of the keys in the answer of the list call; empty = it is the list."""
    grace_seconds: Annotated[
        Annotated[float, Number(0, 604800)] | None, UNSET, Example(600)
    ] = None
    """Seconds between promoting a key and revoking the old one; unset = twice
    `refresh_seconds` of the upstream."""
    credential: SecretSettings
