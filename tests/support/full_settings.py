"""Settings for the tests of the wiring; those of an upstream differ from their defaults."""

from pathlib import Path

from sidecar.settings.model import Settings
from tests.support.settings_files import loaded

EVERYTHING = """
[job]
environment = "staging"
name = "staging-crm-sync"
owner = "crm-platform"
rotate_every_days = 30

[upstreams.flownally]
listen = "127.0.0.1:0"
base_url = "https://api.flownally.com/v1"
allow = ["GET /contacts", { operation = "POST /contacts", scopes = ["contacts:write"] }]
deny = ["* /admin/**"]

[upstreams.flownally.credential]
secret_id = "staging/flownally/crm-sync"
json_key = "api_key"
key_prefix = "fln_test_"
header = "X-Api-Key"
scheme = ""
refresh_seconds = 11
max_stale_seconds = 12
probe = "HEAD /contacts?limit=1"

[upstreams.flownally.limits]
max_connections = 21
max_upstream_connections = 22
queue_seconds = 23
max_header_bytes = 2400
max_body_bytes = 25
replay_body_bytes = 26
connect_seconds = 27
header_seconds = 28
response_seconds = 29
idle_seconds = 30
keepalive_seconds = 31

[upstreams.local]
listen = "127.0.0.1:0"
base_url = "http://127.0.0.1:9/"

[upstreams.local.credential]
file = "/run/key"

[webhooks.inbox]
secret_id = "staging/flownally/webhook"
forward_to = "http://127.0.0.1:3000/hooks"
tolerance_seconds = 41
dedupe_seconds = 4200
max_body_bytes = 43
response_seconds = 44
refresh_seconds = 45
json_key = "secret"

[webhooks.copy]
secret_id = "staging/flownally/webhook"
forward_to = "http://127.0.0.1:3000/copy"
json_key = "secret"

[webhooks.other]
file = "/run/webhook"
forward_to = "http://127.0.0.1:3000/other"
dedupe = "dynamodb:ids"

[aws]
region = "eu-west-1"
endpoint_url = "http://127.0.0.1:4566"

[guard]
reflection = "off"
tripwire = "warn"
browser = "off"
forwarded = "strip"

[log]
access = "all"
"""


def everything(tmp_path: Path) -> Settings:
    """Load them."""
    return loaded(tmp_path, EVERYTHING)
