"""Loading: one wrong thing at a time, then everything at once."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from sidecar.errors import SettingsInvalid
from sidecar.settings.introspection import settings_of
from sidecar.settings.loading import load
from sidecar.settings.model import Settings
from tests.support.settings_files import (
    CREDENTIAL,
    GOOD,
    JOB,
    UPSTREAM,
    WEBHOOK,
    loaded,
    problems,
    reasons,
)

LIMITS = "[upstreams.flownally.limits]\n"
SECRET = "fln_live_0123456789abcdef0123456789abcdef"


def test_a_good_file_loads(tmp_path: Path) -> None:
    """And nothing is said about it."""
    assert loaded(tmp_path).upstreams["flownally"].credential.secret_id == (
        "dev/flownally/crm-sync"
    )


def test_settings_are_frozen(tmp_path: Path) -> None:
    """Nothing changes them after the start."""
    settings = loaded(tmp_path)

    with pytest.raises(FrozenInstanceError):
        settings.log.level = "debug"  # type: ignore[misc]  # that is the test
    with pytest.raises(FrozenInstanceError):
        settings.upstreams["flownally"].base_url = "x"  # type: ignore[misc]  # same


def test_settings_read_no_environment_by_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only what `load` is given counts."""
    monkeypatch.setenv("SIDECAR_LOG__LEVEL", "error")

    assert loaded(tmp_path).log.level == "info"


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        pytest.param(GOOD + '[logs]\nlevel = "info"', "logs", "mean log?", id="table"),
        pytest.param(GOOD + "[log]\nlevl = 1", "log.levl", "mean level?", id="key"),
        pytest.param(
            GOOD + "refresh = 1",
            "upstreams.flownally.credential.refresh",
            "mean refresh_seconds?",
            id="deep-key",
        ),
        pytest.param(
            UPSTREAM + "credentials = 1\n" + CREDENTIAL + JOB,
            "upstreams.flownally.credentials",
            "mean credential?",
            id="nearest-is-a-table",
        ),
        pytest.param(
            GOOD + "zzzz = 1", "upstreams.flownally.credential.zzzz", "", id="far"
        ),
        pytest.param(
            GOOD + f'api_key = "{SECRET}"',
            "upstreams.flownally.credential.api_key",
            "stay out of settings",
            id="key-in-settings",
        ),
        pytest.param(
            f'token = "{SECRET}"\n' + GOOD, "token", "stay out of settings", id="token"
        ),
        pytest.param("_env_file = 1\n" + GOOD, "_env_file", "not a setting", id="init"),
        pytest.param(
            "_build_sources = []\n" + GOOD, "_build_sources", "not a", id="init-sources"
        ),
        pytest.param(
            "upstreams = 5\n" + JOB, "upstreams", "table", id="number-as-table"
        ),
        pytest.param(
            JOB + "[upstreams]\nflownally = 5",
            "upstreams.flownally",
            "table",
            id="entry",
        ),
        pytest.param("log = 5\n" + GOOD, "log", "table", id="number-as-section"),
        pytest.param(
            GOOD + "secret_idd = 1\n[log]\nlevel = 5",
            "log.level",
            "'debug'",
            id="choice",
        ),
        pytest.param(
            GOOD + LIMITS + 'max_connections = "many"',
            "upstreams.flownally.limits.max_connections",
            "whole number",
            id="text-as-number",
        ),
        pytest.param(
            GOOD + LIMITS + "max_connections = 1.5",
            "upstreams.flownally.limits.max_connections",
            "whole number",
            id="half",
        ),
        pytest.param(
            GOOD + LIMITS + "max_connections = true",
            "upstreams.flownally.limits.max_connections",
            "number",
            id="true-as-number",
        ),
        pytest.param(
            GOOD + LIMITS + "queue_seconds = nan",
            "upstreams.flownally.limits.queue_seconds",
            "must be",
            id="nan",
        ),
        pytest.param(
            GOOD + LIMITS + "max_body_bytes = inf",
            "upstreams.flownally.limits.max_body_bytes",
            "number",
            id="inf",
        ),
        pytest.param(
            GOOD + "[drain]\ntimeout_seconds = []",
            "drain.timeout_seconds",
            "number",
            id="list-as-number",
        ),
        pytest.param(
            GOOD.replace('"dev/flownally/crm-sync"', "5"),
            "upstreams.flownally.credential.secret_id",
            "text",
            id="number-as-text",
        ),
        pytest.param(
            GOOD.replace('base_url = "', 'allow = "GET /a"\nbase_url = "'),
            "upstreams.flownally.allow",
            "list",
            id="text-as-list",
        ),
        pytest.param(
            GOOD.replace('base_url = "', 'allow = ["GET a"]\nbase_url = "'),
            "upstreams.flownally.allow[0].operation",
            "METHOD /path",
            id="item",
        ),
        pytest.param(
            GOOD.replace(
                'base_url = "', 'allow = [{operation="GET /a", scope=[]}]\nbase_url = "'
            ),
            "upstreams.flownally.allow[0].scope",
            "mean scopes?",
            id="key-of-item",
        ),
        pytest.param(
            GOOD + 'file = "/run/key"',
            "upstreams.flownally.credential.secret_id",
            "not both",
            id="both-sources",
        ),
        pytest.param(
            GOOD.replace("secret_id", "header"),
            "upstreams.flownally.credential.secret_id",
            "exactly one",
            id="no-source",
        ),
        pytest.param(
            JOB + UPSTREAM,
            "upstreams.flownally.credential.secret_id",
            "exactly one",
            id="no-credential",
        ),
        pytest.param(
            GOOD.replace("[upstreams.flownally]", "[upstreams.Flownally]").replace(
                "[upstreams.flownally.", "[upstreams.Flownally."
            ),
            "upstreams.Flownally",
            "a name is",
            id="capital",
        ),
        pytest.param(
            GOOD.replace(
                "[upstreams.flownally]", "[upstreams.flownally]\nallow_uids=[1]"
            ),
            "upstreams.flownally.allow_uids",
            "Unix socket",
            id="uids-by-tcp",
        ),
        pytest.param(
            GOOD.replace(
                "[upstreams.flownally]",
                '[upstreams.flownally]\nlisten="unix:/a"\nallow_uids=[-1]',
            ),
            "upstreams.flownally.allow_uids",
            "negative",
            id="negative-uid",
        ),
        pytest.param(
            GOOD.replace(
                "[upstreams.flownally]", '[upstreams.flownally]\nlisten="0.0.0.0:1"'
            ),
            "upstreams.flownally.listen",
            "loopback",
            id="not-loopback",
        ),
        pytest.param(
            GOOD.replace("https://", "http://"),
            "upstreams.flownally.base_url",
            "https://",
            id="http",
        ),
        pytest.param(
            GOOD.replace("dev/flownally/crm-sync", SECRET),
            "upstreams.flownally.credential.secret_id",
            "looks like a key",
            id="key-as-name",
        ),
        pytest.param(
            GOOD + 'header = "Host"',
            "upstreams.flownally.credential.header",
            "cannot carry",
            id="header",
        ),
        pytest.param(
            GOOD + 'probe = "POST /a"',
            "upstreams.flownally.credential.probe",
            "safe",
            id="probe",
        ),
        pytest.param(
            GOOD + "refresh_seconds = 0",
            "upstreams.flownally.credential.refresh_seconds",
            "at least 0.1",
            id="too-small",
        ),
        pytest.param(
            GOOD + LIMITS + "max_header_bytes = 99999999999999999999",
            "upstreams.flownally.limits.max_header_bytes",
            "at most 1048576",
            id="too-large",
        ),
        pytest.param(
            GOOD + '[job.x]\ny="z"', "job.x", "not a setting", id="extra-table"
        ),
        pytest.param(
            GOOD.replace("development-crm-sync", "crm"),
            "job.name",
            "words",
            id="job-name",
        ),
        pytest.param(
            GOOD + WEBHOOK.replace("http:", "https:"),
            "webhooks.inbox.forward_to",
            "this machine",
            id="forward-to",
        ),
        pytest.param(
            GOOD + WEBHOOK + 'dedupe = "redis"',
            "webhooks.inbox.dedupe",
            "memory or dynamodb:TABLE",
            id="dedupe",
        ),
        pytest.param(
            GOOD + '[aws]\nregion = "Ireland"', "aws.region", "AWS region", id="region"
        ),
        pytest.param(
            GOOD + '[admin]\nlisten = "unix:/a"',
            "admin.listen",
            "host:port",
            id="admin",
        ),
        pytest.param(
            GOOD + "[rotation]\n",
            "rotation.service_account_id",
            "required",
            id="rotation",
        ),
        pytest.param(
            GOOD + '[rotation]\nservice_account_id=""\n',
            "rotation.service_account_id",
            "empty",
            id="empty",
        ),
        pytest.param(
            GOOD.replace('"development"', '"moon"'),
            "job.environment",
            "'production'",
            id="environment",
        ),
        pytest.param(
            GOOD + "file = 5",
            "upstreams.flownally.credential.file",
            "path of a file",
            id="number-as-path",
        ),
        pytest.param("", "job.name", "required", id="empty-file"),
        pytest.param("", "upstreams", "nothing to do", id="nothing-to-do"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, path: str, rule: str
) -> None:
    """By the path of the file and the rule, without the value."""
    found = reasons(tmp_path, text)

    assert rule in found[path]
    assert SECRET not in str(found)


def test_a_problem_has_an_example_that_would_do(tmp_path: Path) -> None:
    """In the spelling of the file."""
    (problem,) = problems(tmp_path, GOOD.replace("https://", "http://"))

    assert problem.example == '"https://api.flownally.com/v1"'
    assert str(problem).startswith("upstreams.flownally.base_url: must begin with")


EVERYTHING_WRONG = f"""
[job]
name = "backend"
environment = "production"
ownr = "x"
[upstreams.flownally]
listen = "0.0.0.0:8700"
base_url = "http://user:{SECRET}@api.flownally.com/v1"
allow = ["{SECRET}", 5]
[upstreams.flownally.credential]
secret_id = "{SECRET}"
file = "/x"
key_prefix = "fln_test_"
api_key = "{SECRET}"
refresh_seconds = "{SECRET}"
[upstreams.flownally.limits]
max_connections = true
[upstreams.other]
listen = "127.0.0.1:8701"
[webhooks.inbox]
forward_to = "https://elsewhere.example"
[admn]
x = 1
"""


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """Fixing one setting per start would take a day."""
    environ = {
        "SIDECAR_PROT": SECRET,
        "SIDECAR_LOG__LEVEL": SECRET,
        "SSLKEYLOGFILE": "/tmp/keys",
    }

    found = problems(tmp_path, EVERYTHING_WRONG, environ)

    assert {problem.path for problem in found} == {
        "SIDECAR_PROT",
        "SSLKEYLOGFILE",
        "admin.listen",
        "admn",
        "job.name",
        "job.ownr",
        "log.level",
        "upstreams.flownally.allow[0].operation",
        "upstreams.flownally.allow[1]",
        "upstreams.flownally.base_url",
        "upstreams.flownally.credential.api_key",
        "upstreams.flownally.credential.key_prefix",
        "upstreams.flownally.credential.refresh_seconds",
        "upstreams.flownally.credential.secret_id",
        "upstreams.flownally.limits.max_connections",
        "upstreams.flownally.listen",
        "upstreams.other.base_url",
        "upstreams.other.credential.secret_id",
        "webhooks.inbox.forward_to",
        "webhooks.inbox.secret_id",
    }
    assert SECRET not in str(SettingsInvalid(found))
    assert SECRET not in repr(SettingsInvalid(found))


def test_no_traceback_of_a_problem_holds_the_value(tmp_path: Path) -> None:
    """Pydantic's own error, which keeps its input, is not chained."""
    with pytest.raises(SettingsInvalid) as caught:
        loaded(tmp_path, EVERYTHING_WRONG)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (f"[job]\nname = {SECRET}".encode(), "is not TOML: line 2"),
        (f'[job]\nname = "{SECRET}'.encode(), "is not TOML: end of document"),
        (b"[job]\n[job]\n", "is not TOML: line 2"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"a = \xff", "UTF-8"),
        (b"#" * (1 << 20) + b"#", "larger"),
    ],
)
def test_a_file_that_is_no_settings_file(
    tmp_path: Path, data: bytes, rule: str
) -> None:
    """The place is told, not what stands there."""
    file = tmp_path / "x.toml"
    file.write_bytes(data)

    with pytest.raises(SettingsInvalid) as caught:
        load(file, {})

    (problem,) = caught.value.problems
    assert problem.path == str(file)
    assert rule in problem.reason
    assert SECRET not in problem.reason
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "rule"), [("none.toml", "No such file"), ("", "directory")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, rule: str) -> None:
    """The system's reason is told."""
    with pytest.raises(SettingsInvalid, match=rule):
        load(tmp_path / name, {})


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1", "SIDECAR_AWS__REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": "eu-west-1", "SIDECAR_AWS__REGION": ""}, "eu-west-1"),
        ({"AWS_REGION": ""}, None),
        ({}, None),
    ],
)
def test_the_region_comes_from_either_variable(
    tmp_path: Path, environ: dict[str, str], region: str | None
) -> None:
    """boto3 reads AWS_DEFAULT_REGION only; pods have AWS_REGION."""
    assert loaded(tmp_path, GOOD, environ).aws.region == region


def test_the_region_of_the_file_wins(tmp_path: Path) -> None:
    """What is set for the sidecar is meant more than what is set for everything."""
    text = GOOD + '[aws]\nregion = "eu-west-3"\n'

    assert loaded(tmp_path, text, {"AWS_REGION": "eu-west-1"}).aws.region == "eu-west-3"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.text() | st.sampled_from(
    [
        "flownally",
        "name",
        "listen",
        "base_url",
        "allow",
        "credential",
        "limits",
        "level",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(settings_of(Settings))), VALUES))
def test_hostile_settings_raise_nothing_else(values: dict[str, object]) -> None:
    """Whatever the shape, it is problems: never an exception that hides them."""
    environ = {
        f"SIDECAR_{name.upper()}": json.dumps(value) for name, value in values.items()
    }

    with pytest.raises(SettingsInvalid):
        load(None, environ)
