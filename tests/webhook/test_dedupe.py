"""One process's memory of ids: one claim per id, bounded, and only the expired forgotten."""

from collections.abc import Coroutine

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from sidecar.webhook.dedupe import (
    Claim,
    ClaimRefusal,
    MemoryIds,
    MemoryWindow,
    StoreFailed,
)
from tests.support.webhook_fakes import Clock


@pytest.fixture(name="ids")
def _ids(clock: Clock) -> MemoryIds:
    return MemoryIds(limit=3, now=clock)


@pytest.fixture(name="window")
def _window(ids: MemoryIds) -> MemoryWindow:
    return ids.window(60)


async def claimed(window: MemoryWindow, id_: str) -> Claim:
    """Claim an id that is free."""
    claim = await window.claim(id_)
    assert isinstance(claim, Claim)
    return claim


async def test_an_id_has_one_claim(window: MemoryWindow) -> None:
    """While it is being delivered, a second copy is told so."""
    await claimed(window, "msg_1")

    assert await window.claim("msg_1") is ClaimRefusal.IN_FLIGHT


async def test_a_done_id_is_a_duplicate(window: MemoryWindow) -> None:
    """What the app has is never claimed again within the window."""
    await window.done(await claimed(window, "msg_1"))

    assert await window.claim("msg_1") is ClaimRefusal.DUPLICATE


async def test_a_released_id_is_free(window: MemoryWindow, ids: MemoryIds) -> None:
    """The sender's next attempt is delivered."""
    await window.release(await claimed(window, "msg_1"))

    assert ids.used == 0
    await claimed(window, "msg_1")


async def test_an_abandoned_id_is_free(window: MemoryWindow, ids: MemoryIds) -> None:
    """Without an await, for a task that is being cancelled."""
    window.abandon(await claimed(window, "msg_1"))

    assert ids.used == 0
    await claimed(window, "msg_1")


async def test_an_id_is_forgotten_when_its_time_is_over(
    window: MemoryWindow, clock: Clock, ids: MemoryIds
) -> None:
    """Not a moment earlier; and its room is given back."""
    await window.done(await claimed(window, "msg_1"))
    clock.at += 59.9
    assert await window.claim("msg_1") is ClaimRefusal.DUPLICATE

    clock.at += 0.1

    await claimed(window, "msg_1")
    assert ids.used == 1


async def test_a_claim_does_not_expire(window: MemoryWindow, clock: Clock) -> None:
    """It ends with its delivery, and every delivery has a timeout."""
    await claimed(window, "msg_1")
    clock.at += 10_000

    assert await window.claim("msg_1") is ClaimRefusal.IN_FLIGHT


async def test_endpoints_do_not_share_ids(ids: MemoryIds) -> None:
    """The same id on two endpoints is two deliveries."""
    first, second = ids.window(60), ids.window(60)
    await first.done(await claimed(first, "msg_1"))

    await claimed(second, "msg_1")


async def test_a_full_memory_refuses_rather_than_forgets(
    window: MemoryWindow, ids: MemoryIds
) -> None:
    """To forget a live id would let its replay in; the sender comes again."""
    for number in range(3):
        await window.done(await claimed(window, f"msg_{number}"))

    with pytest.raises(StoreFailed, match="3 are still live; use dedupe ="):
        await window.claim("msg_3")

    assert await window.claim("msg_0") is ClaimRefusal.DUPLICATE
    assert ids.used == 3
    assert repr(window) == "MemoryWindow(0 claimed, 3 done)"


async def test_room_is_found_in_other_windows(ids: MemoryIds, clock: Clock) -> None:
    """All endpoints count against one bound, so all are searched for the expired."""
    quiet, busy = ids.window(10), ids.window(1000)
    for number in range(3):
        await quiet.done(await claimed(quiet, f"msg_{number}"))
    clock.at += 10

    await claimed(busy, "msg_3")

    assert ids.used == 1


async def test_a_claim_of_another_store_is_a_bug(window: MemoryWindow) -> None:
    """Not something to pass over."""
    with pytest.raises(TypeError, match="another store"):
        window.abandon(Claim("inbox#msg_1", "owner"))


def now(coroutine: Coroutine[object, None, object]) -> object:
    """Run a coroutine that never waits to its end, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    message = "it waited"
    raise AssertionError(message)


class MemoryModel(RuleBasedStateMachine):
    """Whatever the order of events: the window agrees with the plainest model."""

    claims = Bundle("claims")

    @initialize()
    def start(self) -> None:
        """Begin with an empty memory for five ids."""
        self.clock = Clock()
        self.ids = MemoryIds(limit=5, now=self.clock)
        self.window = self.ids.window(10)
        self.flying: set[str] = set()
        self.kept: dict[str, float] = {}

    def live(self) -> set[str]:
        """Ids that are done and not expired."""
        return {i for i, until in self.kept.items() if until > self.clock.at}

    @rule(target=claims, number=st.integers(0, 7))
    def claim(self, number: int) -> tuple[str, Claim] | None:
        """Claim one of eight ids."""
        id_ = f"msg_{number}"
        full = len(self.flying) + len(self.live()) >= 5
        try:
            got = now(self.window.claim(id_))
        except StoreFailed:
            assert full
            return None
        if id_ in self.live():
            assert got is ClaimRefusal.DUPLICATE
        elif id_ in self.flying:
            assert got is ClaimRefusal.IN_FLIGHT
        else:
            assert isinstance(got, Claim)
            assert not full
            self.flying.add(id_)
            return id_, got
        return None

    @rule(claim=consumes(claims), done=st.booleans())
    def end(self, claim: tuple[str, Claim] | None, done: bool) -> None:
        """End a delivery, well or not."""
        if claim is None:
            return
        self.flying.remove(claim[0])
        if done:
            now(self.window.done(claim[1]))
            self.kept[claim[0]] = self.clock.at + 10
        else:
            now(self.window.release(claim[1]))

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.at += seconds

    @invariant()
    def never_more_than_the_limit(self) -> None:
        """The bound holds, and no live id is lost."""
        assert self.ids.used <= 5
        assert self.ids.used >= len(self.flying) + len(self.live())


TestMemoryModel = MemoryModel.TestCase
