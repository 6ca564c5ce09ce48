"""The life of a credential: looks, staleness, and what is promised of each."""

from dataclasses import replace

import pytest

from sidecar.core.keylife.commands import Describe, Fetch
from sidecar.core.keylife.messages import Cutover, State, Timer
from sidecar.errors import Code, RefreshResult
from tests.support.machine_driver import CURRENT, PREVIOUS, Living, key, serving


def test_a_life_begins_with_a_look() -> None:
    """Nothing is given out before the source has said what."""
    living = Living()
    living.begin()

    assert living.state is State.MISSING
    assert living.open == [Describe()]
    assert living.life.unavailable_code is Code.CREDENTIAL_UNAVAILABLE


def test_the_first_key_serves_at_once() -> None:
    """With nothing in use there is nothing to lose, so no probe comes first."""
    living = serving(probing=True)

    assert living.state is State.FRESH
    assert living.version == "v2"
    assert living.current.generation == 1
    assert living.records == []
    assert living.results == [RefreshResult.CHANGED]


def test_an_unchanged_version_is_not_fetched() -> None:
    """DescribeSecret is enough, and costs no KMS call."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v2", "v1")

    assert living.count(Fetch(CURRENT)) == 1
    assert living.results[-1] is RefreshResult.UNCHANGED
    assert living.alarms[Timer.REFRESH] == living.at + 300


def test_without_a_probe_a_changed_key_serves_at_once() -> None:
    """The old one is remembered, to fall back to."""
    living = serving()
    first = living.current
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")

    assert living.version == "v3"
    assert living.current.generation > first.generation
    assert living.life.keys.fallback is first
    assert living.records == [Cutover.PROMOTED]


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 24.0), (100, 24.0)],
)
def test_a_missing_key_is_sought_with_backoff(failures: int, seconds: float) -> None:
    """From half a second to half a minute, for ever."""
    living = Living()
    living.begin()
    for _ in range(failures - 1):
        living.fail()
        living.ring(Timer.REFRESH)
    living.fail(RefreshResult.DENIED)

    assert living.state is State.MISSING
    assert living.alarms[Timer.REFRESH] == pytest.approx(living.at + seconds)


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
    living = serving()
    living.ring(Timer.REFRESH)
    living.fail(result)
    stale = living.state
    living.ring(Timer.REFRESH)
    living.describe("v2", "v1")

    assert stale is State.STALE
    assert living.state is State.FRESH
    assert living.version == "v2"


def test_a_source_that_is_away_is_asked_less_and_less_often() -> None:
    """At most as often as one that answers, however long it is away."""
    living = serving()
    waits = []
    for _ in range(12):
        living.ring(Timer.REFRESH)
        living.fail()
        waits.append(living.alarms[Timer.REFRESH] - living.at)

    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == 300


def test_a_value_that_cannot_be_fetched_leaves_the_old_key() -> None:
    """The version changed, and GetSecretValue fails."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    living.fail_fetch(RefreshResult.DENIED)

    assert living.state is State.STALE
    assert living.version == "v2"


def test_past_the_limit_no_key_is_given_out() -> None:
    """A key that could not be looked up for too long may have been revoked."""
    living = serving(max_stale=600)
    living.ring(Timer.REFRESH)
    living.fail()
    living.ring(Timer.LIMIT)

    assert living.state is State.EXPIRED
    assert living.used[-1] is None
    assert living.life.unavailable_code is Code.CREDENTIAL_EXPIRED


def test_the_limit_counts_from_the_last_answer() -> None:
    """Not from the first failure."""
    living = serving(max_stale=600)
    answered = living.at
    living.ring(Timer.REFRESH)
    living.fail()

    assert living.alarms[Timer.LIMIT] == answered + 600


def test_an_expired_key_serves_again_when_the_source_is_back() -> None:
    """The source vouches for it again."""
    living = serving(max_stale=600)
    living.ring(Timer.REFRESH)
    living.fail()
    living.ring(Timer.LIMIT)
    living.ring(Timer.REFRESH)
    living.describe("v2", "v1")

    assert living.state is State.FRESH
    assert living.version == "v2"


def test_an_answer_in_time_lifts_the_limit() -> None:
    """The alarm is dropped; it would not harm if it rang all the same."""
    living = serving(max_stale=600)
    living.ring(Timer.REFRESH)
    living.fail()
    living.ring(Timer.REFRESH)
    living.describe("v2", "v1")

    assert Timer.LIMIT not in living.alarms


def test_several_looks_fit_into_the_limit() -> None:
    """Else a single failed look would be the end."""
    living = serving(max_stale=90)

    assert living.alarms[Timer.REFRESH] == living.at + 30


def test_without_a_limit_a_key_never_expires() -> None:
    """The default."""
    living = serving()
    for _ in range(100):
        living.ring(Timer.REFRESH)
        living.fail()

    assert living.state is State.STALE
    assert Timer.LIMIT not in living.alarms


def test_a_spoiled_value_never_replaces_a_key() -> None:
    """It is told as rejected, and looked at once only."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    living.spoil("v3")
    spoiled = living.state
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")

    assert spoiled is living.state is State.REJECTED
    assert living.version == "v2"
    assert living.results[-2:] == [RefreshResult.INVALID, RefreshResult.INVALID]
    assert living.count(Fetch(CURRENT)) == 2


def test_a_good_value_after_a_spoiled_one_is_fresh() -> None:
    """Somebody corrected it."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    living.spoil("v3")
    living.ring(Timer.REFRESH)
    living.look("v4", "v3")

    assert living.state is State.FRESH
    assert living.version == "v4"


def test_a_spoiled_value_at_the_start_is_replaced_by_the_one_before() -> None:
    """As a process that had been running would serve it."""
    living = Living()
    living.begin()
    living.describe("v2", "v1")
    living.spoil("v2")
    living.load(key("v1"), PREVIOUS)

    assert living.state is State.ROLLED_BACK
    assert living.version == "v1"
    assert living.records == [Cutover.ROLLED_BACK]


@pytest.mark.parametrize("previous", [None, "v1"])
def test_a_spoiled_secret_at_the_start_is_sought_on(previous: str | None) -> None:
    """Until there is a value that can be used."""
    living = Living()
    living.begin()
    living.describe("v2", previous)
    living.spoil("v2")
    if previous:
        living.spoil(previous, PREVIOUS)
    missing = living.state
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")

    assert missing is State.MISSING
    assert living.state is State.FRESH


def test_a_value_before_a_spoiled_one_may_be_away() -> None:
    """Then the key is missing, and sought on."""
    living = Living()
    living.begin()
    living.describe("v2", "v1")
    living.spoil("v2")
    living.fail_fetch()
    living.ring(Timer.REFRESH)
    living.describe("v2", "v1")

    assert living.state is State.MISSING
    assert Fetch(PREVIOUS) in living.open


def test_a_version_that_comes_while_it_is_fetched_is_the_one_that_counts() -> None:
    """Between DescribeSecret and GetSecretValue the secret may change again."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    living.load(key("v4"))
    living.ring(Timer.REFRESH)
    living.describe("v4", "v3")

    assert living.version == "v4"
    assert living.count(Fetch(CURRENT)) == 2


def test_a_fetch_that_gives_the_version_in_use_changes_nothing() -> None:
    """GetSecretValue was answered by a replica that is behind."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    living.load(key("v2"))

    assert living.results[-1] is RefreshResult.UNCHANGED
    assert living.version == "v2"


def test_an_older_version_does_not_win_at_first_sight() -> None:
    """An answer that was read before the last change may come after it."""
    living = serving("v3", "v2")
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")

    assert living.version == "v3"
    assert living.alarms[Timer.REFRESH] == living.at + 5


def test_an_older_version_wins_when_a_later_look_says_so_too() -> None:
    """A person moved AWSCURRENT back."""
    living = serving("v3", "v2")
    living.ring(Timer.REFRESH)
    living.look("v2", "v3")
    living.ring(Timer.REFRESH)
    living.look("v2", "v3")

    assert living.version == "v2"
    assert living.state is State.FRESH
    assert living.alarms[Timer.REFRESH] == living.at + 300


def test_two_looks_at_the_same_moment_are_one_sight() -> None:
    """Both may have been answered by the same replica."""
    living = serving("v3", "v2")
    living.ring(Timer.REFRESH)
    living.look("v2", "v3")
    living.ask()
    living.look("v2", "v3")

    assert living.version == "v3"


def test_an_older_version_that_is_gone_again_is_forgotten() -> None:
    """It was an answer out of order; looks go on as before."""
    living = serving("v3", "v2")
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")

    assert living.version == "v3"
    assert living.alarms[Timer.REFRESH] == living.at + 300


def test_versions_without_a_date_are_taken_as_they_come() -> None:
    """A file has none."""
    living = Living()
    living.begin()
    living.describe("v9")
    living.load(replace(key("v9"), created=None))
    living.ring(Timer.REFRESH)
    living.describe("v1")
    living.load(replace(key("v1"), created=None))

    assert living.version == "v1"


def test_a_new_version_of_the_same_key_is_no_cutover() -> None:
    """The value's other members changed: nothing to prove, nothing to count."""
    living = serving(probing=True)
    before = living.current
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    living.load(key("v3", text="key-v2"))

    assert living.version == "v3"
    assert living.current.generation == before.generation
    assert living.records == []
    assert living.state is State.FRESH


def test_a_look_that_was_asked_for_begins_at_once() -> None:
    """Reload, SIGHUP, a file that moved, a clock that jumped."""
    living = serving()
    living.ask()

    assert living.open == [Describe()]


def test_a_look_asked_for_during_another_follows_it() -> None:
    """The one under way may have been answered before the change."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.ask()
    living.ask()
    living.describe("v2", "v1")
    second = list(living.open)
    living.look("v3", "v2")

    assert second == [Describe()]
    assert living.version == "v3"
    assert living.open == []


def test_an_alarm_during_a_look_begins_no_second_one() -> None:
    """One look at a time."""
    living = serving()
    living.alarms[Timer.REFRESH] = living.at
    living.ask()
    living.ring(Timer.REFRESH)

    assert living.open == [Describe()]
