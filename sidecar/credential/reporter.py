"""
What is told about a key: log lines and numbers, in plain words.

Each change is told once, a failure that goes on once a minute at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sidecar.core.keylife.commands import ReportUnexpected
from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import Cutover, State
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import (
    RefreshResult,
    SecretRejected,
    SidecarError,
    SourceFailed,
)
from sidecar.log import get_logger

REPEAT_SECONDS: Final = 60.0
DAY_SECONDS: Final = 86400.0

_ANSWERED: Final = frozenset(
    {RefreshResult.UNCHANGED, RefreshResult.CHANGED, RefreshResult.INVALID}
)

_log = get_logger("sidecar.credential")


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """What can be told of a key, at one moment; times are Unix seconds."""

    state: State
    source: str
    """`secrets_manager` or `file`."""
    fingerprint: str | None = None
    """Of the key in use, whether it is given out or expired."""
    generation: int = 0
    since: float | None = None
    """When the key came into use."""
    created: float | None = None
    """When the source made it, where it tells."""
    rotate_before: float | None = None
    """When it should have been replaced, where that is set."""
    refreshed: float | None = None
    """When the source last answered."""
    next_refresh: float | None = None
    last_error: str | None = None
    """Why the last look failed or what is wrong with the newest key."""
    remedy: str | None = None
    candidate: str | None = None
    """The fingerprint of a key that is not proven yet."""
    candidate_rejected: bool = False
    previous: str | None = None
    """The fingerprint of the key to fall back to."""


class CredentialMetrics(Protocol):
    """The numbers about one key; `sidecar.metrics` has them."""

    def state(self, state: str) -> None:
        """Set the state."""

    def unexpected_event(self) -> None:
        """Count an event of the key life that the rules do not expect."""

    def info(self, source: str, fingerprint: str) -> None:
        """Name the key in use."""

    def since(self, timestamp: float) -> None:
        """Set when the key came into use."""

    def created(self, timestamp: float | None) -> None:
        """Set when the source made the key."""

    def refreshed(self, timestamp: float) -> None:
        """Set when the source last answered."""

    def rotate_before(self, timestamp: float | None) -> None:
        """Set when the key becomes too old."""

    def refresh(self, result: RefreshResult) -> None:
        """Count a look."""

    def cutover(self, result: str, seconds: float | None = None) -> None:
        """Count a change of keys; seconds from its making to its use."""


class CredentialReporter:
    """
    Tells logs and metrics what happens to one key.

    Args:
        name: The upstream's; it is also the metric label.
        source: `secrets_manager` or `file`.
        rotate_every_days: The age at which a key should have been replaced.
        metrics: The numbers.
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
        self._shown: Credential | None = None
        self._since: float | None = None
        self._refreshed: float | None = None
        self._youngest = 0.0
        """When the source made the youngest key that was in use."""
        self._is_news = True
        """The key in use is younger than each before it."""
        self._trouble: str | None = None
        """What the state means, when it is not as it should be."""

    def _rotate_before(self, credential: Credential | None) -> float | None:
        """Return when this key should have been replaced, in Unix seconds."""
        days = self._rotate_every_days
        if credential is None or credential.created is None or not days:
            return None
        return credential.created + days * DAY_SECONDS

    def used(self, credential: Credential) -> None:
        """A key came into use, or came back from being expired."""
        if credential is self._shown:
            return
        first = self._shown is None
        # A new version of the same key keeps its number.
        known = self._shown and self._shown.generation == credential.generation
        self._shown = credential
        self._metrics.info(self._source, credential.fingerprint)
        self._metrics.created(credential.created)
        created = credential.created or 0.0
        self._is_news = created > self._youngest
        self._youngest = max(self._youngest, created)
        self._metrics.rotate_before(self._rotate_before(credential))
        if not known:
            self._since = self._now()
            self._metrics.since(self._since)
        if first:
            self._log.info("credential_ready", fingerprint=credential.fingerprint)

    def looked(self, result: RefreshResult) -> None:
        """A look at the source is over."""
        self._metrics.refresh(result)
        if result in _ANSWERED:
            self._refreshed = self._now()
            self._metrics.refreshed(self._refreshed)
            if result is not RefreshResult.INVALID:
                self._failure = None

    def failed(self, failure: SidecarError, *, serving: bool) -> None:
        """The source gave no key, or one that breaks a rule."""
        text, at = str(failure), self._monotonic()
        said, when = self._failure or ("", at)
        if text == said and at - when < REPEAT_SECONDS:
            return
        self._failure = (text, at)
        effect = (
            "the last good key serves on" if serving else "calls get 503 until then"
        )
        self._log.warning("credential_look_failed", reason=text, effect=effect)

    def moved(self, old: State, new: State, *, proving: bool = False) -> None:
        """
        Report another state.

        Args:
            old: The state before.
            new: The state now.
            proving: A newer key waits for its proof, so the one in use is not the newest.
        """
        self._metrics.state(new)
        event, level, meaning = _STATES[new]
        if proving and new is State.FRESH:
            event, meaning = _PROVING
        self._trouble = None if new is State.FRESH else meaning
        if (old, new) == (State.MISSING, State.FRESH):
            return  # told as `credential_ready`
        log = getattr(self._log, level)
        log(event, was=str(old), meaning=meaning)

    def jumped(self, seconds: float) -> None:
        """The wall clock jumped: it was set, or the machine slept."""
        self._log.info("clock_jumped", seconds=round(seconds))

    def recorded(self, cutover: Cutover, credential: Credential) -> None:
        """A change of keys ended."""
        seconds: float | None = None
        # AWSCURRENT may go back to a version of last month: that took no month.
        if (
            cutover is Cutover.PROMOTED
            and credential.created is not None
            and self._is_news
        ):
            seconds = max(0.0, self._now() - credential.created)
        self._metrics.cutover(cutover, seconds)
        event, level, meaning = _CUTOVERS[cutover]
        fields: dict[str, Any] = {"fingerprint": credential.fingerprint}
        if seconds is not None:
            fields["seconds"] = round(seconds, 3)
        getattr(self._log, level)(event, meaning=meaning, **fields)

    def broken(self, during: str, error: Exception) -> None:
        """Report an exception of ours by its type: its text may contain a key."""
        kind = type(error)
        name = f"{kind.__module__}.{kind.__qualname__}"
        self._metrics.unexpected_event()
        self._log.error("credential_job_broken", job=during, error=name)

    def unexpected(self, report: ReportUnexpected) -> None:
        """Report an event that the state table does not list; the sidecar carries on."""
        self._metrics.unexpected_event()
        self._log.error(
            "credential_event_unexpected",
            name=report.event,
            was=str(report.before),
            state=str(report.after),
        )

    def status(
        self,
        life: Lifecycle,
        failure: SourceFailed | SecretRejected | None,
        due: float | None,
    ) -> CredentialStatus:
        """
        Return what can be told now.

        Args:
            life: The machine.
            failure: RevokeReason the last value could not be had, if so.
            due: When the next look is, in Unix seconds.
        """
        keys, in_use = life.keys, life.keys.in_use
        reason = failure.args[-1] if failure else self._trouble
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
            last_error=reason,
            remedy=failure.remedy if failure else None,
            candidate=keys.candidate.fingerprint if keys.candidate else None,
            candidate_rejected=keys.candidate_rejected,
            previous=keys.fallback.fingerprint if keys.fallback else None,
        )


_STATES: Final = {
    State.MISSING: ("credential_missing", "warning", "there is no key yet"),
    State.FRESH: ("credential_fresh", "info", "the newest key is in use"),
    State.STALE: (
        "credential_stale",
        "warning",
        "the source gives no key: the last good one serves on",
    ),
    State.ROLLED_BACK: (
        "credential_rolled_back",
        "error",
        "the newest key does not work: the one before it serves; store a working key",
    ),
    State.REJECTED: (
        "credential_rejected",
        "error",
        "the newest key is refused: the one before it serves on; store a working key",
    ),
    State.REFUSED: (
        "credential_refused",
        "error",
        "no key works: the service receives the API's own 401; store a working key",
    ),
    State.EXPIRED: (
        "credential_expired",
        "error",
        "the source was away for longer than max_stale_seconds: calls get 503",
    ),
}

_PROVING: Final = (
    "credential_proving",
    "a newer key is being proved: the one in use serves on",
)

_CUTOVERS: Final = {
    Cutover.PROMOTED: ("key_promoted", "info", "a new key is in use"),
    Cutover.REJECTED: (
        "key_rejected",
        "warning",
        "the API answered 401 to the new key: the old one serves on",
    ),
    Cutover.ROLLED_BACK: (
        "key_rolled_back",
        "error",
        "the newest key does not work: the key before it is in use again",
    ),
    Cutover.RESTORED: (
        "key_restored",
        "info",
        "the newest key is in use, and no older one any more",
    ),
}
