"""Drives a key life machine: open commands, timers, verdicts and a clock."""

from collections.abc import Callable
from typing import Final

from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import (
    CallAbandoned,
    CancelTimer,
    Command,
    CountCutover,
    Cutover,
    Describe,
    Described,
    Event,
    Failed,
    Fetch,
    InvalidValue,
    LimitReached,
    Loaded,
    OutcomeReported,
    Probe,
    Probed,
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
from sidecar.core.keylife.recovery import UnexpectedEvent
from sidecar.core.keylife.refresh import LifePolicy
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.errors import RefreshResult

EVENTS: Final[dict[Timer, Callable[[float], Event]]] = {
    Timer.REFRESH: RefreshDue,
    Timer.PROBE: ProbeDue,
    Timer.RECOVERY: RecoveryDue,
    Timer.LIMIT: LimitReached,
}

Move = tuple[State, type[Event], State]
CURRENT, PREVIOUS = VersionStage.CURRENT, VersionStage.PREVIOUS
UNREACHABLE = RefreshResult.UNREACHABLE


def key(version: str, created: float | None = None, text: str = "") -> Credential:
    """A key as a source gives it; `v2` is made after `v1`."""
    made = float(version[1:]) if created is None else created
    return Credential(Secret(text or f"key-{version}"), b"", 0, version, version, made)


class MachineDriver:
    """Drives one machine; each answer must have been asked for."""

    def __init__(
        self, *, probing: bool = False, max_stale: float = 0.0, refresh: float = 300.0
    ) -> None:
        self.life = Lifecycle(LifePolicy(refresh, max_stale, probing))
        self.at = 1000.0
        self.open: list[Command] = []
        self.issued: list[Command] = []
        self.timers: dict[Timer, float] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.records: list[Cutover] = []
        self.results: list[RefreshResult] = []
        self.currents: list[Credential | None] = []
        self.tickets = 0
        self.resumes = False
        """Resume after an unexpected event, as the manager does."""
        self.unexpected = 0
        self.moves: set[Move] = set()

    @property
    def state(self) -> State:
        """The state."""
        return self.life.state

    @property
    def current(self) -> Credential:
        """The key that calls are given."""
        assert self.currents
        assert self.currents[-1] is not None
        return self.currents[-1]

    @property
    def version(self) -> str:
        """Its version."""
        return self.current.version_id

    def handle(self, event: Event) -> None:
        """Tell the machine, and keep what it says."""
        state = self.state
        try:
            commands = self.life.handle(event)
        except UnexpectedEvent:
            if not self.resumes:
                raise
            self.unexpected += 1
            commands = self.life.resume(event)
        self.moves.add((state, type(event), self.state))
        for command in commands:
            self._keep(command)

    def _keep(self, command: Command) -> None:
        match command:
            case Describe() | Fetch() | Probe():
                self.open.append(command)
                self.issued.append(command)
            case StartTimer():
                self.timers[command.timer] = self.at + command.seconds
            case CancelTimer():
                self.timers.pop(command.timer, None)
            case ResolveCalls():
                for ticket in command.tickets:
                    assert ticket not in self.verdicts
                    self.verdicts[ticket] = command.verdict
            case CountCutover():
                self.records.append(command.cutover)
            case RefreshFinished():
                self.results.append(command.result)
            case SetCurrent():
                self.currents.append(command.credential)

    def start(self) -> None:
        """The process starts."""
        self.handle(Started(self.at))

    def close(self, kind: type[Command]) -> Command:
        """Take the oldest open question of this kind."""
        for question in self.open:
            if isinstance(question, kind):
                self.open.remove(question)
                return question
        message = f"{kind.__name__} was not asked: {self.open}"
        raise AssertionError(message)

    def describe(self, current: str, previous: str | None = None) -> None:
        """The source describes its versions."""
        self.close(Describe)
        self.handle(Described(self.at, current, previous))

    def load(self, credential: Credential, stage: VersionStage = CURRENT) -> None:
        """The source gives a key."""
        asked = self.close(Fetch)
        assert asked == Fetch(stage)
        self.handle(Loaded(self.at, stage, credential))

    def invalid(self, version: str, stage: VersionStage = CURRENT) -> None:
        """The source gives a value that breaks a rule."""
        asked = self.close(Fetch)
        assert asked == Fetch(stage)
        self.handle(InvalidValue(self.at, stage, version))

    def fail(self, result: RefreshResult = UNREACHABLE) -> None:
        """The source does not describe."""
        self.close(Describe)
        self.handle(Failed(self.at, None, result))

    def fail_fetch(self, result: RefreshResult = UNREACHABLE) -> None:
        """The source does not give a value."""
        asked = self.close(Fetch)
        assert isinstance(asked, Fetch)
        self.handle(Failed(self.at, asked.stage, result))

    def refresh(self, current: str, previous: str | None = None) -> None:
        """A whole refresh, with the key if it is fetched."""
        self.describe(current, previous)
        if Fetch(CURRENT) in self.open:
            self.load(key(current))

    def probe(self, proved: bool | None, version: str = "") -> None:
        """A probe ends."""
        asked = self.close(Probe)
        assert isinstance(asked, Probe)
        assert not version or asked.credential.version_id == version
        self.handle(Probed(self.at, asked.credential, proved))

    def unauthorized(
        self,
        used: Credential | None = None,
        *,
        waits: bool = True,
        call: bytes = b"",
    ) -> int:
        """A call drew a 401; return its ticket."""
        self.tickets += 1
        ticket = self.tickets if waits else None
        self.handle(Unauthorized(self.at, used or self.current, ticket, call))
        return self.tickets

    def abandon(self, ticket: int) -> None:
        """A call waits no longer."""
        self.handle(CallAbandoned(self.at, ticket))

    def outcome(
        self, credential: Credential, proved: bool | None, call: bytes = b""
    ) -> None:
        """A call says something about its key."""
        self.handle(OutcomeReported(self.at, credential, proved, call))

    def request_refresh(self) -> None:
        """A refresh is requested."""
        self.handle(RefreshRequested(self.at))

    def fire(self, timer: Timer) -> None:
        """Let time pass until a timer fires."""
        self.at = max(self.at, self.timers.pop(timer))
        self.handle(EVENTS[timer](self.at))

    def pass_time(self, seconds: float) -> None:
        """Let time pass; no timer fires."""
        self.at += seconds

    def count(self, question: Command) -> int:
        """How often this was asked."""
        return self.issued.count(question)


def serving(
    version: str = "v2",
    previous: str | None = "v1",
    *,
    probing: bool = False,
    max_stale: float = 0.0,
) -> MachineDriver:
    """Return a machine that serves a version."""
    machine = MachineDriver(probing=probing, max_stale=max_stale)
    machine.start()
    machine.describe(version, previous)
    machine.load(key(version))
    return machine
