"""A machine with what surrounds it: open questions, alarms, verdicts, a clock."""

from collections.abc import Callable
from typing import Final

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
    Cutover,
    Described,
    Event,
    Failed,
    InvalidValue,
    LimitReached,
    Loaded,
    OutcomeReported,
    Probed,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    RefreshRequested,
    Started,
    State,
    Timer,
    Unauthorized,
    Verdict,
    VersionStage,
)
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


class Living:
    """Drives one machine; each answer must have been asked for."""

    def __init__(
        self, *, probing: bool = False, max_stale: float = 0.0, refresh: float = 300.0
    ) -> None:
        self.life = Lifecycle(LifePolicy(refresh, max_stale, probing))
        self.at = 1000.0
        self.open: list[Command] = []
        self.asked: list[Command] = []
        self.alarms: dict[Timer, float] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.records: list[Cutover] = []
        self.results: list[RefreshResult] = []
        self.used: list[Credential | None] = []
        self.tickets = 0
        self.unexpected: list[ReportUnexpected] = []
        self.moves: set[Move] = set()

    @property
    def state(self) -> State:
        """The state."""
        return self.life.state

    @property
    def current(self) -> Credential:
        """The key that calls are given."""
        assert self.used
        assert self.used[-1] is not None
        return self.used[-1]

    @property
    def version(self) -> str:
        """Its version."""
        return self.current.version_id

    def tell(self, event: Event) -> None:
        """Tell the machine, and keep what it says."""
        state = self.state
        commands = self.life.handle(event)
        self.moves.add((state, type(event), self.state))
        for command in commands:
            self._keep(command)

    def _keep(self, command: Command) -> None:
        match command:
            case Describe() | Fetch() | Probe():
                self.open.append(command)
                self.asked.append(command)
            case StartTimer():
                self.alarms[command.timer] = self.at + command.seconds
            case CancelTimer():
                self.alarms.pop(command.timer, None)
            case ResolveCalls():
                self._resolve(command)
            case CountCutover():
                self.records.append(command.cutover)
            case RefreshFinished():
                self.results.append(command.result)
            case SetCurrent():
                self.used.append(command.credential)
            case ReportUnexpected():
                self.unexpected.append(command)

    def _resolve(self, command: ResolveCalls) -> None:
        for ticket in command.tickets:
            assert ticket not in self.verdicts
            self.verdicts[ticket] = command.verdict

    def begin(self) -> None:
        """The process starts."""
        self.tell(Started(self.at))

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
        self.tell(Described(self.at, current, previous))

    def load(self, credential: Credential, stage: VersionStage = CURRENT) -> None:
        """The source gives a key."""
        asked = self.close(Fetch)
        assert asked == Fetch(stage)
        self.tell(Loaded(self.at, stage, credential))

    def spoil(self, version: str, stage: VersionStage = CURRENT) -> None:
        """The source gives a value that breaks a rule."""
        asked = self.close(Fetch)
        assert asked == Fetch(stage)
        self.tell(InvalidValue(self.at, stage, version))

    def fail(self, result: RefreshResult = UNREACHABLE) -> None:
        """The source does not describe."""
        self.close(Describe)
        self.tell(Failed(self.at, None, result))

    def fail_fetch(self, result: RefreshResult = UNREACHABLE) -> None:
        """The source does not give a value."""
        asked = self.close(Fetch)
        assert isinstance(asked, Fetch)
        self.tell(Failed(self.at, asked.stage, result))

    def look(self, current: str, previous: str | None = None) -> None:
        """A whole look, with the key when it is asked for."""
        self.describe(current, previous)
        if Fetch(CURRENT) in self.open:
            self.load(key(current))

    def probe(self, proved: bool | None, version: str = "") -> None:
        """A probe ends."""
        asked = self.close(Probe)
        assert isinstance(asked, Probe)
        assert not version or asked.credential.version_id == version
        self.tell(Probed(self.at, asked.credential, proved))

    def challenge(
        self,
        used: Credential | None = None,
        *,
        waits: bool = True,
        call: bytes = b"",
    ) -> int:
        """A call drew a 401; return its ticket."""
        self.tickets += 1
        ticket = self.tickets if waits else None
        self.tell(Unauthorized(self.at, used or self.current, ticket, call))
        return self.tickets

    def withdraw(self, ticket: int) -> None:
        """A call waits no longer."""
        self.tell(CallAbandoned(self.at, ticket))

    def tried(
        self, credential: Credential, proved: bool | None, call: bytes = b""
    ) -> None:
        """A call says something about its key."""
        self.tell(OutcomeReported(self.at, credential, proved, call))

    def ask(self) -> None:
        """Someone wants a look now."""
        self.tell(RefreshRequested(self.at))

    def ring(self, timer: Timer) -> None:
        """Let time pass until an alarm rings."""
        self.at = max(self.at, self.alarms.pop(timer))
        self.tell(EVENTS[timer](self.at))

    def pass_time(self, seconds: float) -> None:
        """Let time pass; no alarm rings."""
        self.at += seconds

    def count(self, question: Command) -> int:
        """How often this was asked."""
        return self.asked.count(question)


def serving(
    version: str = "v2",
    previous: str | None = "v1",
    *,
    probing: bool = False,
    max_stale: float = 0.0,
) -> Living:
    """Return a machine that serves a version."""
    living = Living(probing=probing, max_stale=max_stale)
    living.begin()
    living.describe(version, previous)
    living.load(key(version))
    return living
