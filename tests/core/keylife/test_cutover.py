"""A changed key comes into use when it is proven, and not before."""

import pytest

from sidecar.core.keylife.messages import (
    Cutover,
    PassThrough,
    Probe,
    Replay,
    State,
    Timer,
)
from tests.support.machine_driver import PREVIOUS, MachineDriver, key, serving


def changed() -> MachineDriver:
    """A machine that serves v2 and is probing v3."""
    machine = serving(probing=True)
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")
    return machine


def test_a_changed_key_is_proven_first() -> None:
    """The old one serves until then."""
    machine = changed()

    assert machine.version == "v2"
    assert machine.state is State.FRESH
    assert machine.life.keys.candidate is not None


def test_a_proven_candidate_is_promoted() -> None:
    """The old key becomes the fallback."""
    machine = changed()
    machine.probe(True, "v3")

    assert machine.version == "v3"
    assert machine.records == [Cutover.PROMOTED]
    assert machine.life.keys.candidate is None
    assert machine.state is State.FRESH


def test_a_refused_candidate_leaves_the_old_key() -> None:
    """It is reported once, and probed again."""
    machine = changed()
    machine.probe(False)
    waits = []
    for _ in range(9):
        waits.append(machine.timers[Timer.PROBE] - machine.at)
        machine.fire(Timer.PROBE)
        machine.probe(False)

    assert machine.version == "v2"
    assert machine.state is State.REJECTED
    assert machine.records == [Cutover.REJECTED]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_refused_candidate_may_come_to_work() -> None:
    """Keys may need a while to become active."""
    machine = changed()
    machine.probe(False)
    machine.fire(Timer.PROBE)
    machine.probe(True)

    assert machine.version == "v3"
    assert machine.state is State.FRESH


def test_without_an_answer_the_candidate_stays_one() -> None:
    """Undecided: the API is away, the old key stays in use, the probe is repeated."""
    machine = changed()
    waits = []
    for _ in range(8):
        machine.probe(None)
        waits.append(machine.timers[Timer.PROBE] - machine.at)
        machine.fire(Timer.PROBE)

    assert machine.version == "v2"
    assert machine.state is State.FRESH
    assert machine.records == []
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_refusal_without_further_answer_stays_a_refusal() -> None:
    """No answer does not make a refused key a possible one."""
    machine = changed()
    machine.probe(False)
    machine.fire(Timer.PROBE)
    machine.probe(None)

    assert machine.state is State.REJECTED
    assert machine.version == "v2"


def test_a_newer_candidate_takes_the_place_of_an_older() -> None:
    """The answer about the older one is no news any more."""
    machine = changed()
    machine.fire(Timer.REFRESH)
    machine.refresh("v4", "v3")
    machine.probe(True, "v3")
    older = machine.version
    machine.probe(True, "v4")

    assert older == "v2"
    assert machine.version == "v4"


def test_a_candidate_that_was_withdrawn_is_dropped() -> None:
    """AWSCURRENT was moved back to the key in use."""
    machine = changed()
    machine.probe(False)
    machine.fire(Timer.REFRESH)
    machine.describe("v2", "v3")
    machine.fire(Timer.PROBE)

    assert machine.state is State.FRESH
    assert machine.life.keys.candidate is None
    assert not machine.open


def test_an_invalid_value_takes_the_place_of_a_candidate() -> None:
    """What AWSCURRENT held before is not to be used any more."""
    machine = changed()
    machine.probe(None)
    machine.fire(Timer.REFRESH)
    machine.describe("v4", "v3")
    machine.invalid("v4")

    assert machine.life.keys.candidate is None
    assert machine.state is State.REJECTED


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_401_on_the_old_key_promotes_the_candidate(answer: bool | None) -> None:
    """At once: nothing is to lose. The probe under way comes too late."""
    machine = changed()
    old = machine.current
    ticket = machine.unauthorized()
    verdict = machine.verdicts[ticket]
    machine.probe(answer)

    assert verdict == Replay(machine.current, "replay")
    assert machine.version == "v3"
    assert machine.life.keys.fallback is old
    assert machine.records == [Cutover.PROMOTED]


def test_a_promoted_candidate_that_is_refused_starts_a_recovery() -> None:
    """The late probe is news about the key that is now in use."""
    machine = changed()
    machine.unauthorized()
    machine.probe(False)
    machine.describe("v3", "v2")
    machine.probe(False, "v3")
    machine.probe(True, "v2")

    assert machine.version == "v2"
    assert machine.state is State.ROLLED_BACK


def test_a_401_on_the_old_key_asks_a_refused_candidate_again() -> None:
    """It was refused by the API, so it is not taken blindly."""
    machine = changed()
    machine.probe(False)
    ticket = machine.unauthorized()
    machine.describe("v3", "v2")
    machine.probe(False, "v2")
    machine.probe(True, "v3")

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.version == "v3"


def test_when_both_are_refused_the_calls_get_their_401() -> None:
    """There is no key that works."""
    machine = changed()
    machine.probe(False)
    ticket = machine.unauthorized()
    machine.describe("v3", "v2")
    machine.probe(False, "v2")
    machine.probe(False, "v3")

    assert machine.verdicts[ticket] == PassThrough()
    assert machine.version == "v2"


def test_an_older_key_is_replayed_while_a_candidate_waits() -> None:
    """A call that carried a key from before is no reason to promote anything."""
    machine = serving("v1", None)
    first = machine.current
    machine = changed()
    ticket = machine.unauthorized(first)

    assert machine.verdicts[ticket] == Replay(machine.current, "replay")
    assert machine.version == "v2"


def test_asking_for_a_refresh_probes_the_candidate_too() -> None:
    """A person who corrected the key at the API does not want to wait."""
    machine = changed()
    machine.probe(False)
    candidate = machine.life.keys.candidate
    assert candidate is not None
    machine.request_refresh()

    assert Probe(candidate) in machine.open


def test_a_candidate_is_not_probed_twice_at_a_time() -> None:
    """A probe is under way already."""
    machine = changed()
    machine.request_refresh()
    probes = [command for command in machine.open if isinstance(command, Probe)]

    assert len(probes) == 1


def test_a_rolled_back_key_is_replaced_by_the_next_good_one() -> None:
    """AWSCURRENT changed: the normal way, and the end of the rollback."""
    machine = serving(probing=True)
    machine.unauthorized()
    machine.describe("v2", "v1")
    machine.probe(False)
    machine.load(key("v1"), PREVIOUS)
    machine.probe(True)
    rolled_back = machine.state
    machine.fire(Timer.REFRESH)
    machine.refresh("v3", "v2")
    machine.probe(True, "v3")

    assert rolled_back is State.ROLLED_BACK
    assert machine.state is State.FRESH
    assert machine.records == [Cutover.ROLLED_BACK, Cutover.RESTORED]
