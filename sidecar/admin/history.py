"""
The last hour of one upstream: responses per minute, and the events of its key.

Rule 1: no other part reports here. `Watch` takes a `Sample` of the running totals every
two seconds, and the history keeps what differs between two samples.
Rule 2: memory is bounded: `MINUTES` rows and `MAX_EVENTS` events.
Rule 3: an event holds names of enums and fingerprints only, never text from outside.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Final

MINUTES: Final = 60
MAX_EVENTS: Final = 50
CLASSES: Final = ("2xx", "401", "403", "other")
"""The classes of responses, as `UpstreamStats.answers` counts them."""

_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """The running totals of an upstream and the state of its key, at one moment."""

    answers: Mapping[str, int] = field(default_factory=dict)
    """Responses of the API by class, since the start."""
    recovered: Mapping[str, int] = field(default_factory=dict)
    """401s that the service never received, by how they were recovered."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Calls that the sidecar answered itself, by error code."""
    state: str = ""
    fingerprint: str | None = None
    """The fingerprint of the key in use."""
    rejected: str | None = None
    """The fingerprint of a candidate that the API does not accept."""


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event of the status page."""

    at: float
    """When it last happened, in Unix seconds."""
    kind: str
    """`state`, `key`, `rejected`, `recovered` or `refused`."""
    detail: str
    """The new state, the fingerprint, the way of recovery or the error code."""
    before: str = ""
    """The state or the fingerprint before."""
    count: int = 1
    """How often it happened within the minute."""


@dataclass(slots=True)
class History:
    """Collects the differences between samples."""

    _rows: deque[tuple[int, dict[str, int]]] = field(
        default_factory=lambda: deque(maxlen=MINUTES)
    )
    """(minute since 1970, responses by class), newest last; only minutes with some."""
    _events: deque[HistoryEvent] = field(
        default_factory=lambda: deque(maxlen=MAX_EVENTS)
    )
    _last: Sample | None = None

    def take(self, now: float, sample: Sample) -> None:
        """
        Add what happened since the previous sample.

        Args:
            now: Unix seconds; after a clock was set back, the newest minute grows.
            sample: The totals; one that is lower than before has started again at 0.
        """
        before = self._last or Sample()
        answers = _grown(before.answers, sample.answers)
        if answers:
            row = self._row(now)
            for name, count in answers.items():
                row[name] = row.get(name, 0) + count
        self._add_key_events(now, before, sample)
        for kind, earlier, later in (
            ("recovered", before.recovered, sample.recovered),
            ("refused", before.refused, sample.refused),
        ):
            for name, count in _grown(earlier, later).items():
                self._add(HistoryEvent(now, kind, name, count=count))
        self._last = sample

    def minutes(self, now: float) -> tuple[Mapping[str, int], ...]:
        """Return the responses of the last `MINUTES` minutes by class, oldest first."""
        rows = dict(self._rows)
        newest = max([int(now // _SECONDS), *rows])
        return tuple(
            {name: rows.get(minute, _NONE).get(name, 0) for name in CLASSES}
            for minute in range(newest - MINUTES + 1, newest + 1)
        )

    def events(self) -> tuple[HistoryEvent, ...]:
        """Return the events, newest first."""
        return tuple(reversed(self._events))

    def as_document(self, now: float) -> dict[str, object]:
        """Return both for JSON: a list per class, and the events as objects."""
        minutes = self.minutes(now)
        return {
            "minutes": {name: [row[name] for row in minutes] for name in CLASSES},
            "events": [asdict(event) for event in self.events()],
        }

    def _row(self, now: float) -> dict[str, int]:
        minute = int(now // _SECONDS)
        if not self._rows or self._rows[-1][0] < minute:
            self._rows.append((minute, {}))
        return self._rows[-1][1]

    def _add_key_events(self, now: float, before: Sample, sample: Sample) -> None:
        if sample.fingerprint and sample.fingerprint != before.fingerprint:
            self._add(
                HistoryEvent(now, "key", sample.fingerprint, before.fingerprint or "")
            )
        if sample.state and sample.state != before.state:
            self._add(HistoryEvent(now, "state", sample.state, before.state))
        if sample.rejected and sample.rejected != before.rejected:
            self._add(HistoryEvent(now, "rejected", sample.rejected))

    def _add(self, event: HistoryEvent) -> None:
        """Add an event; calls of one kind within a minute are one event with a count."""
        for index in range(len(self._events) - 1, -1, -1):
            known = self._events[index]
            if int(known.at // _SECONDS) != int(event.at // _SECONDS):
                break
            same = (known.kind, known.detail) == (event.kind, event.detail)
            if same and event.kind in {"recovered", "refused"}:
                self._events[index] = replace(
                    known, at=event.at, count=known.count + event.count
                )
                return
        self._events.append(event)


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return by how much each total grew, without those that did not grow."""
    grown = {}
    for name, total in after.items():
        earlier = before.get(name, 0)
        count = total - earlier if total >= earlier else total
        if count:
            grown[name] = count
    return grown
