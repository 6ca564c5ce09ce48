"""The decisions of the pool, without sockets."""

from typing import Any, cast

import pytest

from sidecar.errors import Code, Refused
from sidecar.proxy.pool import MAX_AGE_SECONDS, Pool
from sidecar.proxy.upstream import IDLE_SECONDS, UpstreamConnection


class Connection:
    """Stands for a connection to the API."""

    def __init__(self, pool: Pool, idle_seconds: float = IDLE_SECONDS) -> None:
        self.pool = pool
        self.idle_seconds = idle_seconds
        self.idle_until = 0.0
        self.reusable = True
        self.ended = ""

    def retire(self) -> None:
        """Record that the pool retired it."""
        self.reusable = False
        self.ended = "retired"

    def close(self) -> None:
        """Close and leave the pool, as the real one does."""
        self.ended = "closed"
        self.pool.forget(cast("UpstreamConnection", self))

    def abort(self) -> None:
        """Cut and leave the pool, as the real one does."""
        self.ended = "aborted"
        self.pool.forget(cast("UpstreamConnection", self))


class Call:
    """Stands for a call that waits."""

    def __init__(self, deadline: float = 10.0) -> None:
        self.waiting = True
        self.deadline = deadline
        self.got: Any = None

    def connected(self, connection: Any) -> None:
        """Keep the connection."""
        self.waiting = False
        self.got = connection

    def failed(self, refusal: Refused) -> None:
        """Keep the code."""
        self.waiting = False
        self.got = refusal.code


class PoolHarness:
    """A pool and a count of the openings that it asked for."""

    def __init__(self, maximum: int = 2) -> None:
        self.asked = 0
        self.pool = Pool(maximum, self._open)

    def _open(self) -> None:
        self.asked += 1

    def connection(self, idle_seconds: float = IDLE_SECONDS) -> Any:
        """Return a new connection of this pool."""
        return Connection(self.pool, idle_seconds)

    def opened(self, now: float = 0.0) -> Any:
        """Finish one opening."""
        connection = self.connection()
        self.pool.opened(connection, now)
        return connection

    def release(self, connection: Any, now: float) -> None:
        """Give a connection back, as its call does."""
        connection.idle_until = now + connection.idle_seconds
        self.pool.release(connection)

    def wait(self, deadline: float = 10.0) -> Call:
        """Queue a call."""
        call = Call(deadline)
        self.pool.wait(call)
        return call


@pytest.fixture(name="rig")
def _rig() -> PoolHarness:
    """A pool of at most two connections."""
    return PoolHarness()


def test_an_empty_pool_gives_nothing(rig: PoolHarness) -> None:
    """take() never opens."""
    assert rig.pool.take() is None
    assert rig.asked == 0


def test_a_waiting_call_gets_the_connection_opened_for_it(rig: PoolHarness) -> None:
    """One opening per waiting call, and the call gets it."""
    call = rig.wait()
    connection = rig.opened()

    assert rig.asked == 1
    assert call.got is connection
    assert not call.waiting
    assert rig.pool.counts() == {"active": 1, "connecting": 0, "idle": 0}


def test_calls_are_served_in_order(rig: PoolHarness) -> None:
    """The call that has waited longest is served first."""
    calls = [rig.wait() for _ in range(3)]
    first, second = rig.opened(), rig.opened()
    rig.release(first, 0.0)

    assert rig.asked == 2
    assert [call.got for call in calls] == [first, second, first]


def test_a_released_connection_serves_a_call_before_an_opened_one(
    rig: PoolHarness,
) -> None:
    """A call does not wait for its own opening when another connection is free."""
    rig.wait()
    connection = rig.opened()
    second = rig.wait()
    rig.release(connection, 0.0)
    spare = rig.opened()

    assert second.got is connection
    assert rig.pool.take() is spare


def test_the_youngest_idle_connection_is_used_first(rig: PoolHarness) -> None:
    """Surplus connections age at the bottom of the stack."""
    rig.wait()
    rig.wait()
    old, young = rig.opened(), rig.opened()
    rig.release(old, 0.0)
    rig.release(young, 1.0)

    assert rig.pool.take() is young
    assert rig.pool.take() is old


def test_idle_connections_do_not_overtake_waiting_calls(rig: PoolHarness) -> None:
    """While calls wait, a new call must queue behind them."""
    rig.wait()
    connection = rig.opened()
    rig.release(connection, 0.0)
    waiting = rig.wait()

    assert rig.pool.take() is None
    assert waiting.got is None


def test_a_dead_pool_of_idle_connections_makes_room_for_a_new_one() -> None:
    """A call that waits for a new connection is not starved by idle ones."""
    rig = PoolHarness(maximum=1)
    rig.wait()
    stale = rig.opened()
    rig.release(stale, 0.0)
    call = rig.wait()
    fresh = rig.opened()

    assert stale.ended == "aborted"
    assert call.got is fresh


def test_a_failed_opening_fails_one_call(rig: PoolHarness) -> None:
    """The call that waited longest gets the error; the others keep waiting."""
    first, second = rig.wait(), rig.wait()
    rig.pool.not_opened(Refused(Code.UPSTREAM_UNREACHABLE, "no"))

    assert first.got is Code.UPSTREAM_UNREACHABLE
    assert second.got is None
    assert second.waiting


def test_calls_that_gave_up_are_passed_over(rig: PoolHarness) -> None:
    """A cancelled call takes no connection from one that still waits."""
    gone, stays = rig.wait(), rig.wait()
    gone.waiting = False
    connection = rig.opened()
    spare = rig.opened()

    assert gone.got is None
    assert stays.got is connection
    assert rig.pool.take() is spare


def test_a_call_fails_when_everything_stays_busy(rig: PoolHarness) -> None:
    """After queue_seconds without a free connection the call fails with `upstream_busy`."""
    rig.wait()
    rig.wait()
    rig.opened()
    rig.opened()
    call = rig.wait(deadline=5.0)
    rig.pool.sweep(4.9)
    before = call.got
    rig.pool.sweep(5.0)

    assert before is None
    assert call.got is Code.UPSTREAM_BUSY


def test_a_call_whose_connection_is_being_opened_is_not_busy(rig: PoolHarness) -> None:
    """A slow connect has its own limit and its own error."""
    call = rig.wait(deadline=5.0)
    rig.pool.sweep(100.0)

    assert call.got is None
    assert call.waiting


@pytest.mark.parametrize(
    ("announced", "kept"),
    [(IDLE_SECONDS, IDLE_SECONDS), (5.0, 5.0)],
    ids=["our-limit", "peer-says-less"],
)
def test_idle_connections_are_closed_in_time(
    rig: PoolHarness, announced: float, kept: float
) -> None:
    """An idle connection is closed after our limit or its peer's, whichever is less."""
    rig.wait()
    connection = rig.connection(announced)
    rig.pool.opened(connection, 100.0)
    rig.release(connection, 100.0)
    rig.pool.sweep(100.0 + kept - 0.1)
    before = connection.ended
    rig.pool.sweep(100.0 + kept)

    assert before == ""
    assert connection.ended == "closed"
    assert rig.pool.counts()["idle"] == 0


def test_connections_that_have_grown_old_end_one_at_a_time() -> None:
    """The oldest is retired first; one that is already ending delays no other."""
    rig = PoolHarness(maximum=3)
    for _ in range(3):
        rig.wait()
    first, second, young = rig.opened(100.0), rig.opened(100.0), rig.opened(101.0)
    old = 100.0 + MAX_AGE_SECONDS
    ended = []
    for now in (old - 0.1, old, old + 0.1, old + 0.2):
        rig.pool.sweep(now)
        ended.append([one.ended for one in (first, second, young)])

    assert ended == [
        ["", "", ""],
        ["retired", "", ""],
        ["retired", "retired", ""],
        ["retired", "retired", ""],
    ]


def test_a_lost_connection_makes_room(rig: PoolHarness) -> None:
    """When a connection in use is lost, a waiting call gets a new one."""
    rig.wait()
    rig.wait()
    lost, _ = rig.opened(), rig.opened()
    call = rig.wait()
    rig.pool.forget(lost)
    fresh = rig.opened()

    assert rig.asked == 3
    assert call.got is fresh


def test_a_closed_pool_keeps_nothing(rig: PoolHarness) -> None:
    """While draining, idle connections close at once and others when they are free."""
    rig.wait()
    rig.wait()
    idle, busy = rig.opened(), rig.opened()
    rig.release(idle, 0.0)
    rig.pool.close()
    rig.release(busy, 0.0)

    assert idle.ended == busy.ended == "closed"


def test_an_aborted_pool_cuts_what_is_in_use(rig: PoolHarness) -> None:
    """At the end of the drain nothing stays open."""
    rig.wait()
    busy = rig.opened()
    rig.wait()
    late = rig.connection()
    rig.pool.abort()
    rig.pool.opened(late, 0.0)

    assert busy.ended == "aborted"
    assert rig.pool.counts()["active"] == 1
    rig.release(late, 0.0)
    assert late.ended == "closed"
