"""What becomes of a 401 on a live call."""

import pytest

from sidecar.core.keylife.commands import Describe, Fetch
from sidecar.core.keylife.messages import (
    Cutover,
    Loaded,
    PassThrough,
    Probed,
    Replay,
    State,
    Timer,
)
from sidecar.core.keylife.unauthorized_endpoints import MOST, UnauthorizedEndpoints
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult
from tests.support.machine_driver import CURRENT, PREVIOUS, Living, key, serving

PASS = PassThrough()


def refused(*, probing: bool = False, previous: str | None = None) -> Living:
    """A machine whose only key was found to be refused; the circuit is open."""
    living = serving("v2", previous, probing=probing)
    living.challenge()
    living.describe("v2", previous)
    if probing:
        living.probe(False)
    return living


def trial_of(living: Living, ticket: int) -> Credential:
    """Return the key that a call was told to try."""
    verdict = living.verdicts[ticket]
    assert isinstance(verdict, Replay)
    assert verdict.trial
    assert verdict.how == "rollback"
    return verdict.credential


# Another key than the one in use.


def test_a_401_on_an_older_key_is_no_news() -> None:
    """The call is sent again with the key in use, at once, without any question."""
    living = serving()
    old = living.current
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")
    ticket = living.challenge(old)

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert not living.open


def test_a_401_on_a_key_from_long_ago_is_no_news() -> None:
    """Older than the previous one."""
    living = serving("v1", None)
    old = living.current
    for version in ("v2", "v3", "v4"):
        living.ring(Timer.REFRESH)
        living.look(version, None)
    ticket = living.challenge(old)

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_the_same_key_under_an_older_number_is_news() -> None:
    """Rolled back to a key, a call that still carried it from before tells of it."""
    living = serving("v1", None)
    old = living.current
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    living.challenge()
    living.describe("v2", "v1")
    living.tried(trial_of(living, 1), True)
    ticket = living.challenge(old)

    assert ticket not in living.verdicts
    assert living.open == [Describe()]


# The key in use, and another version at the source.


def test_a_changed_version_is_put_into_use_and_the_call_sent_again() -> None:
    """An emergency rotation: the service sees nothing of it."""
    living = serving()
    ticket = living.challenge()
    living.look("v3", "v2")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.version == "v3"
    assert living.records == [Cutover.PROMOTED]


def test_another_key_restores_what_an_outage_spent() -> None:
    """The next emergency finds every look that it may need."""
    living = serving()
    allowance = living.life.recovery.token_bucket
    allowance.spent = allowance.size - 1.0
    allowance.counted_at = living.at
    living.challenge()
    living.look("v3", "v2")

    assert allowance.spent == 0


def test_in_a_recovery_a_changed_key_is_not_probed_first() -> None:
    """Nothing is to lose, and the calls wait."""
    living = serving(probing=True)
    ticket = living.challenge()
    living.look("v3", "v2")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert not living.open


def test_a_burst_shares_one_look() -> None:
    """A thousand 401s cost one DescribeSecret and one GetSecretValue."""
    living = serving()
    tickets = [living.challenge() for _ in range(1000)]
    living.look("v3", "v2")
    verdict = Replay(living.current, "replay")

    assert all(living.verdicts[ticket] == verdict for ticket in tickets)
    assert living.count(Describe()) == 2
    assert living.count(Fetch(CURRENT)) == 2


def test_a_look_that_began_before_the_401_does_not_count() -> None:
    """It may have been answered just before the key was changed."""
    living = serving()
    living.ring(Timer.REFRESH)
    ticket = living.challenge()
    living.describe("v2", "v1")
    waits = ticket not in living.verdicts
    living.look("v3", "v2")

    assert waits
    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_a_look_that_began_before_the_401_may_bring_the_key() -> None:
    """Whatever is newer will do."""
    living = serving()
    living.ring(Timer.REFRESH)
    living.describe("v3", "v2")
    ticket = living.challenge()
    living.load(key("v3"))

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_an_older_version_is_taken_at_first_sight_in_a_recovery() -> None:
    """AWSCURRENT was moved back, and the newer key revoked."""
    living = serving("v3", "v2")
    ticket = living.challenge()
    living.look("v2", "v3")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.version == "v2"


def test_a_new_version_of_the_same_key_is_no_help() -> None:
    """The search goes on to AWSPREVIOUS."""
    living = serving()
    living.challenge()
    living.describe("v3", "v2")
    living.load(key("v3", text="key-v2"))

    assert living.version == "v3"
    assert Fetch(PREVIOUS) in living.open


def test_a_spoiled_new_version_is_no_help() -> None:
    """The search goes on to AWSPREVIOUS."""
    living = serving("v2", "v1")
    living.challenge()
    living.describe("v3", "v1")
    living.spoil("v3")

    assert Fetch(PREVIOUS) in living.open


# The key in use, and nothing new: AWSPREVIOUS by trial.


def test_without_a_probe_one_call_tries_the_previous_key() -> None:
    """The others wait for how it goes."""
    living = serving()
    first, second, third = (living.challenge() for _ in range(3))
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    trial = trial_of(living, first)
    waiting = {second, third} - living.verdicts.keys()
    living.tried(trial, True)

    assert trial.version_id == "v1"
    assert waiting == {second, third}
    assert living.verdicts[second] == Replay(living.current, "rollback")
    assert living.verdicts[third] == Replay(living.current, "rollback")
    assert living.state is State.ROLLED_BACK
    assert living.records == [Cutover.ROLLED_BACK]
    assert living.current.generation > trial.generation


def test_a_failed_trial_lets_the_401_through() -> None:
    """There is no key that works."""
    living = serving()
    first, second = living.challenge(), living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, first), False)

    assert living.verdicts[second] == PASS
    assert living.state is State.REFUSED
    assert living.version == "v2"


def test_a_trial_without_answer_goes_to_the_next_call() -> None:
    """The call was dropped, or its connection broke."""
    living = serving()
    first, second = living.challenge(), living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, first), None)
    living.tried(trial_of(living, second), True)

    assert living.state is State.ROLLED_BACK


def test_a_trial_waits_for_a_call_that_can_carry_it() -> None:
    """All calls so far were dropped, or could not be sent again."""
    living = serving()
    living.challenge(waits=False)
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    ticket = living.challenge()
    living.tried(trial_of(living, ticket), True)

    assert living.state is State.ROLLED_BACK


def test_a_slow_trial_is_given_to_a_second_call_too() -> None:
    """An answer may take a minute; the others cannot wait for it."""
    living = serving()
    first, second = living.challenge(), living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.ring(Timer.RECOVERY)
    living.tried(trial_of(living, second), None)
    still_out = trial_of(living, first)
    living.tried(still_out, True)

    assert living.state is State.ROLLED_BACK


def test_a_trial_that_nobody_ends_is_given_up() -> None:
    """No call waits past the deadline of the round."""
    living = serving()
    living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.ring(Timer.RECOVERY)
    late = living.challenge()
    living.ring(Timer.RECOVERY)
    handed = isinstance(living.verdicts[late], Replay)
    living.pass_time(10)
    living.ring(Timer.RECOVERY)

    assert handed
    assert living.state is State.REFUSED


def test_a_trial_that_outlives_its_round_still_counts() -> None:
    """The previous key works after all."""
    living = serving()
    first = living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.pass_time(10)
    living.ring(Timer.RECOVERY)
    living.tried(trial_of(living, first), True)

    assert living.state is State.ROLLED_BACK
    assert living.version == "v1"


def test_what_was_in_use_before_needs_no_fetch() -> None:
    """It is AWSPREVIOUS now, and in memory."""
    living = serving("v1", None)
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    ticket = living.challenge()
    living.describe("v2", "v1")

    assert trial_of(living, ticket).version_id == "v1"
    assert living.count(Fetch(PREVIOUS)) == 0


def test_a_file_falls_back_to_what_was_in_it_before() -> None:
    """A file has no stages."""
    living = serving("v1", None)
    living.ring(Timer.REFRESH)
    living.look("v2", None)
    ticket = living.challenge()
    living.describe("v2", None)

    assert trial_of(living, ticket).version_id == "v1"


def test_with_no_other_key_the_401_goes_through() -> None:
    """One version only."""
    living = serving("v1", None)
    ticket = living.challenge()
    living.describe("v1", None)

    assert living.verdicts[ticket] == PASS
    assert living.state is State.REFUSED


def test_a_spoiled_previous_value_is_no_other_key() -> None:
    """Nor is one that cannot be fetched."""
    living = serving()
    ticket = living.challenge()
    living.describe("v2", "v1")
    living.spoil("v1", PREVIOUS)

    assert living.verdicts[ticket] == PASS


def test_a_previous_version_that_is_in_use_means_that_there_is_a_newer() -> None:
    """The stages moved between the two questions: look again."""
    living = serving()
    ticket = living.challenge()
    living.describe("v2", "v1")
    living.load(key("v2"), PREVIOUS)
    living.look("v3", "v2")

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_after_a_rollback_the_other_key_is_tried_when_this_one_fails() -> None:
    """AWSCURRENT's may have come to life meanwhile."""
    living = serving()
    living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, 1), True)
    ticket = living.challenge()
    living.describe("v2", "v1")
    living.tried(trial_of(living, ticket), True)

    assert living.version == "v2"
    assert living.state is State.FRESH
    assert living.records == [Cutover.ROLLED_BACK, Cutover.RESTORED]


def test_a_rollback_lasts_until_awscurrent_changes() -> None:
    """RefreshSchedule that find the refused version again change nothing."""
    living = serving()
    living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, 1), True)
    for _ in range(3):
        living.ring(Timer.REFRESH)
        living.describe("v2", "v1")

    assert living.state is State.ROLLED_BACK
    assert living.version == "v1"


def test_awscurrent_moved_back_to_the_rolled_back_key_ends_the_rollback() -> None:
    """A person agreed with us."""
    living = serving()
    living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, 1), True)
    living.ring(Timer.REFRESH)
    living.describe("v1", "v2")

    assert living.state is State.FRESH
    assert living.records[-1] is Cutover.RESTORED


def test_a_call_with_the_refused_key_is_sent_again_with_the_rolled_back_one() -> None:
    """It was under way while we rolled back."""
    living = serving()
    old = living.current
    living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, 1), True)
    ticket = living.challenge(old)

    assert living.verdicts[ticket] == Replay(living.current, "rollback")


# With a probe.


def test_with_a_probe_the_previous_key_is_proven_first() -> None:
    """No call has to try it."""
    living = serving(probing=True)
    first, second = living.challenge(), living.challenge()
    living.describe("v2", "v1")
    living.probe(False, "v2")
    living.load(key("v1"), PREVIOUS)
    living.probe(True, "v1")
    verdict = Replay(living.current, "rollback")

    assert living.verdicts == {first: verdict, second: verdict}
    assert living.state is State.ROLLED_BACK


def test_a_key_that_works_is_not_given_up_for_the_401_of_one_endpoint() -> None:
    """The probe proves the key in use: the 401 was about the call."""
    living = serving(probing=True)
    ticket = living.challenge()
    living.describe("v2", "v1")
    living.probe(True, "v2")

    assert living.verdicts[ticket] == PASS
    assert living.state is State.FRESH
    assert not living.open


def test_endpoints_that_always_answer_401_cost_no_look_each() -> None:
    """For a while a 401 is let through; then a probe comes before a look."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(True)
    quiet = living.challenge()
    for _ in range(10):
        living.pass_time(6)
        living.challenge()
        living.probe(True)

    assert living.verdicts[quiet] == PASS
    assert living.count(Describe()) == 2


def test_a_key_that_was_innocent_may_be_revoked_all_the_same() -> None:
    """The probe that comes first says so, and the look follows."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(True)
    living.pass_time(6)
    ticket = living.challenge()
    living.probe(False)
    living.look("v3", "v2")

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_an_innocent_key_is_not_given_up_for_an_unproven_candidate() -> None:
    """Only what proves it refused makes the candidate as good."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(True)
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")
    living.probe(None, "v3")
    living.pass_time(6)
    living.at = min(living.at, living.life.recovery.proven_until - 1)
    ticket = living.challenge()
    living.probe(True, "v2")

    assert living.verdicts[ticket] == PASS
    assert living.version == "v2"


def test_a_call_with_an_older_key_is_sent_again_when_the_key_is_innocent() -> None:
    """It joined the round, but its 401 was about its own key."""
    living = serving("v1", None, probing=True)
    old = living.current
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    living.probe(True)
    own = living.challenge()
    other = living.challenge(old)
    living.describe("v2", "v1")
    living.probe(True)

    assert living.verdicts[own] == PASS
    assert living.verdicts[other] == Replay(living.current, "replay")


def test_a_probe_without_answer_leaves_it_to_a_call() -> None:
    """The API answered a moment ago: perhaps it answers a call."""
    living = serving(probing=True)
    ticket = living.challenge()
    living.describe("v2", "v1")
    living.probe(None, "v2")
    living.load(key("v1"), PREVIOUS)
    living.probe(None, "v1")

    assert trial_of(living, ticket).version_id == "v1"


def test_when_the_candidate_gives_no_answer_either_it_is_put_into_use() -> None:
    """The key in use is refused, the probe is silent: the newer key it is."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(True)
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")
    living.probe(None, "v3")
    living.at = living.life.recovery.proven_until - 1
    ticket = living.challenge()
    living.probe(False, "v2")
    living.describe("v3", "v2")
    living.probe(None, "v3")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.version == "v3"


def test_a_refused_key_is_probed_until_it_works_again() -> None:
    """The API had a bad moment, and nothing else would tell."""
    living = refused(probing=True)
    living.ring(Timer.PROBE)
    living.probe(False)
    living.ring(Timer.PROBE)
    living.probe(None)
    still = living.state
    living.ring(Timer.PROBE)
    living.probe(True)

    assert still is State.REFUSED
    assert living.state is State.FRESH


# The circuit.


def test_a_burned_key_is_left_alone() -> None:
    """No question for a 401 while the circuit is open."""
    living = refused()
    before = len(living.asked)
    tickets = [living.challenge() for _ in range(100)]

    assert all(living.verdicts[ticket] == PASS for ticket in tickets)
    assert len(living.asked) == before


def test_the_circuit_opens_for_longer_each_time() -> None:
    """5 s doubling to 5 min: neither the source nor the API is hammered."""
    living = refused()
    waits = []
    for _ in range(8):
        circuit = living.life.recovery.circuit
        waits.append(circuit.until - living.at)
        living.at = circuit.until
        living.challenge()
        living.describe("v2")

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


def test_a_day_with_a_burned_key_costs_few_looks() -> None:
    """A 401 every second, for a day."""
    living = refused()
    before = living.count(Describe())
    for _ in range(86400):
        living.pass_time(1)
        living.challenge(waits=False)
        if Describe() in living.open:
            living.describe("v2")

    assert living.count(Describe()) - before < 300


def test_a_changed_version_closes_the_circuit() -> None:
    """The regular look finds it; it needs no proof, nothing is to lose."""
    living = refused(probing=True)
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")
    ticket = living.challenge()

    assert living.version == "v3"
    assert ticket not in living.verdicts
    assert living.state is State.FRESH


def test_a_call_that_succeeds_tells_that_the_key_works() -> None:
    """Without a probe it is the only one who can tell."""
    living = refused()
    living.tried(living.current, True)

    assert living.state is State.FRESH


@pytest.mark.parametrize("proved", [False, None])
def test_a_call_that_fails_tells_nothing_new(proved: bool | None) -> None:
    """The key is known to be refused."""
    living = refused()
    living.tried(living.current, proved)

    assert living.state is State.REFUSED


# Calls that draw a 401 whatever the key.


def odd_one(*, probing: bool = False) -> Living:
    """The key works for others; /admin has drawn a 401 that no round explains."""
    if probing:
        living = serving(probing=True)
        living.challenge(call=b"GET /admin")
        living.describe("v2", "v1")
        living.probe(True)
        return living
    living = serving("v1", None)
    living.challenge(call=b"GET /admin")
    living.describe("v1")
    living.tried(living.current, True, b"GET /x")
    assert living.state is State.FRESH
    return living


@pytest.mark.parametrize("probing", [False, True])
def test_its_401s_begin_no_round(probing: bool) -> None:
    """Not in the circuit's time, and not after it."""
    living = odd_one(probing=probing)
    looks = living.count(Describe())
    for _ in range(20):
        living.pass_time(10)
        ticket = living.challenge(call=b"GET /admin")
        assert living.verdicts[ticket] == PASS

    assert living.count(Describe()) == looks


@pytest.mark.parametrize("probing", [False, True])
def test_a_401_on_another_call_is_news(probing: bool) -> None:
    """Though the circuit is open, or the key was innocent a moment ago."""
    living = odd_one(probing=probing)
    ticket = living.challenge(call=b"GET /x")
    if probing:
        living.probe(False)
    living.look("v3", "v2")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    # With another key everything is open again.
    assert living.life.recovery.attempt is None
    living.challenge(call=b"GET /admin")
    assert living.life.recovery.attempt is not None


def test_a_second_401_before_another_call_succeeds_forgets_nothing() -> None:
    """It may be called more often than all others together."""
    living = serving("v1", None)
    living.challenge(call=b"GET /admin")
    living.describe("v1")
    looks = living.count(Describe())
    for _ in range(3):
        living.challenge(call=b"GET /admin")
        living.tried(living.current, True, b"GET /x")
        living.challenge(call=b"GET /admin")

    assert living.life.recovery.attempt is None
    assert living.count(Describe()) == looks


def test_paths_without_number_begin_few_rounds() -> None:
    """At most one in a quarter of a second; and looks have their allowance."""
    living = odd_one()
    looks = living.count(Describe())
    living.challenge(call=b"GET /users/1")
    living.describe("v1")
    living.tried(living.current, True, b"GET /x")
    ticket = living.challenge(call=b"GET /users/2")

    assert living.verdicts[ticket] == PASS
    assert living.count(Describe()) == looks + 1


def test_two_revocations_in_one_breath_are_both_news() -> None:
    """What the first one's round found was worth it: the next need not wait."""
    living = odd_one()
    living.challenge(call=b"GET /x")
    living.look("v3", None)
    carrier = living.challenge(call=b"GET /admin")
    living.describe("v3")
    living.tried(trial_of(living, carrier), False)
    living.tried(living.current, True, b"GET /x")
    ticket = living.challenge(call=b"GET /x")
    living.look("v4", None)

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.version == "v4"


def test_a_call_that_works_again_is_one_like_any_other() -> None:
    """The API was out of order for a moment; then its key is revoked."""
    living = odd_one()
    living.tried(living.current, True, b"GET /admin")
    ticket = living.challenge(call=b"GET /admin")
    living.look("v3", "v2")

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_a_burned_key_explains_itself() -> None:
    """No call has worked since, so the calls that drew a 401 are not at fault."""
    living = serving("v1", None)
    living.challenge(call=b"GET /admin")
    living.describe("v1")
    living.pass_time(10)
    ticket = living.challenge(call=b"GET /admin")
    living.look("v3", "v1")

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_what_was_at_fault_is_asked_anew_after_a_while() -> None:
    """It may be the only one that is called when the key dies."""
    living = odd_one()
    living.pass_time(301)
    living.challenge(call=b"GET /admin")

    assert living.life.recovery.attempt is not None


def test_few_calls_are_remembered() -> None:
    """The oldest is forgotten."""
    own = UnauthorizedEndpoints()
    own.suspect([b"GET /%d" % n for n in range(MOST + 1)], 0.0)
    own.proven = True

    assert own
    assert not own.explains(b"GET /0", 1.0)
    assert own.knows(b"GET /%d" % MOST)
    assert own.explains(b"GET /%d" % MOST, 1.0)
    assert not own.take_attempt(b"", 1.0)


def test_an_older_key_is_not_replayed_with_a_burned_one() -> None:
    """It would draw the next 401."""
    living = serving("v1", None)
    old = living.current
    living.ring(Timer.REFRESH)
    living.look("v2", None)
    living.challenge()
    living.describe("v2")
    living.tried(trial_of(living, 1), False)
    ticket = living.challenge(old)

    assert living.verdicts[ticket] == PASS


# The source is away.


@pytest.mark.parametrize("result", [RefreshResult.DENIED, RefreshResult.NOT_FOUND])
def test_a_source_that_says_no_is_asked_once(result: RefreshResult) -> None:
    """It will not say yes in the next few seconds."""
    living = serving("v1", None)
    ticket = living.challenge()
    living.fail(result)

    assert living.verdicts[ticket] == PASS
    assert living.state is State.REFUSED


@pytest.mark.parametrize("result", [RefreshResult.UNREACHABLE, RefreshResult.THROTTLED])
def test_a_source_that_is_away_for_a_moment_is_asked_again(
    result: RefreshResult,
) -> None:
    """Within the time that calls can wait."""
    living = serving("v1", None)
    ticket = living.challenge()
    living.fail(result)
    living.ring(Timer.RECOVERY)
    living.fail(result)
    living.ring(Timer.RECOVERY)
    living.look("v2", "v1")

    assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_a_source_that_stays_away_is_given_up() -> None:
    """Before the calls give up, after a few tries."""
    living = serving("v1", None)
    began = living.at
    ticket = living.challenge()
    living.fail()
    for _ in range(40):
        if ticket in living.verdicts:
            break
        living.ring(Timer.RECOVERY)
        if Describe() in living.open:
            living.fail()

    assert living.verdicts[ticket] == PASS
    assert living.at - began <= 10
    assert living.count(Describe()) <= 10


def test_while_the_source_is_away_the_key_in_memory_is_tried() -> None:
    """What was in use before may still work."""
    living = serving("v1", None)
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    ticket = living.challenge()
    living.fail()
    living.tried(trial_of(living, ticket), True)

    assert living.state is State.ROLLED_BACK
    assert living.version == "v1"


def test_a_slow_source_does_not_keep_memory_from_being_tried() -> None:
    """After 2 s; the look goes on meanwhile, and may still win."""
    living = serving("v1", None)
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    ticket = living.challenge()
    living.ring(Timer.RECOVERY)

    assert trial_of(living, ticket).version_id == "v1"
    assert Describe() in living.open


def test_a_slow_source_that_brings_a_key_ends_the_round() -> None:
    """Though the key in memory is on trial."""
    living = serving("v1", None)
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    living.challenge()
    second = living.challenge()
    living.ring(Timer.RECOVERY)
    living.look("v3", "v2")

    assert living.verdicts[second] == Replay(living.current, "replay")
    assert living.version == "v3"


def test_a_slow_look_is_waited_for_when_memory_does_not_help() -> None:
    """It is not asked for a second time while it is under way."""
    living = serving("v1", None)
    ticket = living.challenge()
    living.ring(Timer.RECOVERY)
    living.ring(Timer.RECOVERY)
    living.look("v2", "v1")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.count(Describe()) == 2


def test_a_failed_look_from_before_the_401_is_not_waited_for_twice() -> None:
    """The source is away: memory is tried at once."""
    living = serving("v1", None)
    living.ring(Timer.REFRESH)
    living.look("v2", "v1")
    living.ring(Timer.REFRESH)
    ticket = living.challenge()
    living.fail()

    assert trial_of(living, ticket).version_id == "v1"


def test_a_previous_value_that_is_away_for_a_moment_is_asked_for_again() -> None:
    """The look was answered, GetSecretValue was throttled."""
    living = serving()
    ticket = living.challenge()
    living.describe("v2", "v1")
    living.fail_fetch(RefreshResult.THROTTLED)
    living.ring(Timer.RECOVERY)
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)

    assert trial_of(living, ticket).version_id == "v1"


def test_a_key_that_expires_in_a_recovery_is_not_replayed() -> None:
    """No key may be given out any more."""
    living = serving("v1", None, max_stale=600)
    living.ring(Timer.REFRESH)
    living.fail()
    ticket = living.challenge()
    living.ring(Timer.LIMIT)
    late = living.challenge(key("v1"))

    assert living.verdicts[ticket] == living.verdicts[late] == PASS
    assert living.state is State.EXPIRED


def test_looks_that_find_nothing_are_limited() -> None:
    """Two keys that refuse each other's calls would else cost a look each time."""
    living = serving()
    living.challenge()
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)
    living.tried(trial_of(living, 1), True)
    before = living.count(Describe())
    for _ in range(200):
        ticket = living.challenge()
        if Describe() in living.open:
            living.describe("v2", "v1")
        living.tried(trial_of(living, ticket), True)

    assert living.count(Describe()) - before <= 8


def test_looks_that_find_a_key_are_not_limited() -> None:
    """A rotation is never too much, even one each second."""
    living = serving("v1", None)
    for number in range(2, 60):
        ticket = living.challenge()
        living.look(f"v{number}", f"v{number - 1}")

        assert living.verdicts[ticket] == Replay(living.current, "replay")


def test_a_round_that_waits_for_nothing_holds_no_call() -> None:
    """Should a question ever be lost, calls of ever after are not."""
    living = serving()
    first = living.challenge()
    living.open.clear()
    living.pass_time(60)
    second = living.challenge()

    assert living.verdicts == {first: PASS, second: PASS}
    assert living.life.recovery.attempt is None


# Calls that leave.


def test_a_call_that_left_carries_no_trial() -> None:
    """The next one does."""
    living = serving()
    first, second = living.challenge(), living.challenge()
    living.withdraw(first)
    living.describe("v2", "v1")
    living.load(key("v1"), PREVIOUS)

    assert first not in living.verdicts
    assert trial_of(living, second).version_id == "v1"


def test_a_call_that_leaves_without_a_round_is_no_trouble() -> None:
    """It was answered in the same moment."""
    living = serving()
    living.withdraw(99)

    assert living.state is State.FRESH


def test_late_answers_change_nothing() -> None:
    """AWSPREVIOUS and probes that nobody waits for any more."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(False)
    living.close(Fetch)
    living.ask()
    living.look("v3", "v2")
    living.tell(Loaded(living.at, PREVIOUS, key("v1")))
    living.tell(Probed(living.at, key("v0"), True))

    assert living.version == "v3"
    assert living.state is State.FRESH
