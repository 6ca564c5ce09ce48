"""
The calls to the source and the probe: each ends in time, in exactly one event.

An unexpected exception of a source or a probe is handled here, at the outermost place:
it counts as no answer, its type is logged, and the process goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

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
from sidecar.credential.probe import Prober
from sidecar.credential.reporter import CredentialReporter
from sidecar.credential.sources.base import Fetched, Source
from sidecar.errors import RefreshResult, SecretRejected, SidecarError, SourceFailed

SOURCE_SECONDS: Final = 8.0
"""Longer than the source's own timeouts."""
PROBE_SECONDS: Final = 5.0

T = TypeVar("T")


class SourceCalls:
    """Reads the source and probes keys."""

    def __init__(
        self,
        source: Source,
        probe: Prober | None,
        rules: SecretRules,
        reporter: CredentialReporter,
        monotonic: Callable[[], float],
    ) -> None:
        self._source = source
        self._probe = probe
        self._rules = rules
        self._reporter = reporter
        self._at = monotonic
        self.failure: SourceFailed | SecretRejected | None = None
        """Why there was no usable value of AWSCURRENT; the manager resets it."""

    async def describe(self) -> Event:
        """Read the versions."""
        try:
            versions = await self._limited("describe", self._source.describe())
        except SourceFailed as failed:
            return self._failed(None, failed)
        return Described(self._at(), versions.current, versions.previous)

    async def fetch(self, stage: VersionStage) -> Event:
        """Read a value and validate it."""
        try:
            fetched = await self._limited("fetch", self._source.fetch(stage))
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
        """Probe a key."""
        proved: bool | None = None
        if self._probe is not None:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    proved = await self._probe(credential)
            except TimeoutError:
                proved = None
            except Exception as error:  # noqa: BLE001 - see the top of the file
                self._reporter.call_failed("probe", error)
        return Probed(self._at(), credential, proved)

    async def moved(self) -> bool:
        """Return whether the source reports a change, so that a refresh is due."""
        try:
            return await self._limited("moved", self._source.moved())
        except SidecarError:
            return False

    async def _limited(self, call: str, answer: Awaitable[T]) -> T:
        """Await an answer of the source for a limited time. Raises `SourceFailed`."""
        unreachable = RefreshResult.UNREACHABLE
        try:
            async with asyncio.timeout(SOURCE_SECONDS):
                return await answer
        except TimeoutError:
            reason = "the source did not answer in time"
            failed = SourceFailed(unreachable, reason, "see its status and the network")
        except SourceFailed:
            raise
        except Exception as error:  # noqa: BLE001 - see the top of the file
            self._reporter.call_failed(call, error)
            failed = SourceFailed(unreachable, "the source failed in an unknown way")
        raise failed

    def _failed(self, stage: VersionStage | None, failed: SourceFailed) -> Event:
        if stage is not VersionStage.PREVIOUS:
            self.failure = failed
        return Failed(self._at(), stage, failed.result)

    def _credential(self, fetched: Fetched) -> Credential:
        """Validate a value and format its header. Raises `SecretRejected`."""
        secret = parse_secret(fetched.raw, self._rules)
        version = fetched.version_id
        if self._source.kind == "file":
            fingerprint = digest_of(secret.reveal())
        else:
            fingerprint = fingerprint_of(version)
        return Credential(
            secret=secret,
            header_line=header_line(self._rules, secret),
            generation=0,  # numbered when it comes into use
            version_id=version,
            fingerprint=fingerprint,
            created=fetched.created,
        )
