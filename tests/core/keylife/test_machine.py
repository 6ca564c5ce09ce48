"""The life of a credential: refreshes, staleness and expiry."""

from dataclasses import replace

import pytest

from sidecar.core.keylife import recovery
from sidecar.core.keylife.messages import (
    Cutover,
    Describe,
    Failed,
    Fetch,
    LimitReached,
    PassThrough,
    ResolveCalls,
    State,
    Timer,
    Unauthorized,
)
from sidecar.errors import Code, RefreshResult
from tests.support.machine_driver import CURRENT, PREVIOUS, MachineDriver, key, serving


def test_a_life_begins_with_a_refresh() -> None:
    """Nothing is given out before the source has said what."""
    machine = MachineDriver()
    machine.start()

    assert machine.state is State.MISSING
    assert machine.open == [Describe()]
    assert machine.life.unavailable_code is Code.CREDENTIAL_UNAVAILABLE


def test_the_first_key_serves_at_once() -> None:
    """With nothing in use there is nothing to lose, so no probe comes first."""
    machine = serving(probing=True)

    assert machine.state is State.FRESH
    assert machine.version == "v2"
    assert machine.current.generation == 1
    assert machine.records == []
    assert machine.results == [RefreshResult.CHANGED]


def test_an_unchanged_version_is_not_fetched() -> None:
    """DescribeSecret is enough, and costs no KMS call."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v2", "v1")

    assert machine.count(Fetch(CURRENT)) == 1
    assert machine.results[-1] is RefreshResult.UNCHANGED
    assert machine.timers[Timer.REFRESH] == machine.at + 300


def test_without_a_probe_a_changed_key_serves_at_once() -> None:
    """The old one is remembered, to fall back to."""
    machine = serving()
    first = machine.current
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")

    assert machine.version == "v3"
    assert machine.current.generation > first.generation
    assert machine.life.keys.fallback is first
    assert machine.records == [Cutover.PROMOTED]


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 24.0), (100, 24.0)],
)
def test_a_missing_key_is_read_with_backoff(failures: int, seconds: float) -> None:
    """From half a second to half a minute, without end."""
    machine = MachineDriver()
    machine.start()
    for _ in range(failures - 1):
        machine.fail()
        machine.fire(Timer.REFRESH)
    machine.fail(RefreshResult.DENIED)

    assert machine.state is State.MISSING
    assert machine.timers[Timer.REFRESH] == pytest.approx(machine.at + seconds)


@pytest.mark.parametrize(
    "result",
    [
        RefreshResult.UNREACHABLE,
        RefreshResult.THROTTLED,
        RefreshResult.DENIED,
        RefreshResult.NOT_FOUND,
    ],
)
def test_the_last_good_key_serves_while_the_source_is_away(
    result: RefreshResult,
) -> None:
    """Stale, and fresh again with the first answer."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.fail(result)
    stale = machine.state
    machine.fire(Timer.REFRESH)
    machine.describe("v2", "v1")

    assert stale is State.STALE
    assert machine.state is State.FRESH
    assert machine.version == "v2"


def test_a_source_that_is_away_is_asked_less_and_less_often() -> None:
    """At most as often as one that answers, however long it is away."""
    machine = serving()
    waits = []
    for _ in range(12):
        machine.fire(Timer.REFRESH)
        machine.fail()
        waits.append(machine.timers[Timer.REFRESH] - machine.at)

    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == 300


def test_a_value_that_cannot_be_fetched_leaves_the_old_key() -> None:
    """The version changed, and GetSecretValue fails."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    machine.fail_fetch(RefreshResult.DENIED)

    assert machine.state is State.STALE
    assert machine.version == "v2"


def test_past_the_limit_no_key_is_given_out() -> None:
    """A key that could not be refreshed for too long may have been revoked."""
    machine = serving(max_stale=600)
    machine.fire(Timer.REFRESH)
    machine.fail()
    machine.fire(Timer.LIMIT)

    assert machine.state is State.EXPIRED
    assert machine.currents[-1] is None
    assert machine.life.unavailable_code is Code.CREDENTIAL_EXPIRED


def test_the_limit_counts_from_the_last_answer() -> None:
    """Not from the first failure."""
    machine = serving(max_stale=600)
    answered = machine.at
    machine.fire(Timer.REFRESH)
    machine.fail()

    assert machine.timers[Timer.LIMIT] == answered + 600


def test_an_expired_key_serves_again_when_the_source_is_back() -> None:
    """The source vouches for it again."""
    machine = serving(max_stale=600)
    machine.fire(Timer.REFRESH)
    machine.fail()
    machine.fire(Timer.LIMIT)
    machine.fire(Timer.REFRESH)
    machine.describe("v2", "v1")

    assert machine.state is State.FRESH
    assert machine.version == "v2"


def test_an_answer_in_time_lifts_the_limit() -> None:
    """The timer is cancelled."""
    machine = serving(max_stale=600)
    machine.fire(Timer.REFRESH)
    machine.fail()
    machine.fire(Timer.REFRESH)
    machine.describe("v2", "v1")

    assert Timer.LIMIT not in machine.timers


def test_several_refreshes_fit_into_the_limit() -> None:
    """Otherwise a single failed refresh would expire the key."""
    machine = serving(max_stale=90)

    assert machine.timers[Timer.REFRESH] == machine.at + 30


def test_without_a_limit_a_key_never_expires() -> None:
    """The default."""
    machine = serving()
    for _ in range(100):
        machine.fire(Timer.REFRESH)
        machine.fail()

    assert machine.state is State.STALE
    assert Timer.LIMIT not in machine.timers


def test_an_invalid_value_never_replaces_a_key() -> None:
    """The state is `rejected`, and the value is fetched only once."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    machine.invalid("v3")
    spoiled = machine.state
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")

    assert spoiled is machine.state is State.REJECTED
    assert machine.version == "v2"
    assert machine.results[-2:] == [RefreshResult.INVALID, RefreshResult.INVALID]
    assert machine.count(Fetch(CURRENT)) == 2


def test_a_good_value_after_an_invalid_one_is_fresh() -> None:
    """A person corrected it."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    machine.invalid("v3")
    machine.fire(Timer.REFRESH)
    machine.refresh("v4", "v3")

    assert machine.state is State.FRESH
    assert machine.version == "v4"


def test_an_invalid_value_at_the_start_is_replaced_by_the_one_before() -> None:
    """As a process that had been running would serve it."""
    machine = MachineDriver()
    machine.start()
    machine.describe("v2", "v1")
    machine.invalid("v2")
    machine.load(key("v1"), PREVIOUS)

    assert machine.state is State.ROLLED_BACK
    assert machine.version == "v1"
    assert machine.records == [Cutover.ROLLED_BACK]


@pytest.mark.parametrize("previous", [None, "v1"])
def test_an_invalid_secret_at_the_start_is_read_again(previous: str | None) -> None:
    """Until there is a value that can be used."""
    machine = MachineDriver()
    machine.start()
    machine.describe("v2", previous)
    machine.invalid("v2")
    if previous:
        machine.invalid(previous, PREVIOUS)
    missing = machine.state
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")

    assert missing is State.MISSING
    assert machine.state is State.FRESH


def test_a_value_before_an_invalid_one_may_be_away() -> None:
    """Then the key is missing, and read again."""
    machine = MachineDriver()
    machine.start()
    machine.describe("v2", "v1")
    machine.invalid("v2")
    machine.fail_fetch()
    machine.fire(Timer.REFRESH)
    machine.describe("v2", "v1")

    assert machine.state is State.MISSING
    assert Fetch(PREVIOUS) in machine.open


def test_a_version_that_comes_while_it_is_fetched_is_the_one_that_counts() -> None:
    """Between DescribeSecret and GetSecretValue the secret may change again."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    machine.load(key("v4"))
    machine.fire(Timer.REFRESH)
    machine.describe("v4", "v3")

    assert machine.version == "v4"
    assert machine.count(Fetch(CURRENT)) == 2


def test_a_fetch_that_gives_the_version_in_use_changes_nothing() -> None:
    """GetSecretValue was answered by a replica that is behind."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    machine.load(key("v2"))

    assert machine.results[-1] is RefreshResult.UNCHANGED
    assert machine.version == "v2"


def test_an_older_version_does_not_win_at_first_sight() -> None:
    """An answer that was read before the last change may come after it."""
    machine = serving("v3", "v2")
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")

    assert machine.version == "v3"
    assert machine.timers[Timer.REFRESH] == machine.at + 5


def test_an_older_version_wins_when_a_later_refresh_says_so_too() -> None:
    """A person moved AWSCURRENT back."""
    machine = serving("v3", "v2")
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v3")
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v3")

    assert machine.version == "v2"
    assert machine.state is State.FRESH
    assert machine.timers[Timer.REFRESH] == machine.at + 300


def test_two_refreshes_at_the_same_moment_do_not_confirm_each_other() -> None:
    """Both may have been answered by the same replica."""
    machine = serving("v3", "v2")
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v3")
    machine.request_refresh()
    machine.refresh("v2", "v3")

    assert machine.version == "v3"


def test_an_older_version_that_is_gone_again_is_forgotten() -> None:
    """It was an answer out of order; refreshes go on as before."""
    machine = serving("v3", "v2")
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")

    assert machine.version == "v3"
    assert machine.timers[Timer.REFRESH] == machine.at + 300


def test_versions_without_a_date_are_taken_as_they_come() -> None:
    """A file has none."""
    machine = MachineDriver()
    machine.start()
    machine.describe("v9")
    machine.load(replace(key("v9"), created=None))
    machine.fire(Timer.REFRESH)
    machine.describe("v1")
    machine.load(replace(key("v1"), created=None))

    assert machine.version == "v1"


def test_a_new_version_of_the_same_key_is_no_cutover() -> None:
    """The value's other members changed: nothing to prove, nothing to count."""
    machine = serving(probing=True)
    before = machine.current
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    machine.load(key("v3", text="key-v2"))

    assert machine.version == "v3"
    assert machine.current.generation == before.generation
    assert machine.records == []
    assert machine.state is State.FRESH


def test_a_refresh_that_was_asked_for_begins_at_once() -> None:
    """Reload, SIGHUP, a file that moved, a clock that jumped."""
    machine = serving()
    machine.request_refresh()

    assert machine.open == [Describe()]


def test_a_refresh_asked_for_during_another_follows_it() -> None:
    """The one under way may have been answered before the change."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.request_refresh()
    machine.request_refresh()
    machine.describe("v2", "v1")
    second = list(machine.open)
    machine.refresh("v3", "v2")

    assert second == [Describe()]
    assert machine.version == "v3"
    assert machine.open == []


def test_a_timer_during_a_refresh_begins_no_second_one() -> None:
    """One refresh at a time."""
    machine = serving()
    machine.timers[Timer.REFRESH] = machine.at
    machine.request_refresh()
    machine.fire(Timer.REFRESH)

    assert machine.open == [Describe()]


def test_a_401_that_broke_the_machine_passes_through() -> None:
    """Its call is not in an attempt yet, and must not wait without end."""
    machine = serving()
    event = Unauthorized(machine.at, machine.current, 7, b"GET /contacts")

    commands = machine.life.resume(event)

    assert ResolveCalls((7,), PassThrough()) in commands


def test_a_phase_that_cannot_be_entered_is_unexpected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last phase of a row must always be possible; a row without one is an error."""
    begun = (recovery.RecoveryPhase.BEGUN, recovery.PhaseOutcome.UNEXPLAINED)
    impossible = {begun: (recovery.RecoveryPhase.PROBE_CANDIDATE,)}
    monkeypatch.setattr(recovery, "TRANSITIONS", impossible)
    machine = serving()

    with pytest.raises(recovery.UnexpectedEvent, match="no phase follows"):
        machine.life.handle(Unauthorized(machine.at, machine.current, 7))


def test_no_stray_event_expires_a_key_without_a_limit() -> None:
    """`max_stale_seconds = 0` means no limit, whatever event comes."""
    machine = serving()
    machine.life.handle(Failed(machine.at, None, RefreshResult.UNREACHABLE))

    commands = machine.life.handle(LimitReached(machine.at + 5000))

    assert list(commands) == []
    assert machine.state is State.STALE
