"""A settings file that is right, to be made wrong in one place."""

from collections.abc import Mapping
from pathlib import Path

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings.loading import load
from sidecar.settings.model import Settings

JOB = """
[job]
environment = "development"
name = "development-crm-sync"
"""
UPSTREAM = """
[upstreams.flownally]
base_url = "https://api.flownally.com/v1"
"""
CREDENTIAL = """
[upstreams.flownally.credential]
secret_id = "dev/flownally/crm-sync"
"""
GOOD = JOB + UPSTREAM + CREDENTIAL
WEBHOOK = """
[webhooks.inbox]
secret_id = "dev/flownally/webhook"
forward_to = "http://127.0.0.1:3000/hooks"
"""


def loaded(
    tmp_path: Path, text: str = GOOD, environ: Mapping[str, str] | None = None
) -> Settings:
    """Load settings from a file with this text."""
    file = tmp_path / "sidecar.toml"
    file.write_text(text)
    return load(file, environ or {})


def problems(
    tmp_path: Path, text: str = GOOD, environ: Mapping[str, str] | None = None
) -> list[Problem]:
    """Load settings that are wrong, and give what is reported."""
    try:
        loaded(tmp_path, text, environ)
    except SettingsInvalid as exc:
        return list(exc.problems)
    return []


def reasons(
    tmp_path: Path, text: str = GOOD, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Give each problem's reason under its path."""
    return {p.path: p.reason for p in problems(tmp_path, text, environ)}
