"""
Refreshes the secrets of an endpoint: the current one and the previous one.

An API key needs a `CredentialManager`, because only the API's answer shows whether it
works. A webhook secret does not: every delivery is verified with all valid secrets, so a
rotation needs no choice between them.

Rule 1: the last good secrets stay in use while the source fails or holds a bad value.
Rule 2: a retired secret is dropped by the refresh that no longer finds it.
Rule 3: the redactor knows a secret before it is used.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.core.keylife.backoff import TokenBucket, backoff, spread
from sidecar.core.secrecy.secret import (
    Secret,
    SecretRules,
    fingerprint_of,
    parse_secret,
)
from sidecar.core.webhooks.signing_keys import HmacKey, Key, parse_key
from sidecar.credential.sources.base import Fetched, Source, Versions
from sidecar.errors import RefreshResult, SecretRejected, SourceFailed
from sidecar.log import get_logger

FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 30
SPREAD: Final = 0.1

# Anyone can send invalid signatures: allow a burst of six refreshes, then one a minute.
_EXTRA_REFRESHES: Final = 6
_EXTRA_REFRESH_SECONDS: Final = 60

_log = get_logger("sidecar.webhook")


@dataclass(frozen=True, slots=True)
class SecretsOptions:
    """The refresh interval, the clock and the callback of one secret."""

    refresh_seconds: float
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    """A number in [0, 1)."""
    json_key: str | None = None
    on_secrets: Callable[[tuple[Secret, ...]], None] = lambda _secrets: None
    """Called with all secrets before a new one is used, so that logs can mask them."""


class WebhookSecrets:
    """Keeps the keys of one secret up to date. `keys` is replaced as a whole."""

    def __init__(self, name: str, source: Source, options: SecretsOptions) -> None:
        self.name = name
        """The endpoint, or the first of several that share the secret."""
        self.keys: tuple[Key, ...] = ()
        """Empty until a refresh has found a valid secret."""
        self.last_error = ""
        """The problem with the source or its values; empty if there is none."""
        self._source = source
        self._options = options
        self._rules = SecretRules(json_key=options.json_key, scheme="")
        self._seen: tuple[str, str | None] | None = None
        self._in_use: list[str] = []
        self._refreshing = asyncio.Lock()
        self._extra = TokenBucket(_EXTRA_REFRESHES, _EXTRA_REFRESH_SECONDS)

    def __repr__(self) -> str:
        return f"WebhookSecrets({self.name!r}, {self.keys!r})"

    async def run(self) -> None:
        """Refresh at intervals until cancelled."""
        every = self._options.refresh_seconds
        failures = 0
        while True:
            await self.refresh()
            chance = self._options.jitter()
            if self.last_error:
                # Without a key no delivery can be verified: retry sooner.
                last = every if self.keys else LAST_RETRY_SECONDS
                delay = backoff(failures, FIRST_RETRY_SECONDS, last)
                failures += 1
                await self._pause(delay * (0.5 + chance / 2))
            else:
                failures = 0
                await self._pause(spread(every, SPREAD, chance))

    async def refresh(self) -> RefreshResult:
        """Refresh now. Never raises for a failing source or an invalid value."""
        async with self._refreshing:
            return await self._refresh()

    async def refresh_extra(self) -> bool:
        """
        Refresh because a signature matched no key: it may be of a new secret.

        Returns:
            True if the keys changed. Concurrent callers share one refresh. The rate is
            limited, because invalid signatures cost a sender nothing.
        """
        before = self.keys
        shared = self._refreshing.locked()
        if not shared and not self._extra.take(self._options.monotonic()):
            return False
        async with self._refreshing:
            if not shared:
                await self._refresh()
        changed = self.keys is not before
        if changed:
            self._extra.restore()
        return changed

    async def _pause(self, seconds: float) -> None:
        """Wait; for a file, end early when it is replaced."""
        poll = self._source.poll_seconds
        if poll is None:
            await asyncio.sleep(seconds)
            return
        end = self._options.monotonic() + seconds
        while (left := end - self._options.monotonic()) > 0:
            await asyncio.sleep(min(poll, left))
            if await self._source.moved():
                return

    async def _refresh(self) -> RefreshResult:
        try:
            versions = await self._source.describe()
            if (versions.current, versions.previous) == self._seen:
                result, error = RefreshResult.UNCHANGED, ""
            else:
                result, error = await self._adopt(versions)
        except SourceFailed as failed:
            result, error = failed.result, str(failed)
        if error != self.last_error:
            # Logged when the problem begins and when it ends, not at every refresh.
            self.last_error = error
            if error:
                _log.warning(
                    "webhook_secrets_failed",
                    endpoint=self.name,
                    error=error,
                    serving=[key.fingerprint for key in self.keys],
                )
            else:
                _log.info("webhook_secrets_recovered", endpoint=self.name)
        return result

    async def _adopt(self, versions: Versions) -> tuple[RefreshResult, str]:
        """Use every valid secret of the current and the previous version."""
        current = await self._source.fetch("AWSCURRENT")
        previous = await self._previous(versions)
        keys: list[Key] = []
        held: list[Secret] = []
        in_use: list[str] = []
        error = ""
        for fetched in (current, previous):
            if fetched is None:
                continue
            try:
                key, shared = self._parse(fetched)
            except SecretRejected as rejected:
                # An invalid previous value (the console's sample) is not an error.
                if fetched is current:
                    error = str(rejected)
                continue
            keys.append(key)
            held += shared
            in_use.append(fetched.version_id)
        if not error:
            self._seen = (versions.current, versions.previous)
        result = RefreshResult.INVALID if error else RefreshResult.CHANGED
        # Keep `keys` if nothing changed: `refresh_extra` compares it by identity.
        if keys and in_use != self._in_use:
            self._options.on_secrets(tuple(held))
            self.keys, self._in_use = tuple(keys), in_use
            _log.info(
                "webhook_secrets_changed",
                endpoint=self.name,
                secrets=[key.fingerprint for key in keys],
            )
        return result, error

    async def _previous(self, versions: Versions) -> Fetched | None:
        if versions.previous in {None, versions.current}:
            return None
        try:
            return await self._source.fetch("AWSPREVIOUS")
        except SourceFailed as failed:
            # The label was removed between the two calls.
            if failed.result is RefreshResult.NOT_FOUND:
                return None
            raise

    def _parse(self, fetched: Fetched) -> tuple[Key, list[Secret]]:
        """Return a key and the secrets that the redactor must mask."""
        secret = parse_secret(fetched.raw, self._rules)
        key = parse_key(secret.reveal(), fingerprint_of(fetched.version_id))
        if not isinstance(key, HmacKey):
            return key, []
        # Libraries print the base64 without its prefix; masking it masks the whole, too.
        return key, [Secret(secret.reveal().removeprefix("whsec_"))]
