"""A manager with real sources: real botocore over HTTP, real files, real time."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.keylife.messages import (
    Replay,
    State,
)
from sidecar.core.secrecy.secret import Credential
from sidecar.credential.manager import CredentialManager
from sidecar.credential.sources.base import Source
from sidecar.credential.sources.file import FileSource
from sidecar.credential.sources.secrets_manager import SecretsManagerSource
from sidecar.emulator.aws import AwsClient, environment
from sidecar.errors import RefreshResult
from sidecar.settings.tables import CredentialSettings
from tests.support.faulty_aws import AwsFault, FaultyAws
from tests.support.simulation import FakeMetrics
from tests.support.waiting import until

NAME = "prod/flownally/crm-sync"


@pytest.fixture(name="aws_environment", autouse=True)
def _aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's AWS set-up reaches the tests."""
    for name, value in environment({}).items():
        monkeypatch.setenv(name, value)


def secrets(endpoint: str) -> SecretsManagerSource:
    """The secret, through an address."""
    return SecretsManagerSource(
        NAME,
        region="eu-west-1",
        endpoint_url=endpoint,
        now=time.time,
        on_call=lambda *_: None,
    )


@asynccontextmanager
async def managed(
    source: Source, metrics: FakeMetrics, credential: CredentialSettings | None = None
) -> AsyncIterator[CredentialManager]:
    """Run a manager of a source."""
    manager = CredentialManager(
        "flownally",
        credential or CredentialSettings(secret_id=NAME),
        source,
        rotate_every_days=None,
        probe=None,
        metrics=metrics,
        on_secrets=lambda _: None,
        now=time.time,
        monotonic=time.monotonic,
        jitter=random.random,
    )
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        running = group.create_task(manager.run())
        stack.callback(running.cancel)
        yield manager


def serves(
    manager: CredentialManager, key: str
) -> Callable[[], Coroutine[Any, Any, bool]]:
    """Return a question whether a manager gives out this key."""

    async def ask() -> bool:
        current = manager.current
        return current is not None and current.secret.reveal() == key

    return ask


async def test_a_rotation_at_secrets_manager_is_taken_up(moto: AwsClient) -> None:
    """First key, staged key, promoted key; and a refetch for a 401."""
    first = moto.put_secret(NAME, "key-1")
    metrics = FakeMetrics()
    async with managed(secrets(moto.endpoint), metrics) as manager:
        used = await manager.wait(10)
        moto.stage(NAME, "key-2")
        staged = await manager.refresh()
        second = moto.rotate(NAME, "key-3")
        assert used is not None
        verdict = manager.challenge(used)
        assert isinstance(verdict, asyncio.Future)
        replay = await verdict

        assert used.version_id == first
        assert staged is RefreshResult.UNCHANGED
        assert isinstance(replay, Replay)
        assert replay.credential is manager.current
        assert replay.credential.version_id == second
        assert replay.credential.header_line == b"Authorization: Bearer key-3\r\n"
        assert manager.status.fingerprint == second[:8]
        assert metrics.refreshes == {"changed": 2, "unchanged": 1}


FAULTS = [
    (AwsFault(error="AccessDeniedException"), "denied", "AWS denies"),
    (AwsFault(error="DecryptionFailure"), "denied", "KMS"),
    (AwsFault(error="ExpiredTokenException"), "denied", "expired"),
    (AwsFault(error="ThrottlingException"), "throttled", "throttles"),
    (AwsFault(error="InternalServiceError", status=500), "unreachable", "500"),
    (AwsFault(error="ResourceNotFoundException"), "not_found", "does not exist"),
    (AwsFault(error="InvalidRequestException"), "not_found", "deletion"),
    (AwsFault(body=b""), "unreachable", "unreadable"),
    (AwsFault(cut=True), "unreachable", "AWS"),
]


@pytest.mark.parametrize(
    ("fault", "result", "told"),
    [
        pytest.param(*row, id=row[0].error or ("cut" if row[0].cut else "empty"))
        for row in FAULTS
    ],
)
@pytest.mark.parametrize("begun", [True, False], ids=["serving", "starting"])
async def test_whatever_aws_answers_is_counted_reported_and_survived(
    faulty_aws: FaultyAws,
    moto: AwsClient,
    caplog: pytest.LogCaptureFixture,
    fault: AwsFault,
    result: str,
    told: str,
    begun: bool,
) -> None:
    """The number, the line, the status; the last good key serves, if there is one."""
    caplog.set_level(logging.WARNING)
    moto.put_secret(NAME, "key-1")
    metrics = FakeMetrics()
    if not begun:
        faulty_aws.fail(fault)
    async with managed(secrets(faulty_aws.endpoint), metrics) as manager:
        if begun:
            await manager.wait(10)
            faulty_aws.fail(fault)
        await manager.refresh()
        status = manager.status
        current = manager.current
        faulty_aws.fail()
        await manager.wait(10)
        await manager.refresh()

        assert metrics.refreshes[result] >= 1
        assert status.state is (State.STALE if begun else State.MISSING)
        assert (current is not None) is begun
        assert told in (status.last_error or "")
        assert status.remedy
        assert any(told in line for line in caplog.messages)
        assert "key-1" not in caplog.text
        assert manager.status.state is State.FRESH
        assert manager.status.last_error is None


VALUES = [
    ("Bearer abc", "begins with Bearer"),
    ("fln_test_abc", "begin with fln_live_"),
    ("replace_with_key", "placeholder"),
    ("fln_live_a b", "a space"),
    (b"fln_live_abc", "binary"),
]


@pytest.mark.parametrize(
    ("value", "told"), [pytest.param(*row, id=row[1].split()[-1]) for row in VALUES]
)
async def test_whatever_breaks_a_rule_is_reported_and_never_used(
    moto: AwsClient, value: str | bytes, told: str
) -> None:
    """The rule by its name, the key before it in use."""
    moto.put_secret(NAME, "fln_live_good")
    metrics = FakeMetrics()
    credential = CredentialSettings(secret_id=NAME, key_prefix="fln_live_")
    async with managed(secrets(moto.endpoint), metrics, credential) as manager:
        used = await manager.wait(10)
        if isinstance(value, bytes):
            moto.secrets.put_secret_value(SecretId=NAME, SecretBinary=value)
        else:
            moto.secrets.put_secret_value(SecretId=NAME, SecretString=value)
        result = await manager.refresh()
        again = await manager.refresh()

        assert result is RefreshResult.INVALID
        assert again is RefreshResult.INVALID
        assert manager.current is used
        assert manager.status.state is State.REJECTED
        assert told in (manager.status.last_error or "")


async def test_a_file_that_is_swapped_is_in_use_within_two_seconds(
    tmp_path: Path,
) -> None:
    """Bounded by the poll, not by the refresh of five minutes."""
    path = tmp_path / "key"
    _put(path, "key-1")
    async with managed(FileSource(path), FakeMetrics()) as manager:
        await manager.wait(10)
        first: Credential | None = manager.current
        _put(path, "key-2")
        await until(serves(manager, "key-2"))

        assert first is not None
        assert manager.status.source == "file"
        assert manager.status.previous == first.fingerprint


def _put(path: Path, key: str) -> None:
    """Move a file with a key into place."""
    new = path.with_suffix(".new")
    new.write_text(key)
    new.chmod(0o400)
    new.replace(path)
