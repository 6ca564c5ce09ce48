"""The tables: the defaults that the contract names, and their ranges."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.settings import introspection
from sidecar.settings.model import Settings
from tests.support.settings_files import GOOD, WEBHOOK, loaded, reasons

DEFAULTS = {
    "upstreams.flownally.listen": "127.0.0.1:8700",
    "upstreams.flownally.allow": None,
    "upstreams.flownally.deny.0.operation": "* /service-accounts/**",
    "upstreams.flownally.allow_uids": None,
    "upstreams.flownally.ca_file": None,
    "upstreams.flownally.credential.header": "Authorization",
    "upstreams.flownally.credential.scheme": "Bearer",
    "upstreams.flownally.credential.refresh_seconds": 300,
    "upstreams.flownally.credential.max_stale_seconds": 0,
    "upstreams.flownally.credential.probe": None,
    "upstreams.flownally.credential.json_key": None,
    "upstreams.flownally.credential.key_prefix": None,
    "upstreams.flownally.limits.max_connections": 1024,
    "upstreams.flownally.limits.max_upstream_connections": 128,
    "upstreams.flownally.limits.queue_seconds": 2,
    "upstreams.flownally.limits.max_header_bytes": 32768,
    "upstreams.flownally.limits.max_body_bytes": 0,
    "upstreams.flownally.limits.replay_body_bytes": 65536,
    "upstreams.flownally.limits.connect_seconds": 5,
    "upstreams.flownally.limits.header_seconds": 10,
    "upstreams.flownally.limits.response_seconds": 60,
    "upstreams.flownally.limits.idle_seconds": 60,
    "upstreams.flownally.limits.keepalive_seconds": 75,
    "webhooks.inbox.tolerance_seconds": 300,
    "webhooks.inbox.dedupe_seconds": 345600,
    "webhooks.inbox.dedupe": "memory",
    "webhooks.inbox.max_body_bytes": 1048576,
    "webhook_listener.listen": "0.0.0.0:8702",
    "admin.listen": "127.0.0.1:8701",
    "aws.region": None,
    "aws.endpoint_url": None,
    "guard.reflection": "mask",
    "guard.tripwire": "block",
    "guard.browser": "block",
    "guard.forwarded": "block",
    "log.level": "info",
    "log.format": "json",
    "log.access": "errors",
    "drain.timeout_seconds": 25,
    "job.owner": None,
    "job.rotate_every_days": None,
    "rotation": None,
}


@pytest.mark.parametrize(("path", "value"), DEFAULTS.items())
def test_the_defaults_of_the_contract(tmp_path: Path, path: str, value: object) -> None:
    """Charts, dashboards and tests are written against them."""
    place: Any = loaded(tmp_path, GOOD + WEBHOOK)
    for step in path.split("."):
        if isinstance(place, dict):
            place = place[step]
        else:
            place = place[int(step)] if step.isdigit() else getattr(place, step)

    assert place == value or str(place) == value


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [
        (path, setting.number.least, setting.number.most)
        for path, setting in introspection.leaves(Settings)
        if setting.number is not None
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_the_ranges_of_numbers(
    tmp_path: Path, path: tuple[str, ...], least: float, most: float | None
) -> None:
    """Both ends are accepted, what is beyond them is not."""
    steps = [{"upstreams": "flownally", "webhooks": "inbox"}.get(a, a) for a in path]
    named = [
        steps[i - 1] if step == introspection.ANY_NAME else step
        for i, step in enumerate(path)
    ]
    rotation = """
[rotation]
service_account_id = "sa_1"
credential = { secret_id = "dev/manager" }
"""
    text = GOOD + 'json_key = "k"\n' + WEBHOOK + rotation
    variable = "SIDECAR_" + "__".join(named).upper()

    def wrong(value: float) -> set[str]:
        return set(reasons(tmp_path, text, {variable: str(value)}))

    assert wrong(least) == set()
    assert wrong(least - 1) == {".".join(named)}
    if most is not None:
        assert wrong(most) == set()
        assert wrong(most + 1) == {".".join(named)}


def test_every_number_has_a_range() -> None:
    """A number without one can stop the process or the service."""
    for path, setting in introspection.leaves(Settings):
        if setting.kind in {int, float}:
            assert setting.number is not None, path
            assert setting.number.least is not None, path


def test_sources_of_secrets_have_the_same_settings(tmp_path: Path) -> None:
    """Keys, webhook secrets and the manager's key come from a secret or a file."""
    settings = loaded(
        tmp_path,
        GOOD + WEBHOOK.replace('secret_id = "dev/flownally/webhook"', 'file = "/a"'),
    )

    assert settings.webhooks["inbox"].file == Path("/a")
    assert settings.webhooks["inbox"].secret_id is None


def test_an_operation_is_text_or_a_table(tmp_path: Path) -> None:
    """A table notes the scopes that the API asks for."""
    allow = '["GET /a", {operation = "POST /a", scopes = ["a:write"]}]'

    upstream = loaded(
        tmp_path, GOOD.replace("base_url", f"allow = {allow}\nbase_url", 1)
    ).upstreams["flownally"]

    assert [(o.operation, o.scopes) for o in upstream.allow or ()] == [
        ("GET /a", ()),
        ("POST /a", ("a:write",)),
    ]


def test_deny_can_be_emptied(tmp_path: Path) -> None:
    """Who means it can let every call through."""
    text = GOOD.replace("base_url", "deny = []\nbase_url", 1)

    assert loaded(tmp_path, text).upstreams["flownally"].deny == ()


def test_the_name_of_a_header_and_the_bare_key(tmp_path: Path) -> None:
    """APIs that take `X-Api-Key: <key>`."""
    text = GOOD + 'header = "X-Api-Key"\nscheme = ""\n'

    credential = loaded(tmp_path, text).upstreams["flownally"].credential
    assert (credential.header, credential.scheme) == ("X-Api-Key", "")
