"""A credential manager with a simulated source, API, calls and clocks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.keylife.messages import (
    Replay,
    State,
    proof_of,
)
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.credential.manager import CredentialManager
from sidecar.credential.sources.base import Fetched, Versions
from sidecar.errors import RefreshResult, SourceFailed
from sidecar.metrics import CredentialMetrics
from sidecar.settings.tables import CredentialSettings

EPOCH: Final = 1_700_000_000.0
TRIP_SECONDS: Final = 0.01
"""The duration of each call."""


@dataclass
class FakeSource:
    """Versions with stages, and outages."""

    kind: str = "secrets_manager"
    poll_seconds: float | None = None
    values: dict[str, str | bytes] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    current: str = ""
    previous: str | None = None
    outage: RefreshResult | None = None
    """How every question fails."""
    failing: int = 0
    """How many more questions fail so; 0 with an outage: all of them."""
    hangs: bool = False
    error: Exception | None = None
    has_moved: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    closed: bool = False

    def put(self, version: str, value: str | bytes, made: float = EPOCH) -> None:
        """Store a new AWSCURRENT."""
        self.values[version] = value
        self.made[version] = made
        self.move(version)

    def move(self, version: str) -> None:
        """Move AWSCURRENT."""
        if self.current and version != self.current:
            self.previous = self.current
        self.current = version

    async def describe(self) -> Versions:
        """Name the versions."""
        await self._trip("describe")
        return Versions(self.current, self.previous)

    async def fetch(self, stage: str) -> Fetched:
        """Give a value."""
        await self._trip(f"fetch {stage}")
        version = self.current if stage == "AWSCURRENT" else self.previous
        if version is None:
            raise SourceFailed(RefreshResult.NOT_FOUND, "no such stage")
        return Fetched(self.values[version], version, self.made[version])

    async def moved(self) -> bool:
        """Return whether the source has changed."""
        if self.error is not None:
            raise self.error
        moved, self.has_moved = self.has_moved, False
        return moved

    async def close(self) -> None:
        """Be given back."""
        self.closed = True

    async def _trip(self, question: str) -> None:
        self.asked[question] += 1
        await asyncio.sleep(3600 if self.hangs else TRIP_SECONDS)
        if self.error is not None:
            raise self.error
        if self.outage is not None:
            outage = self.outage
            if self.failing:
                self.failing -= 1
                if not self.failing:
                    self.outage = None
            raise SourceFailed(outage, "the source is away", "wait")


@dataclass
class FakeApi:
    """Keys that work and keys that do not."""

    valid: set[str] = field(default_factory=set)
    up: bool = True
    always_401: bool = False
    """The endpoint of the calls; the probe's is another."""
    calls: Counter[int] = field(default_factory=Counter)
    probes: int = 0
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    async def answer(self, credential: Credential) -> int:
        """Answer a call; 0: no answer."""
        await asyncio.sleep(TRIP_SECONDS)
        status = self._judge(credential)
        if self.always_401 and status == 200:
            status = 401
            self.refused.add(credential.secret.reveal())
        self.calls[status] += 1
        return status

    async def probe(self, credential: Credential) -> bool | None:
        """Answer a probe."""
        self.probes += 1
        await asyncio.sleep(TRIP_SECONDS)
        return proof_of(self._judge(credential) or 503)

    def _judge(self, credential: Credential) -> int:
        key = credential.secret.reveal()
        assert credential.header_line == f"Authorization: Bearer {key}\r\n".encode()
        if not self.up:
            return 0
        (self.accepted if key in self.valid else self.refused).add(key)
        return 200 if key in self.valid else 401


@dataclass
class FakeMetrics(CredentialMetrics):
    """Records the metrics of one credential."""

    states: list[str] = field(default_factory=list)
    unexpected: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    times: dict[str, float | None] = field(default_factory=dict)
    refreshes: Counter[str] = field(default_factory=Counter)
    cutovers: list[tuple[str, float | None]] = field(default_factory=list)

    def state(self, state: str) -> None:
        """Set the state."""
        self.states.append(state)

    def unexpected_event(self) -> None:
        """Count an unexpected event."""
        self.unexpected += 1

    def info(self, source: str, fingerprint: str) -> None:
        """Name the key in use."""
        self.named.append((source, fingerprint))

    def since(self, timestamp: float) -> None:
        """Set when the key came into use."""
        self.times["since"] = timestamp

    def created(self, timestamp: float | None) -> None:
        """Set when the source made the key."""
        self.times["created"] = timestamp

    def refreshed(self, timestamp: float) -> None:
        """Set when the source last answered."""
        self.times["refreshed"] = timestamp

    def rotate_before(self, timestamp: float | None) -> None:
        """Set when the key becomes too old."""
        self.times["rotate_before"] = timestamp

    def refresh(self, result: RefreshResult) -> None:
        """Count a refresh."""
        self.refreshes[result] += 1

    def cutover(self, result: str, seconds: float | None = None) -> None:
        """Count a change of keys."""
        self.cutovers.append((result, seconds))


class Simulation:
    """A manager, and everything around it."""

    def __init__(
        self,
        *,
        probing: bool = False,
        max_stale: float = 0.0,
        rotate_every_days: int | None = None,
        kind: str = "secrets_manager",
        poll_seconds: float | None = None,
    ) -> None:
        self.source = FakeSource(kind, poll_seconds)
        self.api = FakeApi()
        self.metrics = FakeMetrics()
        self.learned: list[tuple[Secret, ...]] = []
        self.used_unlearned = False
        self.jump = 0.0
        """How far the wall clock was set."""
        self.manager = CredentialManager(
            "flownally",
            CredentialSettings(secret_id="key", max_stale_seconds=max_stale),
            self.source,
            rotate_every_days=rotate_every_days,
            probe=self.api.probe if probing else None,
            metrics=self.metrics,
            on_secrets=self._learn,
            now=lambda: EPOCH + self.monotonic() + self.jump,
            monotonic=self.monotonic,
            jitter=lambda: 0.5,
        )

    @property
    def state(self) -> State:
        """The manager's."""
        return self.manager._life.state

    @property
    def current(self) -> str | None:
        """The key that calls are given."""
        current = self.manager.current
        return None if current is None else current.secret.reveal()

    def monotonic(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def issue(self, version: str, made: float = EPOCH) -> None:
        """Make a working key and store it as AWSCURRENT."""
        self.api.valid.add(f"key-{version}")
        self.source.put(version, f"key-{version}", made)

    def revoke(self, version: str) -> None:
        """Make a key useless."""
        self.api.valid.discard(f"key-{version}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the manager."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.manager.run())
            try:
                yield task
            finally:
                task.cancel()

    async def call(self, *, replayable: bool = True) -> int:
        """Call as a service does through the proxy; return what it sees."""
        credential = self.manager.current
        if credential is None:
            return 503
        wants_outcomes = self.manager.wants_outcomes
        status = await self.api.answer(credential)
        if status != 401:
            if wants_outcomes and status:
                self.manager.tried(credential, proof_of(status))
            return status
        verdict = self.manager.challenge(credential, replayable=replayable)
        if isinstance(verdict, asyncio.Future):
            verdict = await verdict
        if not isinstance(verdict, Replay):
            return status
        again = await self.api.answer(verdict.credential)
        if verdict.trial:
            self.manager.tried(verdict.credential, proof_of(again) if again else None)
        return again

    async def burst(self, count: int) -> Counter[int]:
        """Make calls at the same time; return what they see."""
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(self.call()) for _ in range(count)]
        return Counter(call.result() for call in calls)

    def _learn(self, secrets: tuple[Secret, ...]) -> None:
        self.learned.append(secrets)
        current = self.manager.current
        if current is not None and not any(
            current.secret is known for batch in self.learned for known in batch
        ):
            self.used_unlearned = True
