"""
The settings as a whole: one table per concern, names as in the TOML file.

`Settings` reads nothing by itself; `loading.load` puts the file and the environment
together and reports every problem at once.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from sidecar.settings.base import (
    AnyAddress,
    Dedupe,
    ForwardUrl,
    Operation,
    Region,
    Seconds,
    Table,
    TableName,
    Text,
    Unset,
    Url,
    Whole,
)
from sidecar.settings.names import check_job_name
from sidecar.settings.upstream import SecretSettings, UpstreamSettings
from sidecar.settings.values import Address


class JobSettings(Table):
    """What this credential is for, and who answers for it."""

    environment: Literal["production", "staging", "development"] = Field(
        examples=["production"]
    )
    """Environment of the job and of its key."""
    name: str = Field(examples=["production-crm-sync"])
    """`<environment>-<system>...`: one key for one job, named after it."""
    owner: Annotated[Text | None, Unset] = Field(
        default=None, examples=["crm-platform"]
    )
    """Team that answers for the key; compared with the secret's tags by `check`."""
    rotate_every_days: Annotated[Whole | None, Unset] = Field(
        default=None, ge=1, le=3650, examples=[90]
    )
    """Days after which a key is due for rotation; shown on metrics and the status."""

    @field_validator("name", mode="after")
    @classmethod
    def _tells_the_job(cls, name: str, info: ValidationInfo) -> str:
        if "environment" in info.data:
            check_job_name(name, info.data["environment"])
        return name


class WebhookSettings(SecretSettings):
    """An endpoint `POST /webhooks/<name>`."""

    forward_to: ForwardUrl = Field(examples=["http://127.0.0.1:3000/hooks/flownally"])
    """Where true deliveries go: http to this machine, or `unix:/socket:/path`."""
    tolerance_seconds: Seconds = Field(default=300, ge=1, le=3600)
    """Seconds that a delivery's timestamp may be off, both ways."""
    dedupe_seconds: Seconds = Field(default=345600, ge=60, le=2592000)
    """Seconds that a delivery's id is remembered; senders retry for about 75 h."""
    dedupe: Dedupe = Field(default="memory", examples=["dynamodb:sidecar-webhooks"])
    """Where ids are remembered: `memory` (this process) or `dynamodb:TABLE` (the fleet)."""
    max_body_bytes: Whole = Field(default=1048576, ge=1, le=67108864)
    """Bytes of a delivery."""
    refresh_seconds: Seconds = Field(default=300, ge=0.1, le=86400)
    """Seconds between two looks for a new signing secret."""
    response_seconds: Seconds = Field(default=15, ge=0.1, le=300)
    """Seconds for the service to answer a delivery."""


class WebhookListenerSettings(Table):
    """Where webhook senders come in; opened when an endpoint exists."""

    listen: AnyAddress = Field(
        default=Address("0.0.0.0", 8702),  # noqa: S104  (public by purpose)
        examples=["0.0.0.0:8702"],
    )
    """Address of the webhook listener; never shared with another one."""


class AdminSettings(Table):
    """Health, metrics, status and control."""

    listen: AnyAddress = Field(
        default=Address("127.0.0.1", 8701), examples=["127.0.0.1:8701"]
    )
    """Address of the admin port; in a pod 0.0.0.0, for kubelet and Prometheus."""


class AwsSettings(Table):
    """AWS; credentials come from the standard chain."""

    region: Annotated[Region | None, Unset] = Field(
        default=None, examples=["eu-west-1"]
    )
    """Region; unset = AWS_REGION, AWS_DEFAULT_REGION or the AWS profile."""
    endpoint_url: Annotated[Url | None, Unset] = Field(
        default=None, examples=["http://127.0.0.1:5000"]
    )
    """Another endpoint than AWS, for emulators."""


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


class LogSettings(Table):
    """Logs; no level shows a secret."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""
    format: Literal["json", "console"] = "json"
    """One JSON object per line, or lines for people."""
    access: Literal["off", "errors", "all"] = "errors"
    """Which calls get a line."""


class DrainSettings(Table):
    """The way out after SIGTERM."""

    timeout_seconds: Seconds = Field(default=25, ge=0, le=3600)
    """Seconds for calls in flight to finish."""


class RotationSettings(Table):
    """Rotation by `sidecar rotate` and the Lambda handler."""

    service_account_id: Text = Field(examples=["sa_crm_sync"])
    """Service account whose keys are rotated; `{id}` in the operations."""
    upstream: Annotated[TableName | None, Unset] = Field(
        default=None, examples=["flownally"]
    )
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
    grace_seconds: Annotated[Seconds | None, Unset] = Field(
        default=None, ge=0, le=604800, examples=[600]
    )
    """Seconds between promoting a key and revoking the old one; unset = twice
    `refresh_seconds` of the upstream."""
    credential: SecretSettings


class Settings(BaseSettings):
    """Every setting of the sidecar."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        case_sensitive=True,
        env_prefix="SIDECAR_",
        env_nested_delimiter="__",
    )

    job: JobSettings
    upstreams: dict[TableName, UpstreamSettings] = {}
    webhooks: dict[TableName, WebhookSettings] = {}
    webhook_listener: WebhookListenerSettings = WebhookListenerSettings()
    admin: AdminSettings = AdminSettings()
    aws: AwsSettings = AwsSettings()
    guard: GuardSettings = GuardSettings()
    log: LogSettings = LogSettings()
    drain: DrainSettings = DrainSettings()
    rotation: RotationSettings | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but what `load` hands over: it reports, and tests are hermetic."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
