"""
The changes of state and of recovery phase, held to tables by random walks.

`STATE_CHANGES` is the oracle for the states. The phases have their table in
`sidecar.core.keylife.recovery`, which drives the recovery.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Final, get_args

import pytest

from sidecar.core.keylife import recovery
from sidecar.core.keylife.messages import (
    CallAbandoned,
    Command,
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
    RefreshRequested,
    Replay,
    Started,
    State,
    Timer,
    Unauthorized,
)
from sidecar.core.keylife.recovery import (
    PhaseOutcome,
    Recovery,
    RecoveryAttempt,
    RecoveryPhase,
)
from sidecar.errors import RefreshResult
from tests.support.machine_driver import (
    CURRENT,
    EVENTS,
    PREVIOUS,
    MachineDriver,
    Move,
    key,
    serving,
)

KINDS: Final[tuple[type[Event], ...]] = get_args(Event)

_COLUMNS: Final = {
    "M": State.MISSING,
    "F": State.FRESH,
    "S": State.STALE,
    "R": State.REJECTED,
    "B": State.ROLLED_BACK,
    "U": State.REFUSED,
    "X": State.EXPIRED,
}

# fmt: off
_ROWS: Final[dict[type[Event], tuple[str, ...]]] = {
    #                   M     F       S       R       B       U        X
    Started:           ("M",  "",     "",     "",     "",     "",      ""),
    RefreshDue:        ("M",  "F",    "S",    "R",    "B",    "U",     "X"),
    RefreshRequested:  ("M",  "F",    "S",    "R",    "B",    "U",     "X"),
    Described:         ("M",  "FU",   "FSU",  "FRU",  "FBU",  "U",     "FRBUX"),
    Loaded:            ("FB", "FU",   "FSU",  "FRU",  "FBU",  "FU",    "FRBUX"),
    InvalidValue:      ("M",  "FRU",  "SRU",  "RU",   "BU",   "U",     "RBUX"),
    Failed:            ("M",  "FSU",  "SU",   "RU",   "BU",   "U",     "X"),
    ProbeDue:          ("",   "F",    "S",    "R",    "B",    "U",     "X"),
    Probed:            ("",   "FRBU", "SRBU", "FSRBU", "FSBU", "FSRBU", "X"),
    Unauthorized:      ("",   "FU",   "SU",   "RU",   "FSBU", "FU",    "X"),
    CallAbandoned:     ("",   "F",    "S",    "R",    "B",    "U",     ""),
    OutcomeReported:   ("",   "FBU",  "SBU",  "RBU",  "FSBU", "FSRBU", "X"),
    RecoveryDue:       ("",   "FU",   "SU",   "RU",   "BU",   "U",     "X"),
    LimitReached:      ("",   "",     "SX",   "RX",   "BX",   "UX",    "X"),
}
# fmt: on

STATE_CHANGES: Final = {
    (state, kind): frozenset(_COLUMNS[letter] for letter in cell)
    for kind, row in _ROWS.items()
    for state, cell in zip(_COLUMNS.values(), row, strict=True)
    if cell
}
"""The states that may follow, by state and event. A missing pair cannot happen."""

FAILURES: Final = (
    RefreshResult.UNREACHABLE,
    RefreshResult.THROTTLED,
    RefreshResult.DENIED,
)


def missing() -> MachineDriver:
    """A machine without a key."""
    machine = MachineDriver()
    machine.start()
    return machine


def stale() -> MachineDriver:
    """A machine whose source is away."""
    machine = serving()
    machine.request_refresh()
    machine.fail()
    return machine


def expired() -> MachineDriver:
    """A machine whose source was away for too long."""
    machine = serving(max_stale=600)
    machine.request_refresh()
    machine.pass_time(600)
    machine.fail()
    machine.handle(LimitReached(machine.at))
    return machine


def rejected() -> MachineDriver:
    """A machine whose newest value is useless."""
    machine = serving()
    machine.request_refresh()
    machine.describe("v3", "v2")
    machine.invalid("v3")
    return machine


def rolled_back() -> MachineDriver:
    """A machine that had nothing but the value before a useless one."""
    machine = missing()
    machine.describe("v2", "v1")
    machine.invalid("v2")
    machine.load(key("v1"), PREVIOUS)
    return machine


def refused() -> MachineDriver:
    """A machine whose only key the API refuses."""
    machine = serving("v1", None)
    machine.unauthorized()
    machine.describe("v1")
    return machine


MACHINES: Final[dict[State, Callable[[], MachineDriver]]] = {
    State.MISSING: missing,
    State.FRESH: serving,
    State.STALE: stale,
    State.ROLLED_BACK: rolled_back,
    State.REJECTED: rejected,
    State.REFUSED: refused,
    State.EXPIRED: expired,
}

SAMPLES: Final[dict[type[Event], Event]] = {
    Started: Started(5000),
    RefreshDue: RefreshDue(5000),
    RefreshRequested: RefreshRequested(5000),
    Described: Described(5000, "v9", "v8"),
    Loaded: Loaded(5000, CURRENT, key("v9")),
    InvalidValue: InvalidValue(5000, CURRENT, "v9"),
    Failed: Failed(5000, None, RefreshResult.DENIED),
    ProbeDue: ProbeDue(5000),
    Probed: Probed(5000, key("v9"), True),
    Unauthorized: Unauthorized(5000, key("v9"), 1),
    CallAbandoned: CallAbandoned(5000, 1),
    OutcomeReported: OutcomeReported(5000, key("v9"), True),
    RecoveryDue: RecoveryDue(5000),
    LimitReached: LimitReached(5000),
}


@pytest.mark.parametrize("state", State)
def test_each_state_can_be_reached(state: State) -> None:
    """The machines of this file are in the states that they are named for."""
    assert MACHINES[state]().state is state


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, KINDS)))
def test_an_event_changes_the_state_only_as_listed(
    state: State, kind: type[Event]
) -> None:
    """An event that cannot happen in a state leaves the state as it is."""
    machine = MACHINES[state]()
    machine.life.handle(SAMPLES[kind])

    assert machine.state in STATE_CHANGES.get((state, kind), {state})


class Walk:
    """A random life: a source, an API and calls that do whatever they like."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        pick = self.chance.choice
        self.machine = MachineDriver(
            probing=pick([True, True, False]), max_stale=pick([0, 0, 600])
        )
        self.machine.life.recovery.refresh_budget.size = pick([8, 2, 0])
        self.stages = pick([True, True, False])
        self.spoiled = {f"v{n}" for n in range(4) if pick([True, False, False])}
        self.place, self.before = "v0", ""
        self.away = pick([0.1, 0.3])
        self.restless = pick([0.0, 0.1, 0.5])
        self.waiting: set[int] = set()

    def tell(self, event: Event) -> None:
        """Tell the machine, and note its move."""
        self.machine.handle(event)
        for ticket in self.waiting & self.machine.verdicts.keys():
            self.waiting.discard(ticket)
            verdict = self.machine.verdicts[ticket]
            if isinstance(verdict, Replay) and verdict.trial:
                self.machine.open.append(Probe(verdict.credential))

    def live(self, steps: int) -> set[Move]:
        """Take so many steps."""
        self.tell(Started(self.machine.at))
        if self.machine.life.policy.probing and self.chance.random() < 0.5:
            self.reject_candidate()
        deeds = (self.answer, self.ring, self.call, self.change, self.other)
        for _ in range(steps):
            self.machine.pass_time(self.chance.choice([0, 0, 0.01, 0.5, 3, 20]))
            self.chance.choices(deeds, [45, 15, 20, 5, 15])[0]()
        return self.machine.moves

    def reject_candidate(self) -> None:
        """Bring a candidate that the API rejects, and a 401 on the key in use."""
        self.machine.refresh("v0")
        self.machine.request_refresh()
        self.place, self.before = "v1", "v0"
        self.machine.refresh("v1", "v0" if self.stages else None)
        self.machine.probe(self.chance.choice([False, False, None]))
        self.call()

    def answer(self) -> None:
        """Answer one of the open questions."""
        machine, pick = self.machine, self.chance.choice
        if not machine.open:
            return
        question = machine.open.pop(self.chance.randrange(len(machine.open)))
        at = machine.at
        if isinstance(question, Probe):
            proved = pick([True, False, None])
            if pick([True, False]):
                self.tell(Probed(at, question.credential, proved))
            else:
                self.tell(OutcomeReported(at, question.credential, proved))
        elif self.chance.random() < self.away:
            stage = question.stage if isinstance(question, Fetch) else None
            self.tell(Failed(at, stage, pick(FAILURES)))
        elif isinstance(question, Describe):
            before = self.before if self.stages and self.before else None
            self.tell(Described(at, self.place, before))
            if self.chance.random() < self.restless:
                self.change()
        elif isinstance(question, Fetch):
            version = self.place if question.stage is CURRENT else self.before
            if version in self.spoiled:
                self.tell(InvalidValue(at, question.stage, version))
            else:
                self.tell(Loaded(at, question.stage, key(version)))

    def ring(self) -> None:
        """Fire one of the timers."""
        if self.machine.timers:
            timer = self.chance.choice(list(self.machine.timers))
            at = max(self.machine.at, self.machine.timers.pop(timer))
            self.machine.at = at
            self.tell(EVENTS[timer](at))

    def call(self) -> None:
        """Let a call draw a 401."""
        used = [one for one in self.machine.currents if one is not None][-3:]
        if used:
            self.machine.tickets += 1
            waits = self.chance.random() < 0.8
            ticket = self.machine.tickets if waits else None
            if ticket is not None:
                self.waiting.add(ticket)
            self.tell(Unauthorized(self.machine.at, self.chance.choice(used), ticket))

    def change(self) -> None:
        """Move AWSCURRENT."""
        place = f"v{self.chance.randrange(4)}"
        if place != self.place:
            self.place, self.before = place, self.place

    def other(self) -> None:
        """Ask for a refresh, report a success, or let a call leave."""
        used = [one for one in self.machine.currents if one is not None][-3:]
        deed = self.chance.randrange(3)
        if deed == 0:
            self.tell(RefreshRequested(self.machine.at))
        elif deed == 1 and used:
            proved = self.chance.choice([True, False, None])
            self.tell(
                OutcomeReported(self.machine.at, self.chance.choice(used), proved)
            )
        elif deed == 2 and self.waiting:
            ticket = self.chance.choice(sorted(self.waiting))
            self.waiting.discard(ticket)
            self.tell(CallAbandoned(self.machine.at, ticket))


def fetching() -> MachineDriver:
    """A machine that waits for AWSPREVIOUS because of a 401."""
    machine = serving(max_stale=600)
    machine.unauthorized()
    machine.describe("v2", "v1")
    return machine


def chosen() -> MachineDriver:
    """A rolled back machine with a candidate, and the source away."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(False)
    machine.load(key("v1"), PREVIOUS)
    machine.probe(True)
    machine.request_refresh()
    machine.refresh("v3", "v2")
    machine.request_refresh()
    machine.fail()
    return machine


def stuck() -> MachineDriver:
    """A refused machine with an undecided candidate, after a probe got no answer."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(True)
    machine.request_refresh()
    machine.refresh("v3", "v2")
    machine.pass_time(6)
    machine.unauthorized()
    machine.pass_time(60)
    machine.unauthorized()
    return machine


def test_a_401_on_a_refused_key_promotes_an_undecided_candidate() -> None:
    """The former table of states did not list this change and ended the process."""
    machine = stuck()
    refused_first = machine.state
    machine.pass_time(300)
    ticket = machine.unauthorized()

    assert refused_first is State.REFUSED
    assert machine.state is State.FRESH
    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def rare_moves() -> Iterator[set[Move]]:
    """Moves that need a coincidence that a random walk does not meet in seconds."""
    machine = rolled_back()
    machine.unauthorized()
    machine.describe("v3", "v1")
    machine.load(key("v2"))
    yield machine.moves
    machine = fetching()
    machine.request_refresh()
    machine.fail()
    machine.invalid("v1", PREVIOUS)
    yield machine.moves
    machine = fetching()
    machine.request_refresh()
    machine.fail(RefreshResult.DENIED)
    machine.life.recovery.refresh_budget.size = 0
    machine.load(key("v2"), PREVIOUS)
    yield machine.moves
    for spoiled in (False, True):
        machine = fetching()
        machine.request_refresh()
        machine.pass_time(600)
        machine.fail()
        machine.fire(Timer.LIMIT)
        if spoiled:
            machine.invalid("v1", PREVIOUS)
        else:
            machine.load(key("v1"), PREVIOUS)
        yield machine.moves
    machine = stuck()
    machine.pass_time(300)
    machine.unauthorized()
    yield machine.moves
    machine = chosen()
    machine.unauthorized()
    yield machine.moves
    machine = chosen()
    machine.probe(True)
    yield machine.moves


def rare_phases() -> None:
    """Take the recovery through phases that need a coincidence."""
    for probing in (False, True):
        machine = serving("v1", None, probing=probing)
        machine.fire(Timer.REFRESH)
        machine.refresh("v2", "v1")
        if probing:
            machine.probe(True)
        machine.unauthorized()
        machine.describe("v2", "v9")
        if probing:
            machine.probe(False)
        machine.life.recovery.refresh_budget.size = 0
        machine.load(key("v9", text="key-v2"), PREVIOUS)
    machine = serving("v1", None, probing=True)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    machine.probe(True)
    machine.unauthorized()
    machine.fail()
    machine.probe(False, "v2")
    machine.request_refresh()
    machine.describe("v2", "v9")
    machine.probe(False, "v1")
    machine = serving()
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.request_refresh()
    machine.describe("v2", "v8")
    machine.invalid("v1", PREVIOUS)


Step = tuple[RecoveryPhase, PhaseOutcome, RecoveryPhase | None]


@pytest.fixture(name="steps")
def _steps(monkeypatch: pytest.MonkeyPatch) -> set[Step]:
    """Record the steps of every recovery; None: the phase stays."""
    steps: set[Step] = set()
    advance = Recovery._advance

    def record(
        self: Recovery, at: float, attempt: RecoveryAttempt, outcome: PhaseOutcome
    ) -> Sequence[Command]:
        phase = attempt.phase
        commands = advance(self, at, attempt, outcome)
        stays = not recovery.TRANSITIONS[phase, outcome]
        steps.add((phase, outcome, None if stays else attempt.phase))
        return commands

    monkeypatch.setattr(Recovery, "_advance", record)
    return steps


def listed_steps() -> set[Step]:
    """Every step of the table; the outcomes of PROBE_CANDIDATE are equivalent."""
    rows = recovery.TRANSITIONS.items()
    return {
        equivalent((*cell, phase)) for cell, row in rows for phase in row or (None,)
    }


def equivalent(step: Step) -> Step:
    """Return one step for all that the table treats alike."""
    phase, outcome, following = step
    judged = {PhaseOutcome.PROVED, PhaseOutcome.REFUSED, PhaseOutcome.UNDECIDED}
    alike = phase is RecoveryPhase.PROBE_CANDIDATE and outcome in judged
    return (phase, PhaseOutcome.REFUSED if alike else outcome, following)


def test_the_tables_list_what_happens_and_nothing_else(steps: set[Step]) -> None:
    """Random walks, and a few chosen ones, take every listed step and no other."""
    moves = set[Move]().union(*rare_moves())
    rare_phases()
    listed = {
        (state, kind, after)
        for (state, kind), allowed in STATE_CHANGES.items()
        for after in allowed
    }
    for seed in range(8000):
        done = moves == listed and {equivalent(s) for s in steps} == listed_steps()
        if done and seed > 500:
            break
        moves |= Walk(seed).live(20 + seed % 100)

    assert listed - moves == set()
    assert moves - listed == set()
    assert listed_steps() == {equivalent(step) for step in steps}


@pytest.mark.parametrize("cell", recovery.TRANSITIONS)
def test_a_forgotten_case_costs_no_call_that_a_working_key_could_serve(
    monkeypatch: pytest.MonkeyPatch, cell: tuple[RecoveryPhase, PhaseOutcome]
) -> None:
    """Without any one cell, the machine keeps its key, its refreshes and its timers."""
    rest = {k: v for k, v in recovery.TRANSITIONS.items() if k != cell}
    monkeypatch.setattr(recovery, "TRANSITIONS", rest)
    for seed in range(60):
        walk = Walk(seed)
        machine = walk.machine
        machine.resumes = True
        walk.live(100)
        schedule = machine.life.refresh_schedule

        has_key = machine.life.keys.in_use is not None and not machine.life.expired
        assert has_key == (bool(machine.currents) and machine.currents[-1] is not None)
        reading = any(
            isinstance(one, Describe) or one == Fetch(CURRENT) for one in machine.open
        )
        assert schedule.busy == reading
        assert reading or Timer.REFRESH in machine.timers
        attempt = machine.life.recovery.attempt
        waiting = set() if attempt is None else set(attempt.tickets)
        assert walk.waiting <= waiting | machine.verdicts.keys()


def test_a_machine_cannot_be_copied() -> None:
    """Secrets refuse to be copied."""
    with pytest.raises(TypeError):
        deepcopy(serving().life)
