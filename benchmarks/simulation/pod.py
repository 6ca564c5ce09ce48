"""
One sidecar of the fleet: the real machine in simulated time.

It carries out the machine's commands as `sidecar.credential.manager` does, on a simulated
clock. A request takes half its time to arrive. The answer is what was true at that
moment, which may have changed when the answer arrives.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.simulation.world import API_SECONDS, AWS_SECONDS, World
from sidecar.core.keylife.backoff import spread
from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import (
    CallAbandoned,
    CancelTimer,
    Command,
    Describe,
    Described,
    Event,
    Failed,
    Fetch,
    LimitReached,
    Loaded,
    OutcomeReported,
    PassThrough,
    Probe,
    Probed,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    ResolveCalls,
    SetCurrent,
    Started,
    StartTimer,
    Timer,
    Unauthorized,
    Verdict,
    VersionStage,
)
from sidecar.core.keylife.refresh import LifePolicy
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult

CALL_SECONDS: Final = 10.0
"""The longest wait of a call for its verdict (`sidecar.credential.pending_verdicts`)."""
SHORTEST_SECONDS: Final = 0.001
Late = Callable[[], Event]
"""Makes the event of an answer when it arrives."""
TIMER_EVENTS: Final[dict[Timer, Callable[[float], Event]]] = {
    Timer.REFRESH: RefreshDue,
    Timer.PROBE: ProbeDue,
    Timer.RECOVERY: RecoveryDue,
    Timer.LIMIT: LimitReached,
}


@dataclass
class Tally:
    """The outcome of the fleet's calls that got 401."""

    absorbed: int = 0
    """Sent again, and the service saw no 401."""
    failed: int = 0
    """The service saw the 401."""
    slowest: float = 0.0
    """Seconds that an absorbed call took."""


@dataclass
class Pod:
    """
    A service with its sidecar.

    The service's calls are simulated while they may draw a 401: all others are of no
    interest here.
    """

    world: World
    policy: LifePolicy
    rate: float
    """Calls per second; 0 = none."""
    tally: Tally
    life: Lifecycle = field(init=False)
    current: Credential | None = None
    moved: dict[str, float] = field(default_factory=dict)
    """Version -> when it came into use."""
    asked: int = 0
    """Calls to Secrets Manager."""
    _timers: dict[Timer, object] = field(default_factory=dict)
    _tickets: int = 0
    _waiting: dict[int, float] = field(default_factory=dict)
    _calling: bool = False

    def __post_init__(self) -> None:
        self.life = Lifecycle(self.policy)

    def start(self) -> None:
        """Begin."""
        self._handle(Started(self.world.clock.now))

    def expect_refusals(self) -> None:
        """Make the service's calls, now that a key was revoked."""
        if not self._calling and self.rate:
            self._calling = True
            self._call_later()

    def _handle(self, event: Event) -> None:
        """Pass an event to the machine and carry out its commands."""
        for command in self.life.handle(event):
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        """Carry out one command; those that only report are ignored."""
        match command:
            case Describe():
                self._send_command(AWS_SECONDS, self._describe)
            case Fetch():
                self._send_command(AWS_SECONDS, partial(self._fetch, command.stage))
            case Probe():
                self._send_command(
                    API_SECONDS, partial(self._probe, command.credential)
                )
            case SetCurrent():
                self._use(command.credential)
            case ResolveCalls():
                for ticket in command.tickets:
                    self._answer(ticket, command.verdict)
            case StartTimer():
                self._start_timer(command)
            case CancelTimer():
                self._timers.pop(command.timer, None)
            case _:
                pass

    def _send_command(self, median: float, arrive: Callable[[], Late]) -> None:
        """Send a question; `arrive` says what the other side answers."""
        clock = self.world.clock

        def arrived() -> None:
            answer = arrive()
            clock.later(self.world.delay(median), lambda: self._handle(answer()))

        clock.later(self.world.delay(median), arrived)

    def _describe(self) -> Late:
        """DescribeSecret."""
        self.asked += 1
        if not self.world.admits("DescribeSecret"):
            return self._throttled(None)
        current, previous = self.world.current, self.world.previous
        before = previous.version_id if previous else None
        return lambda: Described(self.world.clock.now, current.version_id, before)

    def _fetch(self, stage: VersionStage) -> Late:
        """GetSecretValue."""
        self.asked += 1
        if not self.world.admits("GetSecretValue"):
            return self._throttled(stage)
        found = (
            self.world.current if stage is VersionStage.CURRENT else self.world.previous
        )
        credential = found or self.world.current
        return lambda: Loaded(self.world.clock.now, stage, credential)

    def _throttled(self, stage: VersionStage | None) -> Late:
        """Secrets Manager refuses: too many calls."""
        result = RefreshResult.THROTTLED
        return lambda: Failed(self.world.clock.now, stage, result)

    def _probe(self, credential: Credential) -> Late:
        """Ask the API about a key."""
        self.world.probes += 1
        proved = self.world.accepts(credential)
        return lambda: Probed(self.world.clock.now, credential, proved)

    def _use(self, credential: Credential | None) -> None:
        """Use this key for calls from now on."""
        self.current = credential
        if credential is not None:
            self.moved.setdefault(credential.version_id, self.world.clock.now)

    def _start_timer(self, command: StartTimer) -> None:
        """Start a timer, replacing an earlier one of that name."""
        mark = object()
        self._timers[command.timer] = mark
        chance = self.world.chance.random()
        seconds = spread(command.seconds, command.jitter, chance)

        def fire() -> None:
            if self._timers.get(command.timer) is mark:
                del self._timers[command.timer]
                self._handle(TIMER_EVENTS[command.timer](self.world.clock.now))

        self.world.clock.later(max(SHORTEST_SECONDS, seconds), fire)

    def _call_later(self) -> None:
        """Wait for the service's next call."""
        pause = self.world.chance.expovariate(self.rate)
        self.world.clock.later(pause, self._next_call)

    def _next_call(self) -> None:
        """Make a call, and the next one, for as long as one may draw a 401."""
        credential = self.current
        if credential is None or self.world.accepts(credential):
            self._calling = False
            return
        self._send(credential, self.world.clock.now, None)
        self._call_later()

    def _send(
        self, credential: Credential, began: float, replay: Verdict | None
    ) -> None:
        """Send a call to the API, or send it again."""
        clock = self.world.clock

        def arrived() -> None:
            known = self.world.accepts(credential)
            clock.later(
                self.world.delay(API_SECONDS),
                lambda: self._answered(credential, began, replay, known=known),
            )

        clock.later(self.world.delay(API_SECONDS), arrived)

    def _answered(
        self,
        credential: Credential,
        began: float,
        replay: Verdict | None,
        *,
        known: bool,
    ) -> None:
        """Take in the API's answer to a call."""
        now = self.world.clock.now
        if replay is None and not known:
            self._unauthorized(credential, began)
            return
        trial = not isinstance(replay, PassThrough | None) and replay.trial
        if trial or (known and self.life.keys.refused):
            self._handle(OutcomeReported(now, credential, known))
        if replay is not None and known:
            self.tally.absorbed += 1
            self.tally.slowest = max(self.tally.slowest, now - began)
        self.tally.failed += not known

    def _unauthorized(self, used: Credential, began: float) -> None:
        """Ask the machine what becomes of a call that drew a 401."""
        clock = self.world.clock
        self._tickets += 1
        ticket = self._tickets
        self._waiting[ticket] = began

        def late() -> None:
            if ticket in self._waiting:
                self._answer(ticket, PassThrough())
                self._handle(CallAbandoned(clock.now, ticket))

        clock.later(CALL_SECONDS, late)
        self._handle(Unauthorized(clock.now, used, ticket))

    def _answer(self, ticket: int, verdict: Verdict) -> None:
        """Do with a waiting call what the machine says."""
        began = self._waiting.pop(ticket, None)
        if began is None:
            return
        if isinstance(verdict, PassThrough):
            self.tally.failed += 1
        else:
            self._send(verdict.credential, began, verdict)
