"""
The last hour of one upstream: answers per minute, and what happened to its key.

Rule 1: nothing is pushed here. Whoever owns the clock takes a `Sample` of the running
totals now and then; the history is what differs between two samples. So no other part
has to know that somebody is watching.
Rule 2: memory is bounded: `MINUTES` rows and `MAX_EVENTS` events, whatever happens.
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
"""The columns of the answers, as `UpstreamStats.answers` counts them."""

_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """The running totals of an upstream and the state of its key, at one moment."""

    answers: Mapping[str, int] = field(default_factory=dict)
    """Answers of the API by class, since the start."""
    recovered: Mapping[str, int] = field(default_factory=dict)
    """401s that the service never saw, by how."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Calls that the sidecar answered itself, by code."""
    state: str = ""
    fingerprint: str | None = None
    """Of the key in use."""
    rejected: str | None = None
    """The fingerprint of a new key that the API does not accept."""


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """Something worth telling; times are Unix seconds."""

    at: float
    """When it was seen last."""
    kind: str
    """`state`, `key`, `rejected`, `recovered` or `refused`."""
    detail: str
    """The new state, fingerprint, way of recovery or code."""
    before: str = ""
    """The state or fingerprint before."""
    count: int = 1
    """How often within the minute."""


@dataclass(slots=True)
class History:
    """What differed between samples."""

    _rows: deque[tuple[int, dict[str, int]]] = field(
        default_factory=lambda: deque(maxlen=MINUTES)
    )
    """(minute since 1970, answers by class), the newest last; quiet minutes have none."""
    _events: deque[HistoryEvent] = field(
        default_factory=lambda: deque(maxlen=MAX_EVENTS)
    )
    _last: Sample | None = None

    def take(self, now: float, sample: Sample) -> None:
        """
        Add what happened since the sample before.

        Args:
            now: Unix seconds; a clock that was set back adds to the newest minute.
            sample: The totals. One lower than before counts as begun anew.
        """
        before = self._last or Sample()
        answers = _grown(before.answers, sample.answers)
        if answers:
            row = self._row(now)
            for name, count in answers.items():
                row[name] = row.get(name, 0) + count
        self._tell_of_the_key(now, before, sample)
        for kind, earlier, later in (
            ("recovered", before.recovered, sample.recovered),
            ("refused", before.refused, sample.refused),
        ):
            for name, count in _grown(earlier, later).items():
                self._tell(HistoryEvent(now, kind, name, count=count))
        self._last = sample

    def minutes(self, now: float) -> tuple[Mapping[str, int], ...]:
        """The last hour, oldest minute first, the present one last; quiet ones are 0."""
        rows = dict(self._rows)
        newest = max([int(now // _SECONDS), *rows])
        return tuple(
            {name: rows.get(minute, _NONE).get(name, 0) for name in CLASSES}
            for minute in range(newest - MINUTES + 1, newest + 1)
        )

    def events(self) -> tuple[HistoryEvent, ...]:
        """What happened, newest first."""
        return tuple(reversed(self._events))

    def as_document(self, now: float) -> dict[str, object]:
        """Both, ready for JSON: a list per class, and the events as tables."""
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

    def _tell_of_the_key(self, now: float, before: Sample, sample: Sample) -> None:
        if sample.fingerprint and sample.fingerprint != before.fingerprint:
            self._tell(
                HistoryEvent(now, "key", sample.fingerprint, before.fingerprint or "")
            )
        if sample.state and sample.state != before.state:
            self._tell(HistoryEvent(now, "state", sample.state, before.state))
        if sample.rejected and sample.rejected != before.rejected:
            self._tell(HistoryEvent(now, "rejected", sample.rejected))

    def _tell(self, event: HistoryEvent) -> None:
        """Add an event, or count it into an equal one of the same minute."""
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
    """By how much each total grew, without those that did not."""
    grown = {}
    for name, total in after.items():
        earlier = before.get(name, 0)
        if total != earlier:
            grown[name] = total - earlier if total > earlier else total
    return {name: count for name, count in grown.items() if count}
