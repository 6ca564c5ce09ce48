"""The settings as a whole; only what connects the parts may see them."""

from dataclasses import dataclass, field

from sidecar.settings.base import Table, TableName
from sidecar.settings.tables import (
    AdminSettings,
    AwsSettings,
    DrainSettings,
    GuardSettings,
    JobSettings,
    LogSettings,
    RotationSettings,
    UpstreamSettings,
    WebhookListenerSettings,
    WebhookSettings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Table):
    """Every setting of the sidecar."""

    job: JobSettings
    upstreams: dict[TableName, UpstreamSettings] = field(default_factory=dict)
    webhooks: dict[TableName, WebhookSettings] = field(default_factory=dict)
    webhook_listener: WebhookListenerSettings = WebhookListenerSettings()
    admin: AdminSettings = AdminSettings()
    aws: AwsSettings = AwsSettings()
    guard: GuardSettings = GuardSettings()
    log: LogSettings = LogSettings()
    drain: DrainSettings = DrainSettings()
    rotation: RotationSettings | None = None
