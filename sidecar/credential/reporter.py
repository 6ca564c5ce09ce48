"""
Reports a credential's life in log lines, metrics and its status.

Each change is logged once. A failure that goes on is logged once a minute at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import Cutover, Event, State
from sidecar.core.keylife.refresh import ANSWERED
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult, SecretRejected, SidecarError, SourceFailed
from sidecar.log import get_logger
from sidecar.metrics import CredentialMetrics

REPEAT_SECONDS: Final = 60.0
DAY_SECONDS: Final = 86400.0

_log = get_logger("sidecar.credential")

_STATES: Final = {
    State.MISSING: ("credential_missing", "warning", "there is no key yet"),
    State.FRESH: ("credential_fresh", "info", "the newest key is in use"),
    State.STALE: (
        "credential_stale",
        "warning",
        "the source does not answer; still serving the last good key",
    ),
    State.REJECTED: (
        "credential_rejected",
        "error",
        "the newest key is rejected; still serving an older key; store a working key",
    ),
    State.ROLLED_BACK: (
        "credential_rolled_back",
        "error",
        "the newest key stopped working; serving the previous key; store a working key",
    ),
    State.REFUSED: (
        "credential_refused",
        "error",
        "no key works; the service receives the API's 401; store a working key",
    ),
    State.EXPIRED: (
        "credential_expired",
        "error",
        "the source has not answered for max_stale_seconds; calls get 503",
    ),
}
_PROVING: Final = (
    "credential_proving",
    "info",
    "a newer key is being proven; still serving the key in use",
)
_CUTOVERS: Final = {
    Cutover.PROMOTED: ("key_promoted", "info", "a new key is in use"),
    Cutover.REJECTED: (
        "key_rejected",
        "warning",
        "the API answered 401 to the new key; still serving the old key",
    ),
    Cutover.ROLLED_BACK: (
        "key_rolled_back",
        "error",
        "the newest key does not work; the previous key is in use again",
    ),
    Cutover.RESTORED: ("key_restored", "info", "the newest key is in use again"),
}
"""Log event, level and meaning."""


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """The status of a credential at one moment; times are Unix seconds."""

    state: State
    source: str
    """`secrets_manager` or `file`."""
    fingerprint: str | None = None
    """Of the key in use, also when it has expired."""
    generation: int = 0
    since: float | None = None
    """When the key came into use."""
    created: float | None = None
    """When the source created it, if known."""
    rotate_before: float | None = None
    """When it should be replaced, if `rotate_every_days` is set."""
    refreshed: float | None = None
    """When the source last answered."""
    next_refresh: float | None = None
    last_error: str | None = None
    """Why the last refresh failed, or what is wrong with the keys."""
    remedy: str | None = None
    candidate: str | None = None
    """The fingerprint of the candidate."""
    candidate_rejected: bool = False
    previous: str | None = None
    """The fingerprint of the fallback."""


class CredentialReporter:
    """
    Reports what happens to one credential.

    Args:
        name: The name of the upstream; the metric label.
        source: The kind of source; the metric label `source`.
        rotate_every_days: The age at which a key should be replaced; None: no schedule.
        metrics: The metrics of this credential.
        now: Wall clock, Unix seconds.
        monotonic: Seconds that never step.
    """

    def __init__(
        self,
        name: str,
        source: str,
        rotate_every_days: int | None,
        metrics: CredentialMetrics,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._rotate_every_days = rotate_every_days
        self._source = source
        self._metrics = metrics
        self._now = now
        self._monotonic = monotonic
        self._log = _log.bind(upstream=name, source=source)
        self._failure: tuple[str, float] | None = None
        self._unexpected_at: float | None = None
        self._shown: Credential | None = None
        self._since: float | None = None
        self._refreshed: float | None = None
        self._youngest = 0.0
        """The latest creation time of a key that was in use."""
        self._is_youngest = True
        """The key in use was created after every key before it."""
        self._meaning: str | None = None
        """The meaning of the state; None while it is FRESH."""

    def current_set(self, credential: Credential) -> None:
        """Report that calls carry this key from now on."""
        if credential is self._shown:
            return
        first = self._shown is None
        # A new version of the same key keeps its generation number.
        known = self._shown and self._shown.generation == credential.generation
        self._shown = credential
        self._metrics.info(self._source, credential.fingerprint)
        self._metrics.created(credential.created)
        created = credential.created or 0.0
        self._is_youngest = created > self._youngest
        self._youngest = max(self._youngest, created)
        self._metrics.rotate_before(self._rotate_before(credential))
        if not known:
            self._since = self._now()
            self._metrics.since(self._since)
        if first:
            self._log.info("credential_ready", fingerprint=credential.fingerprint)

    def refresh_finished(self, result: RefreshResult) -> None:
        """Report the end of a refresh."""
        self._metrics.refresh(result)
        if result in ANSWERED:
            self._refreshed = self._now()
            self._metrics.refreshed(self._refreshed)
            if result is not RefreshResult.INVALID:
                self._failure = None

    def refresh_failed(self, failure: SidecarError, *, serving: bool) -> None:
        """Report that the source returned no valid key; `serving`: there is another."""
        text, at = str(failure), self._monotonic()
        logged, when = self._failure or ("", at)
        if text == logged and at - when < REPEAT_SECONDS:
            return
        self._failure = (text, at)
        effect = "still serving the last good key" if serving else "calls get 503"
        self._log.warning("credential_refresh_failed", reason=text, effect=effect)

    def state_changed(self, old: State, new: State, *, proving: bool = False) -> None:
        """Report a new state; `proving`: a newer key is not proven yet."""
        self._metrics.state(new)
        is_proving = proving and new is State.FRESH
        event, level, meaning = _PROVING if is_proving else _STATES[new]
        self._meaning = None if new is State.FRESH else meaning
        if (old, new) == (State.MISSING, State.FRESH):
            return  # logged as `credential_ready`
        getattr(self._log, level)(event, was=str(old), meaning=meaning)

    def clock_jumped(self, seconds: float) -> None:
        """Report that the wall clock was set, or that the machine was suspended."""
        self._log.info("clock_jumped", seconds=round(seconds))

    def cutover(self, cutover: Cutover, credential: Credential) -> None:
        """Report the end of a change of keys."""
        seconds: float | None = None
        # After AWSCURRENT moves back to an old version, its age is no cutover time.
        if (
            cutover is Cutover.PROMOTED
            and credential.created is not None
            and self._is_youngest
        ):
            seconds = max(0.0, self._now() - credential.created)
        self._metrics.cutover(cutover, seconds)
        event, level, meaning = _CUTOVERS[cutover]
        fields: dict[str, Any] = {"fingerprint": credential.fingerprint}
        if seconds is not None:
            fields["seconds"] = round(seconds, 3)
        getattr(self._log, level)(event, meaning=meaning, **fields)

    def call_failed(self, call: str, error: Exception) -> None:
        """Report an unexpected exception of a source or a probe, without its text."""
        self._log.error("credential_call_failed", call=call, error=_name(error))

    def unexpected_event(self, state: State, event: Event, error: Exception) -> None:
        """Count an event that the rules did not expect, and log the error's type."""
        self._metrics.unexpected_event()
        at = self._monotonic()
        if (
            self._unexpected_at is not None
            and at - self._unexpected_at < REPEAT_SECONDS
        ):
            return
        self._unexpected_at = at
        self._log.error(
            "credential_unexpected_event",
            state=str(state),
            type=type(event).__name__,
            error=_name(error),
        )

    def status(
        self,
        life: Lifecycle,
        failure: SourceFailed | SecretRejected | None,
        due: float | None,
    ) -> CredentialStatus:
        """
        Return the status now.

        Args:
            life: The machine.
            failure: Why the last refresh returned no valid key, if so.
            due: When the next refresh begins, in Unix seconds.
        """
        keys, in_use = life.keys, life.keys.in_use
        return CredentialStatus(
            state=life.state,
            source=self._source,
            fingerprint=in_use.fingerprint if in_use else None,
            generation=in_use.generation if in_use else 0,
            since=self._since,
            created=in_use.created if in_use else None,
            rotate_before=self._rotate_before(in_use),
            refreshed=self._refreshed,
            next_refresh=due,
            last_error=failure.args[-1] if failure else self._meaning,
            remedy=failure.remedy if failure else None,
            candidate=keys.candidate.fingerprint if keys.candidate else None,
            candidate_rejected=keys.candidate_rejected,
            previous=keys.fallback.fingerprint if keys.fallback else None,
        )

    def _rotate_before(self, credential: Credential | None) -> float | None:
        """Return when this key should be replaced, in Unix seconds."""
        days = self._rotate_every_days
        if credential is None or credential.created is None or not days:
            return None
        return credential.created + days * DAY_SECONDS


def _name(error: Exception) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"
