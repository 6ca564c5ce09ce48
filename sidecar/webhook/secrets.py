"""
The secrets of an endpoint: every one that is valid now.

This is no `CredentialManager`. A key that we send is proved by the API's answer, so it has a life
of trials, fallbacks and 401s. A secret that we verify with needs none of it: all valid
ones are tried on every delivery, the current and, until it is gone, the previous, so a
rotation has no moment at which one must be chosen. What is left is a refresher.

Rule 1: what was last known good stays in use while the source is away or holds rubbish.
Rule 2: a retired secret goes with the look that no longer finds it.
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

# Anybody can send bad signatures: six looks at once, then one a minute.
_EXTRA_LOOKS: Final = 6
_EXTRA_LOOK_SECONDS: Final = 60

_log = get_logger("sidecar.webhook")


@dataclass(frozen=True, slots=True)
class SecretsOptions:
    """How one secret is looked after, and the chance and time it goes by."""

    refresh_seconds: float
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    """A number in [0, 1)."""
    json_key: str | None = None
    on_secrets: Callable[[tuple[Secret, ...]], None] = lambda _secrets: None
    """Called with all secrets in use, before a new one is, so that logs can mask them."""


class WebhookSecrets:
    """RefreshSchedule after one secret; `keys` is read for every delivery and swapped at once."""

    def __init__(self, name: str, source: Source, options: SecretsOptions) -> None:
        self.name = name
        """Of the endpoint, or of the first of several that share the secret."""
        self.keys: tuple[Key, ...] = ()
        """Empty until the first look that found one."""
        self.last_error = ""
        """What is wrong with the source or its values; empty when nothing is."""
        self._source = source
        self._options = options
        self._rules = SecretRules(json_key=options.json_key, scheme="")
        self._seen: tuple[str, str | None] | None = None
        self._in_use: list[str] = []
        self._looking = asyncio.Lock()
        self._extra = TokenBucket(_EXTRA_LOOKS, _EXTRA_LOOK_SECONDS)

    def __repr__(self) -> str:
        return f"WebhookSecrets({self.name!r}, {self.keys!r})"

    async def run(self) -> None:
        """Look, wait, look again, until cancelled."""
        every = self._options.refresh_seconds
        failures = 0
        while True:
            await self.refresh()
            chance = self._options.jitter()
            if self.last_error:
                # With no key at all somebody is waiting for the mended secret.
                last = every if self.keys else LAST_RETRY_SECONDS
                delay = backoff(failures, FIRST_RETRY_SECONDS, last)
                failures += 1
                await self._pause(delay * (0.5 + chance / 2))
            else:
                failures = 0
                await self._pause(spread(every, SPREAD, chance))

    async def refresh(self) -> RefreshResult:
        """Look at the source now; never raises for what it finds there."""
        async with self._looking:
            return await self._look()

    async def look_again(self) -> bool:
        """
        Look whether a signature that no key made is of a secret we do not have yet.

        Returns:
            Whether the keys have changed. Callers at the same time share one look, and
            there is an allowance: bad signatures cost nothing to make.
        """
        before = self.keys
        shared = self._looking.locked()
        if not shared and not self._extra.take(self._options.monotonic()):
            return False
        async with self._looking:
            if not shared:
                await self._look()
        changed = self.keys is not before
        if changed:
            self._extra.restore()
        return changed

    async def _pause(self, seconds: float) -> None:
        """Wait; for a file, only until it was replaced."""
        poll = self._source.poll_seconds
        if poll is None:
            await asyncio.sleep(seconds)
            return
        end = self._options.monotonic() + seconds
        while (left := end - self._options.monotonic()) > 0:
            await asyncio.sleep(min(poll, left))
            if await self._source.moved():
                return

    async def _look(self) -> RefreshResult:
        try:
            versions = await self._source.describe()
            if (versions.current, versions.previous) == self._seen:
                result, error = RefreshResult.UNCHANGED, ""
            else:
                result, error = await self._adopt(versions)
        except SourceFailed as failed:
            result, error = failed.result, str(failed)
        if error != self.last_error:
            # Said once when it begins and once when it is over, not at every look.
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
        """Take into use whatever is valid of the current and the previous value."""
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
                # An old value that is none (the console's first sample) is no fault.
                if fetched is current:
                    error = str(rejected)
                continue
            keys.append(key)
            held += shared
            in_use.append(fetched.version_id)
        if not error:
            self._seen = (versions.current, versions.previous)
        result = RefreshResult.INVALID if error else RefreshResult.CHANGED
        # The same as before is no news: `look_again` counts on it.
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
            # Retired between the two calls.
            if failed.result is RefreshResult.NOT_FOUND:
                return None
            raise

    def _parse(self, fetched: Fetched) -> tuple[Key, list[Secret]]:
        """Return a key, and what of it must not be shown."""
        secret = parse_secret(fetched.raw, self._rules)
        key = parse_key(secret.reveal(), fingerprint_of(fetched.version_id))
        if not isinstance(key, HmacKey):
            return key, []
        # Libraries print the base64 without its prefix; masking it masks the whole, too.
        return key, [Secret(secret.reveal().removeprefix("whsec_"))]
