"""A changed key comes into use when it is proven, and not before."""

import pytest

from sidecar.core.keylife.commands import Probe
from sidecar.core.keylife.messages import Cutover, PassThrough, Replay, State, Timer
from tests.support.machine_driver import PREVIOUS, Living, key, serving


def changed() -> Living:
    """A machine that serves v2 and is probing v3."""
    living = serving(probing=True)
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")
    return living


def test_a_changed_key_is_proven_first() -> None:
    """The old one serves until then."""
    living = changed()

    assert living.version == "v2"
    assert living.state is State.FRESH
    assert living.life.keys.candidate is not None


def test_a_proven_candidate_is_promoted() -> None:
    """The old key becomes the fallback."""
    living = changed()
    living.probe(True, "v3")

    assert living.version == "v3"
    assert living.records == [Cutover.PROMOTED]
    assert living.life.keys.candidate is None
    assert living.state is State.FRESH


def test_a_refused_candidate_leaves_the_old_key() -> None:
    """It is told once, and probed again."""
    living = changed()
    living.probe(False)
    waits = []
    for _ in range(9):
        waits.append(living.alarms[Timer.PROBE] - living.at)
        living.ring(Timer.PROBE)
        living.probe(False)

    assert living.version == "v2"
    assert living.state is State.REJECTED
    assert living.records == [Cutover.REJECTED]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_refused_candidate_may_come_to_work() -> None:
    """Keys may need a while to become active."""
    living = changed()
    living.probe(False)
    living.ring(Timer.PROBE)
    living.probe(True)

    assert living.version == "v3"
    assert living.state is State.FRESH


def test_without_an_answer_the_candidate_stays_one() -> None:
    """Undecided: the API is away, the old key serves on, the probe is repeated."""
    living = changed()
    waits = []
    for _ in range(8):
        living.probe(None)
        waits.append(living.alarms[Timer.PROBE] - living.at)
        living.ring(Timer.PROBE)

    assert living.version == "v2"
    assert living.state is State.FRESH
    assert living.records == []
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_refusal_without_further_answer_stays_a_refusal() -> None:
    """No answer does not make a refused key a possible one."""
    living = changed()
    living.probe(False)
    living.ring(Timer.PROBE)
    living.probe(None)

    assert living.state is State.REJECTED
    assert living.version == "v2"


def test_a_newer_candidate_takes_the_place_of_an_older() -> None:
    """The answer about the older one is no news any more."""
    living = changed()
    living.ring(Timer.REFRESH)
    living.look("v4", "v3")
    living.probe(True, "v3")
    older = living.version
    living.probe(True, "v4")

    assert older == "v2"
    assert living.version == "v4"


def test_a_candidate_that_was_withdrawn_is_dropped() -> None:
    """AWSCURRENT was moved back to the key in use."""
    living = changed()
    living.probe(False)
    living.ring(Timer.REFRESH)
    living.describe("v2", "v3")
    living.ring(Timer.PROBE)

    assert living.state is State.FRESH
    assert living.life.keys.candidate is None
    assert not living.open


def test_a_spoiled_value_takes_the_place_of_a_candidate() -> None:
    """What AWSCURRENT held before is not to be used any more."""
    living = changed()
    living.probe(None)
    living.ring(Timer.REFRESH)
    living.describe("v4", "v3")
    living.spoil("v4")

    assert living.life.keys.candidate is None
    assert living.state is State.REJECTED


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_401_on_the_old_key_promotes_the_candidate(answer: bool | None) -> None:
    """At once: nothing is to lose. The probe under way comes too late."""
    living = changed()
    old = living.current
    ticket = living.challenge()
    verdict = living.verdicts[ticket]
    living.probe(answer)

    assert verdict == Replay(living.current, "replay")
    assert living.version == "v3"
    assert living.life.keys.fallback is old
    assert living.records == [Cutover.PROMOTED]


def test_a_promoted_candidate_that_is_refused_is_looked_into() -> None:
    """The late probe is news about the key that is now in use."""
    living = changed()
    living.challenge()
    living.probe(False)
    living.describe("v3", "v2")
    living.probe(False, "v3")
    living.probe(True, "v2")

    assert living.version == "v2"
    assert living.state is State.ROLLED_BACK


def test_a_401_on_the_old_key_asks_a_refused_candidate_again() -> None:
    """It was refused by the API, so it is not taken blindly."""
    living = changed()
    living.probe(False)
    ticket = living.challenge()
    living.describe("v3", "v2")
    living.probe(False, "v2")
    living.probe(True, "v3")

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.version == "v3"


def test_when_both_are_refused_the_calls_get_their_401() -> None:
    """There is no key that works."""
    living = changed()
    living.probe(False)
    ticket = living.challenge()
    living.describe("v3", "v2")
    living.probe(False, "v2")
    living.probe(False, "v3")

    assert living.verdicts[ticket] == PassThrough()
    assert living.version == "v2"


def test_an_older_key_is_replayed_while_a_candidate_waits() -> None:
    """A call that carried a key from before is no reason to promote anything."""
    living = serving("v1", None)
    first = living.current
    living = changed()
    ticket = living.challenge(first)

    assert living.verdicts[ticket] == Replay(living.current, "replay")
    assert living.version == "v2"


def test_asking_for_a_look_probes_the_candidate_too() -> None:
    """A person who corrected the key at the API does not want to wait."""
    living = changed()
    living.probe(False)
    candidate = living.life.keys.candidate
    assert candidate is not None
    living.ask()

    assert Probe(candidate) in living.open


def test_a_candidate_is_not_probed_twice_at_a_time() -> None:
    """A probe is under way already."""
    living = changed()
    living.ask()
    probes = [command for command in living.open if isinstance(command, Probe)]

    assert len(probes) == 1


def test_a_rolled_back_key_is_replaced_by_the_next_good_one() -> None:
    """AWSCURRENT changed: the normal way, and the end of the rollback."""
    living = serving(probing=True)
    living.challenge()
    living.describe("v2", "v1")
    living.probe(False)
    living.load(key("v1"), PREVIOUS)
    living.probe(True)
    rolled_back = living.state
    living.ring(Timer.REFRESH)
    living.look("v3", "v2")
    living.probe(True, "v3")

    assert rolled_back is State.ROLLED_BACK
    assert living.state is State.FRESH
    assert living.records == [Cutover.ROLLED_BACK, Cutover.RESTORED]
