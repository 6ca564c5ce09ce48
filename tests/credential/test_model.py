"""
A manager against a model of everything around it (issue: the state machine proven).

Hypothesis rotates, revokes, breaks the source and the API, steps clocks and calls, in
any order, in virtual time. After each step:

- a proven working key was never given up for one that is not proven;
- the state that is reported is true;
- no call waits for longer than it may, and none is sent more than twice;
- the source was asked no more than time and changes account for;
- with the source and the API up, no call fails as long as AWSCURRENT's key works.
"""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sidecar.core.keylife.messages import (
    State,
)
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult
from tests.support.simulation import EPOCH, Simulation
from tests.support.virtual_clock import VirtualLoop

OUTAGES = st.sampled_from(
    [
        RefreshResult.UNREACHABLE,
        RefreshResult.THROTTLED,
        RefreshResult.DENIED,
        RefreshResult.NOT_FOUND,
    ]
)
PAUSES = st.sampled_from([0.001, 0.02, 0.1, 1.0, 3.0, 6.0, 30.0, 310.0, 1000.0])
CALLS_SECONDS = 10.5
"""The longest that a call may take in this simulation."""


class KeeperLife(RuleBasedStateMachine):
    """Everything that can happen to a manager."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.simulation = Simulation()
        self.task: asyncio.Task[None] | None = None
        self.versions = 0
        self.changes = 0
        self.forced = 0
        self.outages = 0
        self.swaps: list[tuple[str | None, str | None]] = []

    # The simulation.

    @initialize(
        probing=st.booleans(),
        max_stale=st.sampled_from([0.0, 900.0]),
        key=st.booleans(),
    )
    def begin(self, probing: bool, max_stale: float, key: bool) -> None:
        """A process starts, with a key that works or one that does not."""
        self.simulation = Simulation(probing=probing, max_stale=max_stale)
        self.probing = probing
        self.new_version(works=key)
        use = self.simulation.manager._set_current

        def watch(credential: Credential | None) -> None:
            old = self.simulation.current
            use(credential)
            self.swapped(old, self.simulation.current)

        self.simulation.manager._set_current = watch  # type: ignore[method-assign]  # seen as it is used
        self.run(self.start())

    async def start(self) -> None:
        """Start the manager."""
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self.simulation.manager.run())
        await asyncio.sleep(0.1)

    def teardown(self) -> None:
        """The process ends, and leaves nothing."""
        if self.task is not None:
            self.run(self.stop(self.task))
            assert len(self.simulation.manager._pending) == 0
            assert self.simulation.source.closed
        self.runner.close()

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Stop the manager."""
        task.cancel()
        await asyncio.wait([task])

    def run(self, story: Any) -> Any:
        """Let this happen."""
        return self.runner.run(story)

    def new_version(self, *, works: bool) -> None:
        """Store a key as AWSCURRENT."""
        self.versions += 1
        self.changes += 1
        version = f"v{self.versions}"
        made = EPOCH + self.versions
        self.simulation.source.put(version, f"key-{version}", made)
        if works:
            self.simulation.api.valid.add(f"key-{version}")

    def swapped(self, old: str | None, new: str | None) -> None:
        """With a probe, only a refused key is given up for one that is not proven."""
        api = self.simulation.api
        if self.probing and old is not None and new is not None and old != new:
            assert new in api.accepted or old in api.refused, (old, new)

    # What people do.

    @rule(works=st.booleans())
    def rotate(self, works: bool) -> None:
        """Store a new key."""
        self.new_version(works=works)

    @rule()
    def replace_in_an_emergency(self) -> None:
        """Store a new key and revoke all others at once."""
        self.new_version(works=True)
        self.simulation.api.valid = {f"key-v{self.versions}"}

    @rule(number=st.integers(1, 6))
    def revoke(self, number: int) -> None:
        """Revoke a key."""
        self.simulation.revoke(f"v{number}")

    @rule(number=st.integers(1, 6))
    def revive(self, number: int) -> None:
        """Make a key work again."""
        if number <= self.versions:
            self.simulation.api.valid.add(f"key-v{number}")

    @rule()
    def move_back(self) -> None:
        """Move AWSCURRENT to the version before."""
        if self.simulation.source.previous is not None:
            self.changes += 1
            self.simulation.source.move(self.simulation.source.previous)

    @rule(value=st.sampled_from(["Bearer x", "", "change me"]))
    def store_rubbish(self, value: str) -> None:
        """Store a value that breaks a rule."""
        self.versions += 1
        self.changes += 1
        self.simulation.source.put(f"v{self.versions}", value, EPOCH + self.versions)

    @rule()
    def store_the_same_key_again(self) -> None:
        """A new version with the old value."""
        source = self.simulation.source
        self.versions += 1
        self.changes += 1
        value = source.values[source.current]
        source.put(f"v{self.versions}", value, EPOCH + self.versions)

    @rule()
    def reload(self) -> None:
        """Force a refresh."""
        self.forced += 1

        async def story() -> None:
            async with asyncio.timeout(30):
                await self.simulation.manager.refresh()

        self.run(story())

    # What breaks.

    @rule(outage=OUTAGES, failing=st.integers(0, 4))
    def break_the_source(self, outage: RefreshResult, failing: int) -> None:
        """For so many questions, or until it is mended."""
        self.outages += 1
        self.simulation.source.outage, self.simulation.source.failing = outage, failing

    @rule()
    def hang_the_source(self) -> None:
        """It answers nothing."""
        self.outages += 1
        self.simulation.source.hangs = True

    @rule()
    def mend_the_source(self) -> None:
        """All is well."""
        source = self.simulation.source
        source.outage, source.failing, source.hangs = None, 0, False

    @rule(up=st.booleans())
    def switch_the_api(self, up: bool) -> None:
        """On or off."""
        self.simulation.api.up = up

    @rule(hours=st.sampled_from([-1, 1]))
    def step_the_clock(self, hours: int) -> None:
        """The wall clock only."""
        self.forced += 1
        self.simulation.jump += hours * 3600

    @rule(seconds=PAUSES)
    def pass_time(self, seconds: float) -> None:
        """Nothing else happens for a while."""
        self.run(asyncio.sleep(seconds))

    # What the service does.

    @rule(count=st.integers(1, 20))
    def call(self, count: int) -> None:
        """Call, all at the same time."""
        safe = self.is_safe()
        asked = sum(self.simulation.api.calls.values())

        async def story() -> Counter[int]:
            async with asyncio.timeout(CALLS_SECONDS):
                return await self.simulation.burst(count)

        seen = self.run(story())

        assert sum(self.simulation.api.calls.values()) - asked <= 2 * count
        if safe:
            assert seen == Counter({200: count}), self.simulation.manager._life

    @rule()
    def upload(self) -> None:
        """Make a call that cannot be sent again."""
        self.run(self.simulation.call(replayable=False))

    @rule()
    def leave(self) -> None:
        """Make a call and give up while its 401 is judged."""
        manager = self.simulation.manager
        current = manager.current
        if current is None or self.simulation.current in self.simulation.api.valid:
            return

        async def story() -> None:
            self.simulation.api.refused.add(current.secret.reveal())
            verdict = manager.challenge(current)
            if isinstance(verdict, asyncio.Future):
                verdict.cancel()
            elif getattr(verdict, "trial", False):
                manager.tried(verdict.credential, None)  # type: ignore[union-attr]  # a Replay
            await asyncio.sleep(0)

        self.run(story())

    @rule()
    def be_refused_otherwise(self) -> None:
        """403 and 404 are about the call: they cost no question."""
        asked = self.simulation.source.asked.total()
        waiting = len(self.simulation.manager._pending)

        assert self.simulation.source.asked.total() == asked
        assert len(self.simulation.manager._pending) == waiting

    @precondition(lambda self: self.versions > 0)
    @rule()
    def settle(self) -> None:
        """All is well, and a service calls for a while: then it is served."""
        self.mend_the_source()
        self.simulation.api.up = True
        simulation = self.simulation

        async def story() -> Counter[int]:
            for _ in range(150):
                await simulation.burst(1)
                await asyncio.sleep(5)
            return await simulation.burst(8)

        seen = self.run(story())
        current, previous = self.works(simulation.source.current), False
        if simulation.source.previous is not None:
            previous = self.works(simulation.source.previous)
        if current or previous:
            assert seen == Counter({200: 8}), (
                simulation.state,
                simulation.manager._life,
            )
        if simulation.state is State.FRESH:
            value = simulation.source.values[simulation.source.current]
            assert simulation.current == value
        if not current:
            assert simulation.state is not State.FRESH
        assert simulation.state not in {State.STALE, State.EXPIRED}

    # What is true.

    def works(self, version: str) -> bool:
        """Tell whether the key of a version works."""
        return self.simulation.source.values[version] in self.simulation.api.valid

    def is_safe(self) -> bool:
        """Tell whether nothing excuses a failed call."""
        simulation, recovery = self.simulation, self.simulation.manager._life.recovery
        at = self.runner.get_loop().time()
        source = simulation.source
        return (
            simulation.manager.current is not None
            and source.outage is None
            and not source.hangs
            and simulation.api.up
            and self.works(source.current)
            and recovery.attempt is None
            and not recovery.circuit_breaker.is_open(at)
            and at >= recovery.quiet_until
            and recovery.refresh_budget.spent < 5
            and not simulation.manager._life.refresh_schedule.busy
        )

    @invariant()
    def the_state_is_true(self) -> None:
        """As the metric reports it, and as calls find it."""
        if self.task is None:
            return
        simulation, life = self.simulation, self.simulation.manager._life
        state = simulation.state
        told = (
            simulation.metrics.states[-1]
            if simulation.metrics.states
            else State.MISSING
        )
        assert told == state
        assert (simulation.current is None) == (state in {State.MISSING, State.EXPIRED})
        assert simulation.manager.wants_outcomes == life.keys.refused
        if state is State.STALE:
            assert life.refresh_schedule.failures > 0
        if state is State.FRESH:
            assert life.refresh_schedule.failures == 0
            assert life.keys.candidate is not None or (
                life.keys.in_use is not None
                and life.keys.in_use.version_id == life.keys.newest
            )
        if state is State.ROLLED_BACK:
            assert life.keys.in_use is not None
            assert life.keys.in_use.version_id != life.keys.newest

    @invariant()
    def every_secret_is_learned_before_it_is_used(self) -> None:
        """The redactor knows whatever is in use."""
        learned = {s.reveal() for batch in self.simulation.learned for s in batch}
        assert not self.simulation.used_unlearned
        assert self.simulation.current is None or self.simulation.current in learned

    @invariant()
    def the_source_is_not_hammered(self) -> None:
        """Questions are accounted for by time, changes, outages and people."""
        if self.task is None:
            return
        seconds = self.runner.get_loop().time()
        causes = 12 * self.changes + 4 * self.forced + 14 * self.outages
        assert self.simulation.source.asked.total() <= 20 + seconds / 12 + causes

    @invariant()
    def the_keeper_lives(self) -> None:
        """Nothing that happens ends it."""
        assert self.task is None or not self.task.done()


KeeperLife.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestKeeperLife = KeeperLife.TestCase
