"""What becomes of a 401 on a live call."""

import pytest

from sidecar.core.keylife.messages import (
    Cutover,
    Describe,
    Fetch,
    Loaded,
    PassThrough,
    Probed,
    Replay,
    State,
    Timer,
)
from sidecar.core.keylife.unauthorized_endpoints import (
    MAX_ENDPOINTS,
    UnauthorizedEndpoints,
)
from sidecar.core.secrecy.secret import Credential
from sidecar.errors import RefreshResult
from tests.support.machine_driver import CURRENT, PREVIOUS, MachineDriver, key, serving

PASS = PassThrough()


def refused(*, probing: bool = False, previous: str | None = None) -> MachineDriver:
    """A machine whose only key was found to be refused; the circuit breaker is open."""
    machine = serving("v2", previous, probing=probing)
    machine.unauthorized()
    machine.describe("v2", previous)
    if probing:
        machine.probe(False)
    return machine


def trial_of(machine: MachineDriver, ticket: int) -> Credential:
    """Return the key of the trial that a call carries."""
    verdict = machine.verdicts[ticket]
    assert isinstance(verdict, Replay)
    assert verdict.trial
    assert verdict.how == "rollback"
    return verdict.credential


# Another key than the one in use.


def test_a_401_on_an_older_key_is_no_news() -> None:
    """The call is sent again with the key in use, at once, without any question."""
    machine = serving()
    old = machine.current
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")
    ticket = machine.unauthorized(old)

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert not machine.open


def test_a_401_on_a_key_from_long_ago_is_no_news() -> None:
    """Older than the previous one."""
    machine = serving("v1", None)
    old = machine.current
    for version in ("v2", "v3", "v4"):
        machine.fire(Timer.REFRESH)
        machine.refresh(version, None)
    ticket = machine.unauthorized(old)

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_the_same_key_under_an_older_number_is_news() -> None:
    """After a rollback, a call may still carry the same key from before."""
    machine = serving("v1", None)
    old = machine.current
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.outcome(trial_of(machine, 1), True)
    ticket = machine.unauthorized(old)

    assert ticket not in machine.verdicts
    assert machine.open == [Describe()]


# The key in use, and another version at the source.


def test_a_changed_version_is_put_into_use_and_the_call_sent_again() -> None:
    """An emergency rotation: the service sees nothing of it."""
    machine = serving()
    ticket = machine.unauthorized()
    machine.refresh("v3", "v2")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.version == "v3"
    assert machine.records == [Cutover.PROMOTED]


def test_another_key_restores_what_an_outage_spent() -> None:
    """The next emergency finds every refresh that it may need."""
    machine = serving()
    allowance = machine.life.recovery.refresh_budget
    allowance.spent = allowance.size - 1.0
    allowance.counted_at = machine.at
    machine.unauthorized()
    machine.refresh("v3", "v2")

    assert allowance.spent == 0


def test_in_a_recovery_a_changed_key_is_not_probed_first() -> None:
    """Nothing is to lose, and the calls wait."""
    machine = serving(probing=True)
    ticket = machine.unauthorized()
    machine.refresh("v3", "v2")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert not machine.open


def test_a_burst_shares_one_refresh() -> None:
    """A thousand 401s cost one DescribeSecret and one GetSecretValue."""
    machine = serving()
    tickets = [machine.unauthorized() for _ in range(1000)]
    machine.refresh("v3", "v2")
    verdict = Replay(machine.current, "replay")

    assert all(machine.verdicts[ticket] == verdict for ticket in tickets)
    assert machine.count(Describe()) == 2
    assert machine.count(Fetch(CURRENT)) == 2


def test_a_refresh_that_began_before_the_401_does_not_count() -> None:
    """It may have been answered just before the key was changed."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    waits = ticket not in machine.verdicts
    machine.refresh("v3", "v2")

    assert waits
    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_a_refresh_that_began_before_the_401_may_bring_the_key() -> None:
    """Whatever is newer will do."""
    machine = serving()
    machine.fire(Timer.REFRESH)
    machine.describe("v3", "v2")
    ticket = machine.unauthorized()
    machine.load(key("v3"))

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_an_older_version_is_taken_at_first_sight_in_a_recovery() -> None:
    """AWSCURRENT was moved back, and the newer key revoked."""
    machine = serving("v3", "v2")
    ticket = machine.unauthorized()
    machine.refresh("v2", "v3")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.version == "v2"


def test_a_new_version_of_the_same_key_is_no_help() -> None:
    """The search goes on to AWSPREVIOUS."""
    machine = serving()
    machine.unauthorized()
    machine.describe("v3", "v2")
    machine.load(key("v3", text="key-v2"))

    assert machine.version == "v3"
    assert Fetch(PREVIOUS) in machine.open


def test_an_invalid_new_version_is_no_help() -> None:
    """The search goes on to AWSPREVIOUS."""
    machine = serving("v2", "v1")
    machine.unauthorized()
    machine.describe("v3", "v1")
    machine.invalid("v3")

    assert Fetch(PREVIOUS) in machine.open


# The key in use, and nothing new: AWSPREVIOUS by trial.


def test_without_a_probe_one_call_tries_the_previous_key() -> None:
    """The others wait for how it goes."""
    machine = serving()
    first, second, third = (machine.unauthorized() for _ in range(3))
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    trial = trial_of(machine, first)
    waiting = {second, third} - machine.verdicts.keys()
    machine.outcome(trial, True)

    assert trial.version_id == "v1"
    assert waiting == {second, third}
    assert machine.verdicts[second] == Replay(machine.current, "rollback")
    assert machine.verdicts[third] == Replay(machine.current, "rollback")
    assert machine.state is State.ROLLED_BACK
    assert machine.records == [Cutover.ROLLED_BACK]
    assert machine.current.generation > trial.generation


def test_a_failed_trial_lets_the_401_through() -> None:
    """There is no key that works."""
    machine = serving()
    first, second = machine.unauthorized(), machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, first), False)

    assert machine.verdicts[second] == PASS
    assert machine.state is State.REFUSED
    assert machine.version == "v2"


def test_a_trial_without_answer_goes_to_the_next_call() -> None:
    """The call was dropped, or its connection broke."""
    machine = serving()
    first, second = machine.unauthorized(), machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, first), None)
    machine.outcome(trial_of(machine, second), True)

    assert machine.state is State.ROLLED_BACK


def test_a_trial_waits_for_a_call_that_can_carry_it() -> None:
    """All calls so far were dropped, or could not be sent again."""
    machine = serving()
    machine.unauthorized(waits=False)
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    ticket = machine.unauthorized()
    machine.outcome(trial_of(machine, ticket), True)

    assert machine.state is State.ROLLED_BACK


def test_a_slow_trial_is_given_to_a_second_call_too() -> None:
    """An answer may take a minute; the others cannot wait for it."""
    machine = serving()
    first, second = machine.unauthorized(), machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.fire(Timer.RECOVERY)
    machine.outcome(trial_of(machine, second), None)
    still_out = trial_of(machine, first)
    machine.outcome(still_out, True)

    assert machine.state is State.ROLLED_BACK


def test_a_trial_that_no_one_ends_is_given_up() -> None:
    """No call waits past the deadline of the attempt."""
    machine = serving()
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.fire(Timer.RECOVERY)
    late = machine.unauthorized()
    machine.fire(Timer.RECOVERY)
    handed = isinstance(machine.verdicts[late], Replay)
    machine.pass_time(10)
    machine.fire(Timer.RECOVERY)

    assert handed
    assert machine.state is State.REFUSED


def test_a_trial_that_outlives_its_attempt_still_counts() -> None:
    """The previous key works after all."""
    machine = serving()
    first = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.pass_time(10)
    machine.fire(Timer.RECOVERY)
    machine.outcome(trial_of(machine, first), True)

    assert machine.state is State.ROLLED_BACK
    assert machine.version == "v1"


def test_what_was_in_use_before_needs_no_fetch() -> None:
    """It is AWSPREVIOUS now, and in memory."""
    machine = serving("v1", None)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")

    assert trial_of(machine, ticket).version_id == "v1"
    assert machine.count(Fetch(PREVIOUS)) == 0


def test_a_file_falls_back_to_what_was_in_it_before() -> None:
    """A file has no stages."""
    machine = serving("v1", None)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", None)
    ticket = machine.unauthorized()
    machine.describe("v2", None)

    assert trial_of(machine, ticket).version_id == "v1"


def test_with_no_other_key_the_401_goes_through() -> None:
    """One version only."""
    machine = serving("v1", None)
    ticket = machine.unauthorized()
    machine.describe("v1", None)

    assert machine.verdicts[ticket] == PASS
    assert machine.state is State.REFUSED


def test_an_invalid_previous_value_is_no_other_key() -> None:
    """Nor is one that cannot be fetched."""
    machine = serving()
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.invalid("v1", PREVIOUS)

    assert machine.verdicts[ticket] == PASS


def test_a_previous_version_that_is_in_use_means_that_there_is_a_newer() -> None:
    """The stages moved between the two questions: refresh again."""
    machine = serving()
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v2"), PREVIOUS)
    machine.refresh("v3", "v2")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_after_a_rollback_the_other_key_is_tried_when_this_one_fails() -> None:
    """AWSCURRENT's may have come to life meanwhile."""
    machine = serving()
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, 1), True)
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.outcome(trial_of(machine, ticket), True)

    assert machine.version == "v2"
    assert machine.state is State.FRESH
    assert machine.records == [Cutover.ROLLED_BACK, Cutover.RESTORED]


def test_a_rollback_lasts_until_awscurrent_changes() -> None:
    """Refreshes that find the refused version again change nothing."""
    machine = serving()
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, 1), True)
    for _ in range(3):
        machine.fire(Timer.REFRESH)
        machine.describe("v2", "v1")

    assert machine.state is State.ROLLED_BACK
    assert machine.version == "v1"


def test_awscurrent_moved_back_to_the_rolled_back_key_ends_the_rollback() -> None:
    """A person agreed with us."""
    machine = serving()
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, 1), True)
    machine.fire(Timer.REFRESH)
    machine.describe("v1", "v2")

    assert machine.state is State.FRESH
    assert machine.records[-1] is Cutover.RESTORED


def test_a_call_with_the_refused_key_is_sent_again_with_the_rolled_back_one() -> None:
    """It was under way while we rolled back."""
    machine = serving()
    old = machine.current
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, 1), True)
    ticket = machine.unauthorized(old)

    assert machine.verdicts[ticket] == Replay(machine.current, "rollback")


# With a probe.


def test_with_a_probe_the_previous_key_is_proven_first() -> None:
    """No call has to try it."""
    machine = serving(probing=True)
    first, second = machine.unauthorized(), machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(False, "v2")
    machine.load(key("v1"), PREVIOUS)
    machine.probe(True, "v1")
    verdict = Replay(machine.current, "rollback")

    assert machine.verdicts == {first: verdict, second: verdict}
    assert machine.state is State.ROLLED_BACK


def test_a_key_that_works_is_not_given_up_for_the_401_of_one_endpoint() -> None:
    """The probe proves the key in use: the 401 was about the call."""
    machine = serving(probing=True)
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(True, "v2")

    assert machine.verdicts[ticket] == PASS
    assert machine.state is State.FRESH
    assert not machine.open


def test_endpoints_that_always_answer_401_do_not_cost_a_refresh_each() -> None:
    """For a while a 401 is let through; then a probe comes before a refresh."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(True)
    quiet = machine.unauthorized()
    for _ in range(10):
        machine.pass_time(6)
        machine.unauthorized()
        machine.probe(True)

    assert machine.verdicts[quiet] == PASS
    assert machine.count(Describe()) == 2


def test_a_key_that_was_proven_may_be_revoked_all_the_same() -> None:
    """The probe that comes first says so, and the refresh follows."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(True)
    machine.pass_time(6)
    ticket = machine.unauthorized()
    machine.probe(False)
    machine.refresh("v3", "v2")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_a_proven_key_is_not_given_up_for_an_unproven_candidate() -> None:
    """Only what proves it refused makes the candidate as good."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(True)
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")
    machine.probe(None, "v3")
    machine.pass_time(6)
    machine.at = min(machine.at, machine.life.recovery.proven_until - 1)
    ticket = machine.unauthorized()
    machine.probe(True, "v2")

    assert machine.verdicts[ticket] == PASS
    assert machine.version == "v2"


def test_a_call_with_an_older_key_is_sent_again_when_the_key_is_proven() -> None:
    """It joined the attempt, but its 401 was about its own key."""
    machine = serving("v1", None, probing=True)
    old = machine.current
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    machine.probe(True)
    own = machine.unauthorized()
    other = machine.unauthorized(old)
    machine.describe("v2", "v1")
    machine.probe(True)

    assert machine.verdicts[own] == PASS
    assert machine.verdicts[other] == Replay(machine.current, "replay")


def test_a_probe_without_answer_leaves_it_to_a_call() -> None:
    """The API answered a moment ago: perhaps it answers a call."""
    machine = serving(probing=True)
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(None, "v2")
    machine.load(key("v1"), PREVIOUS)
    machine.probe(None, "v1")

    assert trial_of(machine, ticket).version_id == "v1"


def test_when_the_candidate_gives_no_answer_either_it_is_put_into_use() -> None:
    """The key in use is refused, the probe is silent: the newer key it is."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(True)
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")
    machine.probe(None, "v3")
    machine.at = machine.life.recovery.proven_until - 1
    ticket = machine.unauthorized()
    machine.probe(False, "v2")
    machine.describe("v3", "v2")
    machine.probe(None, "v3")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.version == "v3"


def test_a_refused_key_is_probed_until_it_works_again() -> None:
    """The API had a bad moment, and nothing else would tell."""
    machine = refused(probing=True)
    machine.fire(Timer.PROBE)
    machine.probe(False)
    machine.fire(Timer.PROBE)
    machine.probe(None)
    still = machine.state
    machine.fire(Timer.PROBE)
    machine.probe(True)

    assert still is State.REFUSED
    assert machine.state is State.FRESH


# The circuit.


def test_a_refused_key_is_left_alone() -> None:
    """A 401 costs no request while the circuit breaker is open."""
    machine = refused()
    before = len(machine.issued)
    tickets = [machine.unauthorized() for _ in range(100)]

    assert all(machine.verdicts[ticket] == PASS for ticket in tickets)
    assert len(machine.issued) == before


def test_the_circuit_breaker_opens_for_longer_each_time() -> None:
    """5 s doubling to 5 min: neither the source nor the API is hammered."""
    machine = refused()
    waits = []
    for _ in range(8):
        circuit = machine.life.recovery.circuit_breaker
        waits.append(circuit.until - machine.at)
        machine.at = circuit.until
        machine.unauthorized()
        machine.describe("v2")

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


def test_a_day_with_a_refused_key_costs_few_refreshes() -> None:
    """A 401 every second, for a day."""
    machine = refused()
    before = machine.count(Describe())
    for _ in range(86400):
        machine.pass_time(1)
        machine.unauthorized(waits=False)
        if Describe() in machine.open:
            machine.describe("v2")

    assert machine.count(Describe()) - before < 300


def test_a_changed_version_closes_the_circuit_breaker() -> None:
    """The regular refresh finds it; it needs no proof, nothing is to lose."""
    machine = refused(probing=True)
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")
    ticket = machine.unauthorized()

    assert machine.version == "v3"
    assert ticket not in machine.verdicts
    assert machine.state is State.FRESH


def test_a_call_that_succeeds_reports_that_the_key_works() -> None:
    """Without a probe it is the only one who can tell."""
    machine = refused()
    machine.outcome(machine.current, True)

    assert machine.state is State.FRESH


@pytest.mark.parametrize("proved", [False, None])
def test_a_call_that_fails_reports_nothing_new(proved: bool | None) -> None:
    """The key is known to be refused."""
    machine = refused()
    machine.outcome(machine.current, proved)

    assert machine.state is State.REFUSED


# Calls that draw a 401 whatever the key.


def odd_one(*, probing: bool = False) -> MachineDriver:
    """The key works for others; /admin has drawn a 401 that no attempt explains."""
    if probing:
        machine = serving(probing=True)
        machine.unauthorized(call=b"GET /admin")
        machine.describe("v2", "v1")
        machine.probe(True)
        return machine
    machine = serving("v1", None)
    machine.unauthorized(call=b"GET /admin")
    machine.describe("v1")
    machine.outcome(machine.current, True, b"GET /x")
    assert machine.state is State.FRESH
    return machine


@pytest.mark.parametrize("probing", [False, True])
def test_its_401s_begin_no_attempt(probing: bool) -> None:
    """Neither while the circuit breaker is open nor after it."""
    machine = odd_one(probing=probing)
    looks = machine.count(Describe())
    for _ in range(20):
        machine.pass_time(10)
        ticket = machine.unauthorized(call=b"GET /admin")
        assert machine.verdicts[ticket] == PASS

    assert machine.count(Describe()) == looks


@pytest.mark.parametrize("probing", [False, True])
def test_a_401_on_another_call_is_news(probing: bool) -> None:
    """Though the circuit breaker is open, or the key was proven a moment ago."""
    machine = odd_one(probing=probing)
    ticket = machine.unauthorized(call=b"GET /x")
    if probing:
        machine.probe(False)
    machine.refresh("v3", "v2")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    # With another key everything is open again.
    assert machine.life.recovery.attempt is None
    machine.unauthorized(call=b"GET /admin")
    assert machine.life.recovery.attempt is not None


def test_a_second_401_before_another_call_succeeds_forgets_nothing() -> None:
    """It may be called more often than all others together."""
    machine = serving("v1", None)
    machine.unauthorized(call=b"GET /admin")
    machine.describe("v1")
    looks = machine.count(Describe())
    for _ in range(3):
        machine.unauthorized(call=b"GET /admin")
        machine.outcome(machine.current, True, b"GET /x")
        machine.unauthorized(call=b"GET /admin")

    assert machine.life.recovery.attempt is None
    assert machine.count(Describe()) == looks


def test_paths_without_number_begin_few_attempts() -> None:
    """At most one in a quarter of a second; and refreshes have their budget."""
    machine = odd_one()
    looks = machine.count(Describe())
    machine.unauthorized(call=b"GET /users/1")
    machine.describe("v1")
    machine.outcome(machine.current, True, b"GET /x")
    ticket = machine.unauthorized(call=b"GET /users/2")

    assert machine.verdicts[ticket] == PASS
    assert machine.count(Describe()) == looks + 1


def test_two_revocations_in_one_breath_are_both_news() -> None:
    """The first attempt found a key, so the next one need not wait."""
    machine = odd_one()
    machine.unauthorized(call=b"GET /x")
    machine.refresh("v3", None)
    carrier = machine.unauthorized(call=b"GET /admin")
    machine.describe("v3")
    machine.outcome(trial_of(machine, carrier), False)
    machine.outcome(machine.current, True, b"GET /x")
    ticket = machine.unauthorized(call=b"GET /x")
    machine.refresh("v4", None)

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.version == "v4"


def test_a_call_that_works_again_is_one_like_any_other() -> None:
    """The API was out of order for a moment; then its key is revoked."""
    machine = odd_one()
    machine.outcome(machine.current, True, b"GET /admin")
    ticket = machine.unauthorized(call=b"GET /admin")
    machine.refresh("v3", "v2")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_a_refused_key_explains_itself() -> None:
    """No call has worked since, so the calls that drew a 401 are not at fault."""
    machine = serving("v1", None)
    machine.unauthorized(call=b"GET /admin")
    machine.describe("v1")
    machine.pass_time(10)
    ticket = machine.unauthorized(call=b"GET /admin")
    machine.refresh("v3", "v1")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_what_was_at_fault_is_asked_anew_after_a_while() -> None:
    """It may be the only one that is called when the key dies."""
    machine = odd_one()
    machine.pass_time(301)
    machine.unauthorized(call=b"GET /admin")

    assert machine.life.recovery.attempt is not None


def test_few_calls_are_remembered() -> None:
    """The oldest is forgotten."""
    own = UnauthorizedEndpoints()
    own.add([b"GET /%d" % n for n in range(MAX_ENDPOINTS + 1)], 0.0)
    own.proven = True

    assert own
    assert not own.explains(b"GET /0", 1.0)
    assert own.knows(b"GET /%d" % MAX_ENDPOINTS)
    assert own.explains(b"GET /%d" % MAX_ENDPOINTS, 1.0)
    assert not own.take_news(b"", 1.0)


def test_an_older_key_is_not_replayed_with_a_refused_one() -> None:
    """It would draw the next 401."""
    machine = serving("v1", None)
    old = machine.current
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", None)
    machine.unauthorized()
    machine.describe("v2")
    machine.outcome(trial_of(machine, 1), False)
    ticket = machine.unauthorized(old)

    assert machine.verdicts[ticket] == PASS


# The source is away.


@pytest.mark.parametrize("result", [RefreshResult.DENIED, RefreshResult.NOT_FOUND])
def test_a_source_that_says_no_is_asked_once(result: RefreshResult) -> None:
    """It will not say yes in the next few seconds."""
    machine = serving("v1", None)
    ticket = machine.unauthorized()
    machine.fail(result)

    assert machine.verdicts[ticket] == PASS
    assert machine.state is State.REFUSED


@pytest.mark.parametrize("result", [RefreshResult.UNREACHABLE, RefreshResult.THROTTLED])
def test_a_source_that_is_away_for_a_moment_is_asked_again(
    result: RefreshResult,
) -> None:
    """Within the time that calls can wait."""
    machine = serving("v1", None)
    ticket = machine.unauthorized()
    machine.fail(result)
    machine.fire(Timer.RECOVERY)
    machine.fail(result)
    machine.fire(Timer.RECOVERY)
    machine.refresh("v2", "v1")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_a_source_that_stays_away_is_given_up() -> None:
    """Before the calls give up, after a few tries."""
    machine = serving("v1", None)
    began = machine.at
    ticket = machine.unauthorized()
    machine.fail()
    for _ in range(40):
        if ticket in machine.verdicts:
            break
        machine.fire(Timer.RECOVERY)
        if Describe() in machine.open:
            machine.fail()

    assert machine.verdicts[ticket] == PASS
    assert machine.at - began <= 10
    assert machine.count(Describe()) <= 10


def test_while_the_source_is_away_the_key_in_memory_is_tried() -> None:
    """What was in use before may still work."""
    machine = serving("v1", None)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    ticket = machine.unauthorized()
    machine.fail()
    machine.outcome(trial_of(machine, ticket), True)

    assert machine.state is State.ROLLED_BACK
    assert machine.version == "v1"


def test_a_slow_source_does_not_keep_memory_from_being_tried() -> None:
    """After 2 s; the refresh goes on meanwhile, and may still win."""
    machine = serving("v1", None)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    ticket = machine.unauthorized()
    machine.fire(Timer.RECOVERY)

    assert trial_of(machine, ticket).version_id == "v1"
    assert Describe() in machine.open


def test_a_slow_source_that_brings_a_key_ends_the_attempt() -> None:
    """Though the key in memory is on trial."""
    machine = serving("v1", None)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    machine.unauthorized()
    second = machine.unauthorized()
    machine.fire(Timer.RECOVERY)
    machine.refresh("v3", "v2")

    assert machine.verdicts[second] == Replay(machine.current, "replay")
    assert machine.version == "v3"


def test_a_slow_refresh_is_waited_for_when_memory_does_not_help() -> None:
    """It is not asked for a second time while it is under way."""
    machine = serving("v1", None)
    ticket = machine.unauthorized()
    machine.fire(Timer.RECOVERY)
    machine.fire(Timer.RECOVERY)
    machine.refresh("v2", "v1")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.count(Describe()) == 2


def test_a_failed_refresh_from_before_the_401_is_not_waited_for_twice() -> None:
    """The source is away: memory is tried at once."""
    machine = serving("v1", None)
    machine.fire(Timer.REFRESH)
    machine.refresh("v2", "v1")
    machine.fire(Timer.REFRESH)
    ticket = machine.unauthorized()
    machine.fail()

    assert trial_of(machine, ticket).version_id == "v1"


def test_a_previous_value_that_is_away_for_a_moment_is_asked_for_again() -> None:
    """The refresh was answered, GetSecretValue was throttled."""
    machine = serving()
    ticket = machine.unauthorized()
    machine.describe("v2", "v1")
    machine.fail_fetch(RefreshResult.THROTTLED)
    machine.fire(Timer.RECOVERY)
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)

    assert trial_of(machine, ticket).version_id == "v1"


def test_a_key_that_expires_in_a_recovery_is_not_replayed() -> None:
    """No key may be given out any more."""
    machine = serving("v1", None, max_stale=600)
    machine.fire(Timer.REFRESH)
    machine.fail()
    ticket = machine.unauthorized()
    machine.fire(Timer.LIMIT)
    late = machine.unauthorized(key("v1"))

    assert machine.verdicts[ticket] == machine.verdicts[late] == PASS
    assert machine.state is State.EXPIRED


def test_refreshes_that_find_nothing_are_limited() -> None:
    """Two keys that refuse each other's calls would otherwise cost a refresh each time."""
    machine = serving()
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)
    machine.outcome(trial_of(machine, 1), True)
    before = machine.count(Describe())
    for _ in range(200):
        ticket = machine.unauthorized()
        if Describe() in machine.open:
            machine.describe("v2", "v1")
        machine.outcome(trial_of(machine, ticket), True)

    assert machine.count(Describe()) - before <= 8


def test_refreshes_that_find_a_key_are_not_limited() -> None:
    """A rotation is never too much, even one each second."""
    machine = serving("v1", None)
    for number in range(2, 60):
        ticket = machine.unauthorized()
        machine.refresh(f"v{number}", f"v{number - 1}")

        assert machine.verdicts[ticket] == Replay(machine.current, "replay")


def test_an_attempt_that_waits_for_nothing_holds_no_call() -> None:
    """Should a question ever be lost, calls of ever after are not."""
    machine = serving()
    first = machine.unauthorized()
    machine.open.clear()
    machine.pass_time(60)
    second = machine.unauthorized()

    assert machine.verdicts == {first: PASS, second: PASS}
    assert machine.life.recovery.attempt is None


# Calls that leave.


def test_a_call_that_left_carries_no_trial() -> None:
    """The next one does."""
    machine = serving()
    first, second = machine.unauthorized(), machine.unauthorized()
    machine.abandon(first)
    machine.describe("v2", "v1")
    machine.load(key("v1"), PREVIOUS)

    assert first not in machine.verdicts
    assert trial_of(machine, second).version_id == "v1"


def test_a_call_that_leaves_without_an_attempt_is_no_trouble() -> None:
    """It was answered in the same moment."""
    machine = serving()
    machine.abandon(99)

    assert machine.state is State.FRESH


def test_late_answers_change_nothing() -> None:
    """Answers about AWSPREVIOUS and probes that the attempt does not wait for."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(False)
    machine.close(Fetch)
    machine.request_refresh()
    machine.refresh("v3", "v2")
    machine.handle(Loaded(machine.at, PREVIOUS, key("v1")))
    machine.handle(Probed(machine.at, key("v0"), True))

    assert machine.version == "v3"
    assert machine.state is State.FRESH
