"""The table lists every change of state that the machine makes, and no other."""

import itertools
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Final, get_args

import pytest

from sidecar.core.keylife.commands import Describe, Fetch, Probe, ReportUnexpected
from sidecar.core.keylife.messages import (
    CallAbandoned,
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
    Replay,
    Started,
    State,
    Timer,
    Unauthorized,
)
from sidecar.core.keylife.table import TRANSITIONS
from sidecar.errors import RefreshResult
from tests.support.machine_driver import (
    CURRENT,
    EVENTS,
    PREVIOUS,
    Living,
    Move,
    key,
    serving,
)

KINDS: Final[tuple[type[Event], ...]] = get_args(Event)

FAILURES: Final = (
    RefreshResult.UNREACHABLE,
    RefreshResult.THROTTLED,
    RefreshResult.DENIED,
)


def missing() -> Living:
    """A machine without a key."""
    living = Living()
    living.begin()
    return living


def stale() -> Living:
    """A machine whose source is away."""
    living = serving()
    living.ask()
    living.fail()
    return living


def expired() -> Living:
    """A machine whose source was away for too long."""
    living = serving(max_stale=600)
    living.ask()
    living.pass_time(600)
    living.fail()
    living.tell(LimitReached(living.at))
    return living


def rejected() -> Living:
    """A machine whose newest value is useless."""
    living = serving()
    living.ask()
    living.describe("v3", "v2")
    living.spoil("v3")
    return living


def rolled_back() -> Living:
    """A machine that had nothing but the value before a useless one."""
    living = missing()
    living.describe("v2", "v1")
    living.spoil("v2")
    living.load(key("v1"), PREVIOUS)
    return living


def refused() -> Living:
    """A machine whose only key the API refuses."""
    living = serving(previous=None)
    living.challenge()
    living.describe("v2")
    return living


MACHINES: Final[dict[State, Callable[[], Living]]] = {
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
def test_an_event_outside_the_table_is_obeyed_and_reported(
    state: State, kind: type[Event]
) -> None:
    """Every event is obeyed in every state; what the table does not list is reported."""
    living = MACHINES[state]()
    allowed = TRANSITIONS.get((state, kind), frozenset())

    commands = living.life.handle(SAMPLES[kind])

    reports = [one for one in commands if isinstance(one, ReportUnexpected)]
    expected = [ReportUnexpected(kind.__name__, state, living.state)]
    assert reports == ([] if living.state in allowed else expected)


@pytest.mark.parametrize("state", [one for one in State if one is not State.MISSING])
@pytest.mark.parametrize("kind", KINDS)
def test_no_unexpected_event_takes_a_key_away(state: State, kind: type[Event]) -> None:
    """A sidecar that gave out a key gives one out after any event but the limit."""
    living = MACHINES[state]()
    had = living.used[-1] is not None
    sample = SAMPLES[kind]

    living.tell(sample)

    assert (living.used[-1] is not None) or not had


class Walk:
    """A random life: a source, an API and calls that do whatever they like."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        pick = self.chance.choice
        self.living = Living(
            probing=pick([True, True, False]), max_stale=pick([0, 0, 600])
        )
        self.living.life.recovery.token_bucket.size = pick([8, 2, 0])
        self.stages = pick([True, True, False])
        self.spoiled = {f"v{n}" for n in range(4) if pick([True, False, False])}
        self.place, self.before = "v0", ""
        self.away = pick([0.1, 0.3])
        self.restless = pick([0.0, 0.1, 0.5])
        self.waiting: set[int] = set()

    def tell(self, event: Event) -> None:
        """Tell the machine, and note its move."""
        self.living.tell(event)
        for ticket in self.waiting & self.living.verdicts.keys():
            self.waiting.discard(ticket)
            verdict = self.living.verdicts[ticket]
            if isinstance(verdict, Replay) and verdict.trial:
                self.living.open.append(Probe(verdict.credential))

    def live(self, steps: int) -> set[Move]:
        """Take so many steps."""
        self.tell(Started(self.living.at))
        deeds = (self.answer, self.ring, self.call, self.change, self.other)
        for _ in range(steps):
            self.living.pass_time(self.chance.choice([0, 0, 0.01, 0.5, 3, 20]))
            self.chance.choices(deeds, [45, 15, 20, 5, 15])[0]()
        return self.living.moves

    def answer(self) -> None:
        """Answer one of the open questions."""
        living, pick = self.living, self.chance.choice
        if not living.open:
            return
        question = living.open.pop(self.chance.randrange(len(living.open)))
        at = living.at
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
        """Ring one of the alarms."""
        if self.living.alarms:
            timer = self.chance.choice(list(self.living.alarms))
            at = max(self.living.at, self.living.alarms.pop(timer))
            self.living.at = at
            self.tell(EVENTS[timer](at))

    def call(self) -> None:
        """Let a call draw a 401."""
        used = [one for one in self.living.used if one is not None][-3:]
        if used:
            self.living.tickets += 1
            waits = self.chance.random() < 0.8
            ticket = self.living.tickets if waits else None
            if ticket is not None:
                self.waiting.add(ticket)
            self.tell(Unauthorized(self.living.at, self.chance.choice(used), ticket))

    def change(self) -> None:
        """Move AWSCURRENT."""
        place = f"v{self.chance.randrange(4)}"
        if place != self.place:
            self.place, self.before = place, self.place

    def other(self) -> None:
        """Ask for a look, report a success, or let a call leave."""
        used = [one for one in self.living.used if one is not None][-3:]
        deed = self.chance.randrange(3)
        if deed == 0:
            self.tell(RefreshRequested(self.living.at))
        elif deed == 1 and used:
            proved = self.chance.choice([True, False, None])
            self.tell(OutcomeReported(self.living.at, self.chance.choice(used), proved))
        elif deed == 2 and self.waiting:
            ticket = self.chance.choice(sorted(self.waiting))
            self.waiting.discard(ticket)
            self.tell(CallAbandoned(self.living.at, ticket))


def fetching() -> Living:
    """A machine that waits for AWSPREVIOUS because of a 401."""
    living = serving(max_stale=600)
    living.challenge()
    living.describe("v2", "v1")
    return living


def chosen() -> Living:
    """A rolled back machine with a candidate, and the source away."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(False)
    living.load(key("v1"), PREVIOUS)
    living.probe(True)
    living.ask()
    living.look("v3", "v2")
    living.ask()
    living.fail()
    return living


def rare_moves() -> Iterator[set[Move]]:
    """Moves that need a coincidence that a random walk does not meet in seconds."""
    living = rolled_back()
    living.challenge()
    living.describe("v3", "v1")
    living.load(key("v2"))
    yield living.moves
    living = fetching()
    living.ask()
    living.fail()
    living.spoil("v1", PREVIOUS)
    yield living.moves
    living = fetching()
    living.ask()
    living.fail(RefreshResult.DENIED)
    living.life.recovery.token_bucket.size = 0
    living.load(key("v2"), PREVIOUS)
    yield living.moves
    for spoiled in (False, True):
        living = fetching()
        living.ask()
        living.pass_time(600)
        living.fail()
        living.ring(Timer.LIMIT)
        if spoiled:
            living.spoil("v1", PREVIOUS)
        else:
            living.load(key("v1"), PREVIOUS)
        yield living.moves
    living = chosen()
    living.challenge()
    yield living.moves
    living = chosen()
    living.probe(True)
    yield living.moves
    yield Walk(33395).live(115)


def test_the_table_lists_what_happens_and_nothing_else() -> None:
    """Random walks, and a few chosen ones, make every move of it and no other."""
    moves = set[Move]().union(*rare_moves())
    listed = {
        (state, kind, after)
        for (state, kind), allowed in TRANSITIONS.items()
        for after in allowed
    }
    for seed in range(8000):
        if moves == listed and seed > 500:
            break
        moves |= Walk(seed).live(20 + seed % 100)

    assert listed - moves == set()
    assert moves - listed == set()


def test_a_machine_can_be_copied_for_a_look() -> None:
    """Its facts are plain values; secrets refuse to be copied, as they should."""
    with pytest.raises(TypeError):
        deepcopy(serving().life)
