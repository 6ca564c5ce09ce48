"""
Keeps the key of one upstream: obeys `sidecar.core.keylife.machine`.

The machine decides, this file does: it asks the source and the API, sets alarms, swaps
the key, answers the calls that wait. Every question it asks ends within its time and
comes back to the machine as exactly one event. Everything runs on the loop; only a
source may have a thread.

The hot path reads `current` for each call. It is a plain attribute, and a swap is one
assignment: no call ever waits for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from operator import is_not
from typing import Any, Final, assert_never

from sidecar.core.keylife.commands import (
    CancelTimer,
    Command,
    CountCutover,
    Describe,
    Fetch,
    Probe,
    RefreshFinished,
    ReportUnexpected,
    ResolveCalls,
    SetCurrent,
    StartTimer,
)
from sidecar.core.keylife.machine import Lifecycle, LifePolicy
from sidecar.core.keylife.messages import (
    CallAbandoned,
    Event,
    Failed,
    InvalidValue,
    LimitReached,
    OutcomeReported,
    PassThrough,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    RefreshRequested,
    Started,
    Timer,
    Unauthorized,
    Verdict,
    VersionStage,
)
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.credential.pending_verdicts import Calls
from sidecar.credential.reporter import (
    CredentialMetrics,
    CredentialReporter,
    CredentialStatus,
)
from sidecar.credential.source_calls import Prober, SourceCalls
from sidecar.credential.sources.base import Source
from sidecar.credential.timers import Timers
from sidecar.errors import Code, RefreshResult
from sidecar.settings.tables import CredentialSettings

CLOCK_SECONDS: Final = 5.0
"""How often the clocks are compared."""
JUMP_SECONDS: Final = 30.0
"""A wall clock that moved this far apart was set, or the machine slept."""

_ALARMS: Final[dict[Timer, Callable[[float], Event]]] = {
    Timer.REFRESH: RefreshDue,
    Timer.PROBE: ProbeDue,
    Timer.RECOVERY: RecoveryDue,
    Timer.LIMIT: LimitReached,
}


class CredentialManager:
    """
    The keeper of one key.

    Args:
        name: The upstream's; it is also the metric label.
        credential: What is kept, and how.
        source: Where keys come from; closed when `run` ends.
        rotate_every_days: The age at which a key should have been replaced.
        probe: Proves a key at the API; None when there is no cheap call for it.
        metrics: The numbers.
        on_secrets: Hears of every set of held secrets before one of them is used.
        now: Wall clock, Unix seconds.
        monotonic: Seconds that never step.
        jitter: Chance, in [0, 1).
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
        """Why there is none, when there is none."""
        self.wants_outcomes = False
        """A call's success would be news (`tried`): the API refused the key in use, or
        some calls with it."""
        self._name = name
        self._source = source
        self._on_secrets = on_secrets
        self._now = now
        self._monotonic = monotonic
        self._narrator = CredentialReporter(
            name, source.kind, rotate_every_days, metrics, now, monotonic
        )
        self._life = Lifecycle(
            LifePolicy(
                credential.refresh_seconds,
                credential.max_stale_seconds,
                probing=probe is not None,
            )
        )
        self._jobs = SourceCalls(
            source, probe, credential.rules, self._narrator, monotonic
        )
        self._alarms = Timers(self._rang, monotonic, jitter)
        self._calls = Calls(self._left)
        self._group: asyncio.TaskGroup | None = None
        self._running = asyncio.Event()
        self._present = asyncio.Event()
        self._askers: list[tuple[int, asyncio.Future[RefreshResult]]] = []

    def __repr__(self) -> str:
        return f"CredentialManager({self._name!r}, {self._life.state})"

    def known(self) -> tuple[Secret, ...]:
        """Return every secret that is held: in use, previous, candidate."""
        return self._life.keys.known()

    @property
    def status(self) -> CredentialStatus:
        """What can be told now."""
        left = self._alarms.left(Timer.REFRESH)
        if left is not None and self._life.keys.refused:
            # The next 401 after the circuit's time makes it look, too.
            circuit = self._life.recovery.circuit
            left = min(left, max(0.0, circuit.until - self._monotonic()))
        due = None if left is None else self._now() + left
        return self._narrator.status(self._life, self._jobs.failure, due)

    async def run(self) -> None:
        """Keep the key until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._tell(Started(self._monotonic()))
                self._running.set()
                group.create_task(self._watch_clock())
                if self._source.poll_seconds is not None:
                    group.create_task(self._watch_source(self._source.poll_seconds))
        finally:
            self._group = None
            self._alarms.close()
            self._calls.close()
            for _, asker in self._askers:
                asker.cancel()
            await self._source.close()

    async def wait(self, seconds: float) -> Credential | None:
        """Return a key as soon as there is one, or None after so many seconds."""
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
        Say what becomes of a call with `used` that the API answered with 401.

        Args:
            used: The key that the call carried.
            replayable: The call can be sent again. If not, its 401 is news all the
                same, but nobody waits for the verdict: it is `PassThrough`.
            call: What was called, method and path: some calls draw a 401 whatever the key.

        Returns:
            The verdict, or a future that has it within 10 s. A `Replay` that is a
            `trial` must be followed by `tried`.
        """
        at = self._monotonic()
        if self._group is None:
            return PassThrough()
        if not replayable:
            self._tell(Unauthorized(at, used, call=call))
            return PassThrough()
        return self._calls.ask(lambda n: self._tell(Unauthorized(at, used, n, call)))

    def tried(
        self, credential: Credential, proved: bool | None, call: bytes = b""
    ) -> None:
        """
        Hear what a call said about its key.

        Needed after a trial; welcome while `wants_outcomes`. True: the API knew the key;
        False: 401; None: no answer (`sidecar.core.keylife.messages.proof_of`).
        """
        recovery = self._life.recovery
        told = not self._life.keys.refused and recovery.attempt is None
        if self._group is None or (
            told and not recovery.unauthorized_endpoints.knows(call)
        ):
            return  # most calls, as long as one among them always draws a 401
        self._tell(OutcomeReported(self._monotonic(), credential, proved, call))

    async def refresh(self) -> RefreshResult:
        """Look at the source now; callers at the same time share one look."""
        await self._running.wait()
        number = self._life.refresh_schedule.number + 1
        future: asyncio.Future[RefreshResult]
        future = asyncio.get_running_loop().create_future()
        self._askers.append((number, future))
        self._tell(RefreshRequested(self._monotonic()))
        return await future

    def _tell(self, event: Event) -> None:
        """Tell the machine what happened, and do as it says."""
        life, was, known = self._life, self._life.state, self.known()
        try:
            commands = life.handle(event)
        except Exception as error:  # noqa: BLE001 - an error of ours must not end the process
            self._narrator.broken(type(event).__name__, error)
            commands = life.restart()
        held = self.known()
        if len(held) != len(known) or any(map(is_not, held, known)):
            self._on_secrets(held)
        self.unavailable_code = life.unavailable_code
        self.wants_outcomes = life.keys.refused or bool(
            life.recovery.unauthorized_endpoints
        )
        for command in commands:
            self._obey(command)
        if life.state is not was:
            proving = life.keys.candidate is not None
            self._narrator.moved(was, life.state, proving=proving)

    def _obey(self, command: Command) -> None:
        """Do one thing."""
        match command:
            case Describe() | Fetch() | Probe():
                self._start(self._jobs.begin(command))
            case SetCurrent():
                self._use(command.credential)
            case ResolveCalls():
                self._calls.settle(command.tickets, command.verdict)
            case StartTimer():
                self._alarms.arm(command.timer, command.seconds, command.spread)
            case CancelTimer():
                self._alarms.disarm(command.timer)
            case RefreshFinished():
                self._looked(command)
            case ReportUnexpected():
                self._narrator.unexpected(command)
            case CountCutover():
                self._narrator.recorded(command.cutover, command.credential)
            case other:
                assert_never(other)

    def _start(self, job: Coroutine[Any, Any, Event]) -> None:
        """Ask something, and tell the machine how it ended."""

        async def ask() -> None:
            event = await job
            self._hear(event)
            self._tell(event)

        asking = ask()
        try:
            if self._group is not None:
                self._group.create_task(asking)
                return
        except RuntimeError:
            pass  # the group is ending, and nobody is left who could use an answer
        asking.close()
        job.close()

    def _hear(self, event: Event) -> None:
        """Say why there was no value, when it was AWSCURRENT's."""
        failure = self._jobs.failure
        if isinstance(event, Failed | InvalidValue) and failure is not None:
            if event.stage is VersionStage.PREVIOUS:
                return
            self._narrator.failed(failure, serving=self.current is not None)

    def _use(self, credential: Credential | None) -> None:
        """Give calls this key from now on."""
        self.current = credential
        if credential is None:
            self._present.clear()
            return
        self._present.set()
        self._narrator.used(credential)

    def _looked(self, looked: RefreshFinished) -> None:
        """A look is over: tell who waits for it."""
        self._narrator.looked(looked.result)
        if looked.result in {RefreshResult.UNCHANGED, RefreshResult.CHANGED}:
            self._jobs.failure = None
        waiting = self._askers
        self._askers = [asker for asker in waiting if asker[0] > looked.number]
        for number, asker in waiting:
            if number <= looked.number and not asker.done():
                asker.set_result(looked.result)

    def _rang(self, timer: Timer) -> None:
        """An alarm rang."""
        self._tell(_ALARMS[timer](self._monotonic()))

    def _left(self, ticket: int) -> None:
        """A call waits no longer."""
        if self._group is not None:
            self._tell(CallAbandoned(self._monotonic(), ticket))

    async def _watch_clock(self) -> None:
        """Look at the source when the wall clock jumped: much may have happened."""
        apart = self._now() - self._monotonic()
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            before, apart = apart, self._now() - self._monotonic()
            if abs(apart - before) > JUMP_SECONDS:
                self._narrator.jumped(apart - before)
                self._tell(RefreshRequested(self._monotonic()))

    async def _watch_source(self, seconds: float) -> None:
        """Look at the source when it says that it moved."""
        while True:
            await asyncio.sleep(seconds)
            if await self._jobs.moved():
                self._tell(RefreshRequested(self._monotonic()))
