"""
The questions that a keeper asks: each ends in time, in exactly one event.

This is the outermost place for what a source or a probe may raise: an error that
nobody foresaw is an unanswered question, told by its type, and not the end of the
process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from sidecar.core.keylife.commands import Describe, Fetch, Probe
from sidecar.core.keylife.messages import (
    Described,
    Event,
    Failed,
    InvalidValue,
    Loaded,
    Probed,
    VersionStage,
)
from sidecar.core.secrecy.secret import (
    Credential,
    SecretRules,
    digest_of,
    fingerprint_of,
    header_line,
    parse_secret,
)
from sidecar.credential.reporter import CredentialReporter
from sidecar.credential.sources.base import Fetched, Source
from sidecar.errors import RefreshResult, SecretRejected, SidecarError, SourceFailed

SOURCE_SECONDS: Final = 8.0
"""For a question to the source: longer than the source's own limits."""
PROBE_SECONDS: Final = 5.0

T = TypeVar("T")


class Prober(Protocol):
    """Asks the API about a key."""

    async def __call__(self, credential: Credential) -> bool | None:
        """Return True: proven; False: refused with 401; None: no answer."""


class SourceCalls:
    """Asks the source and the API."""

    def __init__(
        self,
        source: Source,
        probe: Prober | None,
        rules: SecretRules,
        narrator: CredentialReporter,
        monotonic: Callable[[], float],
    ) -> None:
        self._source = source
        self._probe = probe
        self._rules = rules
        self._narrator = narrator
        self._at = monotonic
        self.failure: SourceFailed | SecretRejected | None = None
        """Why the last value could not be had; the keeper drops it."""

    def begin(self, question: Describe | Fetch | Probe) -> Coroutine[Any, Any, Event]:
        """Ask this question."""
        match question:
            case Describe():
                return self.describe()
            case Fetch():
                return self.fetch(question.stage)
            case Probe():
                return self.probe(question.credential)

    async def describe(self) -> Event:
        """Ask for the versions."""
        try:
            versions = await self._ask("describe", self._source.describe())
        except SourceFailed as failed:
            return self._failed(None, failed)
        return Described(self._at(), versions.current, versions.previous)

    async def fetch(self, stage: VersionStage) -> Event:
        """Ask for a value, and check it."""
        try:
            fetched = await self._ask("fetch", self._source.fetch(stage))
        except SourceFailed as failed:
            return self._failed(stage, failed)
        try:
            credential = self._credential(fetched)
        except SecretRejected as rejected:
            if stage is VersionStage.CURRENT:
                self.failure = rejected
            return InvalidValue(self._at(), stage, fetched.version_id)
        return Loaded(self._at(), stage, credential)

    async def probe(self, credential: Credential) -> Event:
        """Ask the API about a key."""
        proved: bool | None = None
        if self._probe is not None:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    proved = await self._probe(credential)
            except TimeoutError:
                proved = None
            except Exception as unforeseen:  # noqa: BLE001 - see the top of the file
                self._narrator.broken("probe", unforeseen)
        return Probed(self._at(), credential, proved)

    async def moved(self) -> bool:
        """Ask whether a look is worth the while."""
        try:
            return await self._ask("moved", self._source.moved())
        except SidecarError:
            return False

    async def _ask(self, job: str, question: Awaitable[T]) -> T:
        """Wait for an answer, not for ever; raises `SourceFailed` only."""
        unreachable = RefreshResult.UNREACHABLE
        try:
            async with asyncio.timeout(SOURCE_SECONDS):
                return await question
        except TimeoutError:
            reason = "the source did not answer in time"
            failed = SourceFailed(unreachable, reason, "see its status and the network")
        except SourceFailed:
            raise
        except Exception as unforeseen:  # noqa: BLE001 - see the top of the file
            self._narrator.broken(job, unforeseen)
            failed = SourceFailed(unreachable, "the source failed in an unknown way")
        raise failed

    def _failed(self, stage: VersionStage | None, failed: SourceFailed) -> Event:
        """Note why the source gave nothing."""
        if stage is not VersionStage.PREVIOUS:
            self.failure = failed
        return Failed(self._at(), stage, failed.result)

    def _credential(self, fetched: Fetched) -> Credential:
        """Make a value ready to be sent. Raises `SecretRejected`."""
        secret = parse_secret(fetched.raw, self._rules)
        version = fetched.version_id
        if self._source.kind == "file":
            version = fingerprint = digest_of(secret.reveal())
        else:
            fingerprint = fingerprint_of(version)
        return Credential(
            secret=secret,
            header_line=header_line(self._rules, secret),
            generation=0,  # numbered when it comes into use
            version_id=fetched.version_id,
            fingerprint=fingerprint,
            created=fetched.created,
        )
