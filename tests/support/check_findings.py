"""Settings and findings, in short."""

from collections.abc import Iterable
from typing import Any

from sidecar.commands.checks.finding import Finding, Level
from sidecar.settings.loading import ADAPTER
from sidecar.settings.model import Settings

Tables = dict[str, Any]


def settings_with(
    upstream: Tables | None = None,
    credential: Tables | None = None,
    job: Tables | None = None,
    **tables: Any,
) -> Settings:
    """Make settings of a development job with one upstream."""
    values: Tables = {
        "job": {"environment": "development", "name": "development-crm-sync"}
        | (job or {}),
        "upstreams": {
            "flownally": {
                "listen": "127.0.0.1:0",
                "base_url": "https://api.flownally.com/v1",
                "credential": {"secret_id": "dev/flownally"} | (credential or {}),
            }
            | (upstream or {})
        },
        "admin": {"listen": "127.0.0.1:0"},
    }
    return ADAPTER.validate_python(values | tables)


def levels(findings: Iterable[Finding]) -> dict[str, Level]:
    """Give each finding's level under its name."""
    return {found.name: found.level for found in findings}


def by_name(findings: Iterable[Finding], name: str) -> Finding:
    """Find the one with a name."""
    (found,) = [found for found in findings if found.name == name]
    return found
