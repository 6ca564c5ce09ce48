"""Secrets: reachable, well-formed, recorded; every way in which AWS can say no."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.commands.checks import secret as checks
from sidecar.commands.checks.finding import Level
from sidecar.commands.checks.secret import SecretReading, check_record, read_secret
from sidecar.core.secrecy.secret import SecretRules
from sidecar.credential.sources.base import Fetched, Versions
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit, RefreshResult, SourceFailed
from sidecar.rotation.assemble import tags_of
from sidecar.settings.tables import AwsSettings, SecretSettings
from sidecar.wiring import source_of
from tests.support.check_findings import by_name, levels, settings_with
from tests.support.faulty_aws import AwsFault, FaultyAws

KEY = "fln_test_0123456789abcdef0123456789abcdef"
RULES = SecretRules()
DAY = 86400.0
NOW = 1_800_000_000.0
ROTATOR_POLICY = Path(__file__).parents[3] / "config" / "iam" / "rotator.json"


@dataclass
class FakeSource:
    """A source that says what it is told to."""

    raw: str | bytes = KEY
    failure: SourceFailed | None = None
    hang: bool = False
    closed: bool = field(default=False, init=False)
    kind: str = "fake"
    poll_seconds: float | None = None

    async def describe(self) -> Versions:
        """Name one version, fail or hang."""
        if self.hang:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return Versions("0123456789abcdef")

    async def fetch(self, stage: str) -> Fetched:
        """Give the value."""
        assert stage == "AWSCURRENT"
        return Fetched(self.raw, "0123456789abcdef", NOW)

    async def moved(self) -> bool:
        """Never."""
        return False

    async def close(self) -> None:
        """Note it."""
        self.closed = True


async def test_a_secret_that_is_a_key() -> None:
    """Its version is told by eight characters, its value is kept for the probe."""
    source = FakeSource()

    reading = await read_secret("x", "dev/flownally", source, RULES)

    assert levels(reading.findings) == {"x": Level.OK, "x shape": Level.OK}
    assert reading.findings[0].detail == "dev/flownally, version 01234567"
    assert reading.value is not None
    assert reading.value.reveal() == KEY
    assert source.closed


async def test_a_source_that_fails() -> None:
    """In its own words, exit code 3."""
    failure = SourceFailed(RefreshResult.DENIED, "AWS denies it", "allow it")
    source = FakeSource(failure=failure)

    reading = await read_secret("x", "dev/flownally", source, RULES)

    (found,) = reading.findings
    assert (found.level, found.exit) == (Level.FAIL, Exit.CREDENTIAL)
    assert (found.detail, found.remedy) == ("AWS denies it", "allow it")
    assert source.closed


async def test_a_source_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up."""
    monkeypatch.setattr(checks, "READ_SECONDS", 0.01)
    source = FakeSource(hang=True)

    reading = await read_secret("x", "dev/flownally", source, RULES)

    assert by_name(reading.findings, "x").detail == "no answer"
    assert source.closed


@pytest.mark.parametrize(
    ("raw", "rules", "rule"),
    [
        ("", RULES, "empty"),
        (f"Bearer {KEY}", RULES, "begins with Bearer"),
        (f"{KEY}\r\nX: y", RULES, "line break"),
        ("replace_with_key", RULES, "placeholder"),
        (b"\xff\x00", RULES, "binary"),
        (KEY, SecretRules(key_prefix="fln_live_"), "does not begin with fln_live_"),
        (KEY, SecretRules(json_key="api_key"), "no JSON object"),
        ('{"other": "x"}', SecretRules(json_key="api_key"), "no member api_key"),
        ('{"api_key": 5}', SecretRules(json_key="api_key"), "not a string"),
    ],
)
async def test_a_secret_that_is_no_key(
    raw: str | bytes, rules: SecretRules, rule: str
) -> None:
    """It was reached; its shape is wrong; the value is not told."""
    reading = await read_secret("x", "dev/flownally", FakeSource(raw), rules)

    assert levels(reading.findings) == {"x": Level.OK, "x shape": Level.FAIL}
    shape = by_name(reading.findings, "x shape")
    assert rule in shape.detail
    assert shape.remedy
    assert shape.exit is Exit.CREDENTIAL
    assert reading.value is None
    assert KEY not in str(reading)


def test_a_look_does_not_show_its_value() -> None:
    """Not in `repr` either."""
    assert KEY not in repr(SecretReading("x", [], None))


def looked_at(
    tags: dict[str, str] | None = None,
    pending: str | None = None,
    created: float | None = NOW,
) -> SecretReading:
    """Give a look at a secret in AWS."""
    versions = Versions("current", pending=pending, tags=tags or {})
    return SecretReading("x", [], None, versions, created)


def test_tags_that_tell_the_job() -> None:
    """Owner and schedule are recorded where the key is."""
    settings = settings_with(job={"owner": "crm", "rotate_every_days": 90})
    secret = settings.upstreams["flownally"].credential
    tags = tags_of(settings.job) | {"cost-centre": "7"}

    found = by_name(check_record(looked_at(tags), settings, secret, NOW), "x tags")

    assert tags_of(settings.job) == {
        "service": "development-crm-sync",
        "environment": "development",
        "owner": "crm",
        "rotate-every-days": "90",
    }
    assert found.level is Level.OK


def test_the_rotator_role_may_set_every_tag() -> None:
    """The policy names the tags of a job with all its settings, and no others."""
    settings = settings_with(job={"owner": "crm", "rotate_every_days": 90})
    policy = json.loads(ROTATOR_POLICY.read_text())

    (keys,) = (
        statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]
        for statement in policy["Statement"]
        if statement["Action"] == "secretsmanager:TagResource"
    )

    assert set(keys) == set(tags_of(settings.job))


def test_tags_that_tell_something_else() -> None:
    """The remedy is the command that sets them."""
    settings = settings_with(job={"owner": "crm"})
    secret = settings.upstreams["flownally"].credential
    tags = {"service": "development-crm-sync", "owner": "somebody"}

    found = by_name(check_record(looked_at(tags), settings, secret, NOW), "x tags")

    assert found.level is Level.WARN
    assert found.remedy == (
        "aws secretsmanager tag-resource --secret-id dev/flownally "
        "--tags Key=environment,Value=development Key=owner,Value=crm"
    )


@pytest.mark.parametrize(
    ("days", "every", "level"),
    [
        (0, None, Level.OK),
        (400, None, Level.OK),
        (89.9, 90, Level.OK),
        (90, 90, Level.WARN),
        (400, 90, Level.WARN),
    ],
)
def test_the_age_of_a_key(days: float, every: int | None, level: Level) -> None:
    """Against the schedule, where there is one."""
    settings = settings_with(job={"rotate_every_days": every})
    secret = settings.upstreams["flownally"].credential
    reading = looked_at(created=NOW - days * DAY)

    found = by_name(check_record(reading, settings, secret, NOW), "x age")

    assert found.level is level


def test_an_age_that_nobody_knows() -> None:
    """A source need not tell when a version was made."""
    settings = settings_with()
    secret = settings.upstreams["flownally"].credential

    found = levels(check_record(looked_at(created=None), settings, secret, NOW))

    assert "x age" not in found


@pytest.mark.parametrize(
    ("pending", "open_"), [(None, False), ("current", False), ("next", True)]
)
def test_a_rotation_that_did_not_end(pending: str | None, open_: bool) -> None:
    """The next run goes on where it stopped."""
    settings = settings_with()
    secret = settings.upstreams["flownally"].credential

    found = levels(check_record(looked_at(pending=pending), settings, secret, NOW))

    assert ("x rotation" in found) is open_


@pytest.mark.parametrize(
    ("mode", "level"),
    [(0o400, Level.OK), (0o640, Level.OK), (0o644, Level.WARN), (0o660, Level.WARN)],
)
def test_a_file_is_for_nobody_else(tmp_path: Path, mode: int, level: Level) -> None:
    """Its group may read it (fsGroup), and nobody else may do anything."""
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(mode)

    found = levels(
        check_record(
            SecretReading("x", []), settings_with(), SecretSettings(file=file), NOW
        )
    )

    assert found == {"x file": level}


def test_a_file_that_is_not_there_has_no_mode(tmp_path: Path) -> None:
    """That it is not there was found when it was looked for."""
    secret = SecretSettings(file=tmp_path / "none")

    assert (
        list(check_record(SecretReading("x", []), settings_with(), secret, NOW)) == []
    )


async def test_a_real_file(tmp_path: Path) -> None:
    """As a run reads it."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    source = source_of(SecretSettings(file=file), AwsSettings(), lambda *_: None)

    reading = await read_secret("x", str(file), source, RULES)

    assert levels(reading.findings) == {"x": Level.OK, "x shape": Level.OK}
    assert KEY not in str(reading)


@pytest.fixture(name="credentials")
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated AWS credentials, and nothing of the machine's."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("ResourceNotFoundException", "does not exist"),
        ("AccessDeniedException", "denies DescribeSecret"),
        ("KMSAccessDeniedException", "KMS"),
        ("DecryptionFailure", "KMS"),
        ("ExpiredTokenException", "have expired"),
        ("UnrecognizedClientException", "does not know"),
        ("ThrottlingException", "throttles"),
        ("InternalServiceError", "server error"),
    ],
)
async def test_what_aws_says_is_told_with_a_remedy(
    faulty_aws: FaultyAws, error: str, reason: str
) -> None:
    """By a real client, over real HTTP."""
    status = 500 if error == "InternalServiceError" else 400
    faulty_aws.fail(AwsFault(error, status))
    aws = AwsSettings(region="eu-west-1", endpoint_url=faulty_aws.endpoint)
    secret = SecretSettings(secret_id="dev/flownally")

    reading = await read_secret("x", "", source_of(secret, aws, lambda *_: None), RULES)

    (found,) = reading.findings
    assert reason in found.detail
    assert found.remedy
    assert found.exit is Exit.CREDENTIAL


@pytest.mark.usefixtures("credentials")
async def test_a_real_secret(moto: AwsClient) -> None:
    """With its tags and its age."""
    moto.put_secret("dev/flownally", KEY, {"service": "development-crm-sync"})
    settings = settings_with(aws={"region": "eu-west-1", "endpoint_url": moto.endpoint})
    secret = settings.upstreams["flownally"].credential
    source = source_of(secret, settings.aws, lambda *_: None)

    reading = await read_secret("x", "dev/flownally", source, RULES)

    assert reading.created is not None
    recorded = levels(check_record(reading, settings, secret, reading.created + 1))
    assert levels(reading.findings) == {"x": Level.OK, "x shape": Level.OK}
    assert recorded == {"x tags": Level.WARN, "x age": Level.OK}
