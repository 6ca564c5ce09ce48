"""
Manages the key of one upstream: carries out the commands of the machine.

`sidecar.core.keylife.machine` decides. This file reads the source, probes keys, runs
timers, swaps the key and resolves the waiting calls. Each command that reads or probes
ends in time and produces exactly one event. Everything runs on the event loop; only a
source may have a thread.

The hot path reads `current` for each call. It is a plain attribute, and a swap is one
assignment: no call ever waits for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from operator import is_not
from typing import Any, Final, assert_never

from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import (
    CallAbandoned,
    CancelTimer,
    Command,
    CountCutover,
    Describe,
    Event,
    Failed,
    Fetch,
    InvalidValue,
    LimitReached,
    OutcomeReported,
    PassThrough,
    Probe,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    RefreshFinished,
    RefreshRequested,
    ResolveCalls,
    SetCurrent,
    Started,
    StartTimer,
    State,
    Timer,
    Unauthorized,
    Verdict,
    VersionStage,
)
from sidecar.core.keylife.refresh import LifePolicy
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.credential.pending_verdicts import PendingVerdicts
from sidecar.credential.probe import Prober
from sidecar.credential.reporter import CredentialReporter, CredentialStatus
from sidecar.credential.source_calls import SourceCalls
from sidecar.credential.sources.base import Source
from sidecar.credential.timers import Timers
from sidecar.errors import Code, RefreshResult
from sidecar.metrics import CredentialMetrics
from sidecar.settings.tables import CredentialSettings

CLOCK_SECONDS: Final = 5.0
"""How often the wall clock is compared with the monotonic clock."""
JUMP_SECONDS: Final = 30.0
"""A larger difference means that the clock was set or the machine was suspended."""

_TIMER_EVENTS: Final[dict[Timer, Callable[[float], Event]]] = {
    Timer.REFRESH: RefreshDue,
    Timer.PROBE: ProbeDue,
    Timer.RECOVERY: RecoveryDue,
    Timer.LIMIT: LimitReached,
}


class CredentialManager:
    """
    Manages the key of one upstream.

    Args:
        name: The name of the upstream; the metric label.
        credential: How the key is managed.
        source: Where keys come from; closed when `run` ends.
        rotate_every_days: The age at which a key should be replaced; None: no schedule.
        probe: Proves a key at the API; None when no probe is configured.
        metrics: The metrics of this credential.
        on_secrets: Called with every held secret whenever they change, before a new
            one is used.
        now: Wall clock, Unix seconds.
        monotonic: Seconds that never step.
        jitter: Returns a random number in [0, 1).
    """

    def __init__(
        self,
        name: str,
        credential: CredentialSettings,
        source: Source,
        *,
        rotate_every_days: int | None,
        probe: Prober | None,
        metrics: CredentialMetrics,
        on_secrets: Callable[[tuple[Secret, ...]], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.current: Credential | None = None
        """The key for calls that begin now."""
        self.unavailable_code = Code.CREDENTIAL_UNAVAILABLE
        """The error code for calls while there is no key."""
        self.wants_outcomes = False
        """The outcome of every call should be reported (`tried`): the API refused the
        key in use, or it did so at some endpoints."""
        self._name = name
        self._source = source
        self._on_secrets = on_secrets
        self._now = now
        self._monotonic = monotonic
        self._reporter = CredentialReporter(
            name, source.kind, rotate_every_days, metrics, now, monotonic
        )
        self._life = Lifecycle(
            LifePolicy(
                credential.refresh_seconds,
                credential.max_stale_seconds,
                probing=probe is not None,
            )
        )
        self._source_calls = SourceCalls(
            source, probe, credential.rules, self._reporter, monotonic
        )
        self._timers = Timers(self._timer_fired, monotonic, jitter)
        self._pending = PendingVerdicts(self._call_abandoned)
        self._group: asyncio.TaskGroup | None = None
        self._running = asyncio.Event()
        self._present = asyncio.Event()
        self._requests: list[tuple[int, asyncio.Future[RefreshResult]]] = []

    def __repr__(self) -> str:
        return f"CredentialManager({self._name!r}, {self._life.state})"

    def known(self) -> tuple[Secret, ...]:
        """Return every secret that is held: in use, fallback, candidate."""
        return self._life.keys.known()

    @property
    def status(self) -> CredentialStatus:
        """The status now."""
        left = self._timers.left(Timer.REFRESH)
        if left is not None and self._life.state is State.REFUSED:
            # The first 401 after the circuit breaker closes starts a refresh, too.
            breaker = self._life.recovery.circuit_breaker
            left = min(left, max(0.0, breaker.until - self._monotonic()))
        due = None if left is None else self._now() + left
        return self._reporter.status(self._life, self._source_calls.failure, due)

    async def run(self) -> None:
        """Manage the key until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._handle(Started(self._monotonic()))
                self._running.set()
                group.create_task(self._watch_clock())
                if self._source.poll_seconds is not None:
                    group.create_task(self._watch_source(self._source.poll_seconds))
        finally:
            self._group = None
            self._timers.close()
            self._pending.close()
            for _, future in self._requests:
                future.cancel()
            await self._source.close()

    async def wait(self, seconds: float) -> Credential | None:
        """Return a key as soon as there is one; None after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._present.wait()
        except TimeoutError:
            return None
        return self.current

    def challenge(
        self, used: Credential, *, replayable: bool = True, call: bytes = b""
    ) -> "Verdict | asyncio.Future[Verdict]":
        """
        Return the verdict for a call that the API answered with 401.

        Args:
            used: The key that the call carried.
            replayable: The call can be sent again. If not, its 401 still starts a
                recovery, but the verdict is `PassThrough` at once.
            call: The method and path; some endpoints return 401 whatever the key is.

        Returns:
            The verdict, or a future that has it within 10 s. After a `Replay` with
            `trial`, `tried` must be called.
        """
        at = self._monotonic()
        if self._group is None:
            return PassThrough()
        if not replayable:
            self._handle(Unauthorized(at, used, call=call))
            return PassThrough()
        return self._pending.ask(
            lambda ticket: self._handle(Unauthorized(at, used, ticket, call))
        )

    def tried(
        self, credential: Credential, proved: bool | None, call: bytes = b""
    ) -> None:
        """
        Report the outcome of a call.

        Required after a trial, and useful while `wants_outcomes`. True: the key is
        proven; False: 401; None: no usable answer (`messages.proof_of`).
        """
        life, recovery = self._life, self._life.recovery
        relevant = (
            life.keys.refused
            or recovery.attempt is not None
            or recovery.unauthorized_endpoints.knows(call)
        )
        # Most calls are irrelevant, even while one endpoint always returns 401.
        if self._group is not None and relevant:
            self._handle(OutcomeReported(self._monotonic(), credential, proved, call))

    async def refresh(self) -> RefreshResult:
        """Refresh now; concurrent callers share one refresh."""
        await self._running.wait()
        number = self._life.refresh_schedule.number + 1
        future: asyncio.Future[RefreshResult]
        future = asyncio.get_running_loop().create_future()
        self._requests.append((number, future))
        self._handle(RefreshRequested(self._monotonic()))
        return await future

    def _handle(self, event: Event) -> None:
        """Pass an event to the machine and carry out its commands."""
        life, was, known = self._life, self._life.state, self.known()
        try:
            commands = life.handle(event)
        except Exception as error:  # noqa: BLE001 - a forgotten case must not end the process: calls go on with the key in use
            self._reporter.unexpected_event(was, event, error)
            commands = life.resume(event)
        held = self.known()
        if len(held) != len(known) or any(map(is_not, held, known)):
            self._on_secrets(held)
        self.unavailable_code = life.unavailable_code
        self.wants_outcomes = life.keys.refused or bool(
            life.recovery.unauthorized_endpoints
        )
        for command in commands:
            self._carry_out(command)
        if life.state is not was:
            proving = life.keys.candidate is not None
            self._reporter.state_changed(was, life.state, proving=proving)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Describe():
                self._start(self._source_calls.describe())
            case Fetch():
                self._start(self._source_calls.fetch(command.stage))
            case Probe():
                self._start(self._source_calls.probe(command.credential))
            case SetCurrent():
                self._set_current(command.credential)
            case ResolveCalls():
                self._pending.settle(command.tickets, command.verdict)
            case StartTimer():
                self._timers.start(command.timer, command.seconds, command.jitter)
            case CancelTimer():
                self._timers.cancel(command.timer)
            case RefreshFinished():
                self._refresh_finished(command)
            case CountCutover():
                self._reporter.cutover(command.cutover, command.credential)
            case other:
                assert_never(other)

    def _start(self, call: Coroutine[Any, Any, Event]) -> None:
        """Run a call to the source or the probe, and handle its event."""

        async def run() -> None:
            event = await call
            self._report_failure(event)
            self._handle(event)

        running = run()
        try:
            if self._group is not None:
                self._group.create_task(running)
                return
        except RuntimeError:
            pass  # The group is ending, and no answer is needed any more.
        running.close()
        call.close()

    def _report_failure(self, event: Event) -> None:
        failure = self._source_calls.failure
        if (
            isinstance(event, Failed | InvalidValue)
            and event.stage is not VersionStage.PREVIOUS
            and failure is not None
        ):
            self._reporter.refresh_failed(failure, serving=self.current is not None)

    def _set_current(self, credential: Credential | None) -> None:
        self.current = credential
        if credential is None:
            self._present.clear()
            return
        self._present.set()
        self._reporter.current_set(credential)

    def _refresh_finished(self, finished: RefreshFinished) -> None:
        """Report the end of a refresh, and return its result to the callers."""
        self._reporter.refresh_finished(finished.result)
        if finished.result in {RefreshResult.UNCHANGED, RefreshResult.CHANGED}:
            self._source_calls.failure = None
        requests = self._requests
        self._requests = [one for one in requests if one[0] > finished.number]
        for number, future in requests:
            if number <= finished.number and not future.done():
                future.set_result(finished.result)

    def _timer_fired(self, timer: Timer) -> None:
        self._handle(_TIMER_EVENTS[timer](self._monotonic()))

    def _call_abandoned(self, ticket: int) -> None:
        if self._group is not None:
            self._handle(CallAbandoned(self._monotonic(), ticket))

    async def _watch_clock(self) -> None:
        """Refresh after the wall clock jumped: the key may have changed long ago."""
        apart = self._now() - self._monotonic()
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            before, apart = apart, self._now() - self._monotonic()
            if abs(apart - before) > JUMP_SECONDS:
                self._reporter.clock_jumped(apart - before)
                self._handle(RefreshRequested(self._monotonic()))

    async def _watch_source(self, seconds: float) -> None:
        """Refresh when the source reports a change."""
        while True:
            await asyncio.sleep(seconds)
            if await self._source_calls.moved():
                self._handle(RefreshRequested(self._monotonic()))
