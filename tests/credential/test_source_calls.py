"""The questions of a manager: each ends in exactly one event."""

import asyncio
from collections.abc import Callable

import pytest

from sidecar.core.keylife.messages import (
    Described,
    Event,
    Failed,
    InvalidValue,
    Loaded,
    Probed,
    VersionStage,
)
from sidecar.core.secrecy.secret import Credential, Secret, SecretRules, digest_of
from sidecar.credential.probe import Prober
from sidecar.credential.reporter import CredentialReporter
from sidecar.credential.source_calls import SourceCalls
from sidecar.errors import RefreshResult
from tests.support.simulation import EPOCH, FakeMetrics, FakeSource
from tests.support.virtual_clock import live

KEY = Credential(Secret("key-v1"), b"", 1, "v1", "v1")


def jobs(source: FakeSource, probe: Prober | None = None) -> SourceCalls:
    """Make jobs of a source."""
    reporter = CredentialReporter(
        "flownally",
        source.kind,
        None,
        FakeMetrics(),
        lambda: EPOCH,
        lambda: 0,
    )
    return SourceCalls(source, probe, SecretRules(), reporter, lambda: 7.0)


def stored(value: str | bytes = "key-v1", kind: str = "secrets_manager") -> FakeSource:
    """A source with one value."""
    source = FakeSource(kind)
    source.put("0123456789", value)
    return source


def test_versions_are_described() -> None:
    """With the time of the answer."""
    event = live(jobs(stored()).describe())

    assert event == Described(7.0, "0123456789", None)


@pytest.mark.parametrize(
    ("kind", "fingerprint"),
    [("secrets_manager", "01234567"), ("file", digest_of("key-v1"))],
)
def test_a_value_is_made_ready_to_be_sent(kind: str, fingerprint: str) -> None:
    """Once, when it is loaded."""
    event = live(jobs(stored(kind=kind)).fetch(VersionStage.CURRENT))

    assert isinstance(event, Loaded)
    assert event.credential.header_line == b"Authorization: Bearer key-v1\r\n"
    assert event.credential.fingerprint == fingerprint
    assert event.credential.version_id == "0123456789"
    assert event.credential.created == EPOCH


@pytest.mark.parametrize("value", ["Bearer key-v1", b"\x00"])
def test_a_value_that_breaks_a_rule_is_invalid(value: str | bytes) -> None:
    """And the rule is remembered for the status."""
    job = jobs(stored(value))
    event = live(job.fetch(VersionStage.CURRENT))

    assert event == InvalidValue(7.0, VersionStage.CURRENT, "0123456789")
    assert job.failure is not None


def test_a_previous_value_that_is_invalid_or_away_is_no_trouble_of_the_key() -> None:
    """The status is about AWSCURRENT."""
    source = stored("key-v1")
    source.put("v2", "Bearer x")
    source.put("v3", "key-v3")
    job = jobs(source)
    spoiled = live(job.fetch(VersionStage.PREVIOUS))
    source.outage = RefreshResult.DENIED
    away = live(job.fetch(VersionStage.PREVIOUS))

    assert isinstance(spoiled, InvalidValue)
    assert away == Failed(7.0, VersionStage.PREVIOUS, RefreshResult.DENIED)
    assert job.failure is None


@pytest.mark.parametrize(
    "ask", [SourceCalls.describe, lambda job: job.fetch(VersionStage.CURRENT)]
)
@pytest.mark.parametrize("fault", ["outage", "hangs", "error"])
def test_a_source_that_does_not_answer_has_failed(
    ask: Callable[[SourceCalls], object], fault: str
) -> None:
    """In time, whatever it does."""
    source = stored()
    source.outage = RefreshResult.UNREACHABLE if fault == "outage" else None
    source.hangs = fault == "hangs"
    source.error = KeyError("x") if fault == "error" else None

    async def story() -> tuple[Event, float]:
        asked = ask(jobs(source))
        assert asyncio.iscoroutine(asked)
        return await asked, asyncio.get_running_loop().time()

    event, waited = live(story())

    assert isinstance(event, Failed)
    assert event.result is RefreshResult.UNREACHABLE
    assert waited <= 8.1


@pytest.mark.parametrize("proved", [True, False, None])
def test_a_probe_ends_in_what_it_found(proved: bool | None) -> None:
    """For the key that it was asked about."""

    async def probe(credential: Credential) -> bool | None:
        assert credential is KEY
        return proved

    event = live(jobs(stored(), probe).probe(KEY))

    assert event == Probed(7.0, KEY, proved)


def test_without_a_probe_there_is_no_answer() -> None:
    """No one should have asked."""
    event = live(jobs(stored()).probe(KEY))

    assert event == Probed(7.0, KEY, None)


def test_a_source_that_cannot_say_whether_it_moved_has_not() -> None:
    """The next refresh will tell."""
    source = stored()
    source.error = OSError("x")

    assert live(jobs(source).moved()) is False
