"""The manager carries out the machine's commands: calls, refreshes, timers, clocks, the end."""

import asyncio
from collections import Counter

import pytest

from sidecar.core.keylife import recovery
from sidecar.core.keylife.messages import (
    PassThrough,
    Replay,
    State,
)
from sidecar.core.keylife.recovery import PhaseOutcome, RecoveryPhase
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.errors import Code, RefreshResult
from tests.support.simulation import EPOCH, Simulation
from tests.support.virtual_clock import live

OK = Counter({200: 16})


def test_calls_wait_for_the_first_key() -> None:
    """They get it as soon as there is one."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        absent = (
            simulation.manager.current,
            simulation.manager.unavailable_code,
            simulation.state,
        )
        async with simulation.running():
            first = await simulation.manager.wait(5)

            assert absent == (None, Code.CREDENTIAL_UNAVAILABLE, State.MISSING)
            assert first is not None
            assert first is simulation.manager.current
            assert first.header_line == b"Authorization: Bearer key-v1\r\n"

    live(story())


def test_calls_do_not_wait_without_end() -> None:
    """The source is away, and the manager keeps trying."""
    simulation = Simulation()
    simulation.source.outage = RefreshResult.UNREACHABLE

    async def story() -> None:
        async with simulation.running():
            first = await simulation.manager.wait(5)
            simulation.source.outage = None
            simulation.issue("v1")
            second = await simulation.manager.wait(31)

            assert first is None
            assert second is not None

    live(story())


@pytest.mark.parametrize("probing", [False, True])
def test_a_planned_rotation_costs_no_call(probing: bool) -> None:
    """New key, old one revoked after the grace."""
    simulation = Simulation(probing=probing)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            seen: Counter[int] = Counter()
            simulation.issue("v2", EPOCH + 1)
            for _ in range(100):
                seen += await simulation.burst(2)
                await asyncio.sleep(5)
            simulation.revoke("v1")
            seen += await simulation.burst(16)

            assert seen == Counter({200: 216})
            assert simulation.current == "key-v2"
            assert simulation.api.calls[401] == 0

    live(story())


@pytest.mark.parametrize("probing", [False, True])
def test_an_emergency_rotation_costs_no_call(probing: bool) -> None:
    """New key, old one revoked at once, again and again."""
    simulation = Simulation(probing=probing)
    simulation.issue("v0")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            seen: Counter[int] = Counter()
            for number in range(1, 20):
                simulation.issue(f"v{number}", EPOCH + number)
                simulation.revoke(f"v{number - 1}")
                seen += await simulation.burst(16)

            assert seen == Counter({200: 19 * 16})
            assert simulation.source.asked["describe"] == 20

    live(story())


def test_a_burst_of_a_thousand_calls_costs_one_refresh() -> None:
    """Single flight."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            simulation.revoke("v1")
            before = Counter(simulation.source.asked)
            seen = await simulation.burst(1000)

            assert seen == Counter({200: 1000})
            assert (simulation.source.asked - before) == Counter(
                {"describe": 1, "fetch AWSCURRENT": 1}
            )

    live(story())


@pytest.mark.parametrize("probing", [False, True])
def test_a_new_key_that_is_revoked_by_mistake_is_rolled_back(probing: bool) -> None:
    """The old one still works, so no call fails."""
    simulation = Simulation(probing=probing)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            await simulation.manager.refresh()
            await asyncio.sleep(1)
            simulation.revoke("v2")
            seen = await simulation.burst(16)
            rolled_back = simulation.state
            simulation.issue("v3", EPOCH + 2)
            await simulation.manager.refresh()
            await asyncio.sleep(1)
            seen += await simulation.burst(16)

            assert seen == Counter({200: 32})
            assert rolled_back is State.ROLLED_BACK
            assert simulation.state is State.FRESH
            assert [name for name, _ in simulation.metrics.cutovers] == [
                "promoted",
                "rolled_back",
                "restored",
            ]

    live(story())


def test_after_a_restart_the_previous_key_comes_from_the_source() -> None:
    """Nothing is in memory, and the newest key does not work."""
    simulation = Simulation()
    simulation.issue("v1")
    simulation.issue("v2", EPOCH + 1)
    simulation.revoke("v2")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            seen = await simulation.burst(16)

            assert seen == OK
            assert simulation.state is State.ROLLED_BACK
            assert simulation.current == "key-v1"

    live(story())


def test_a_bad_new_key_is_never_used() -> None:
    """The probe refuses it; the old one stays in use, and it is reported."""
    simulation = Simulation(probing=True)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.source.put("v2", "key-v2", EPOCH + 1)
            await simulation.manager.refresh()
            await asyncio.sleep(3600)
            seen = await simulation.burst(16)
            status = simulation.manager.status

            assert seen == OK
            assert status.state is State.REJECTED
            assert status.candidate == "v2"
            assert status.candidate_rejected
            assert status.last_error
            assert simulation.metrics.cutovers == [("rejected", None)]
            assert simulation.api.probes < 30

    live(story())


def test_while_the_api_is_down_the_new_key_is_undecided() -> None:
    """It is proven as soon as the API is back."""
    simulation = Simulation(probing=True)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.api.up = False
            simulation.issue("v2", EPOCH + 1)
            await simulation.manager.refresh()
            await asyncio.sleep(120)
            during = simulation.current
            simulation.api.up = True
            await asyncio.sleep(120)

            assert during == "key-v1"
            assert simulation.current == "key-v2"

    live(story())


def test_where_no_key_works_the_401_goes_through_and_few_requests_are_made() -> None:
    """An hour of 401s, ten a second."""
    simulation = Simulation(probing=True)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.revoke("v1")
            seen: Counter[int] = Counter()
            for _ in range(3600):
                seen += await simulation.burst(10)
                await asyncio.sleep(1)

            assert seen == Counter({401: 36000})
            assert simulation.state is State.REFUSED
            assert simulation.source.asked["describe"] < 60
            assert simulation.api.probes < 100

    live(story())


def test_a_key_that_was_refused_serves_when_there_is_another() -> None:
    """The regular refresh finds it, whatever the circuit breaker."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.revoke("v1")
            for _ in range(600):
                await simulation.burst(1)
                await asyncio.sleep(1)
            simulation.issue("v2", EPOCH + 1)
            await asyncio.sleep(331)
            seen = await simulation.burst(16)

            assert seen == OK
            assert simulation.state is State.FRESH

    live(story())


def test_endpoints_that_always_answer_401_do_not_cost_the_key() -> None:
    """With a probe, the key in use is found proven."""
    simulation = Simulation(probing=True)
    simulation.issue("v1")
    simulation.issue("v2", EPOCH + 1)

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.api.always_401 = True
            for _ in range(600):
                await simulation.burst(5)
                await asyncio.sleep(1)

            assert simulation.state is State.FRESH
            assert simulation.current == "key-v2"
            assert simulation.source.asked["describe"] < 10
            assert simulation.api.probes <= 310

    live(story())


@pytest.mark.parametrize("outage", [RefreshResult.THROTTLED, RefreshResult.UNREACHABLE])
def test_a_source_that_is_away_for_a_moment_costs_no_call(
    outage: RefreshResult,
) -> None:
    """An emergency rotation while Secrets Manager stumbles."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            simulation.revoke("v1")
            simulation.source.outage, simulation.source.failing = outage, 3
            seen = await simulation.burst(16)

            assert seen == OK
            assert simulation.current == "key-v2"

    live(story())


def test_a_source_that_hangs_does_not_hold_a_call_without_end() -> None:
    """Every question ends, and every verdict comes within 10 s."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.revoke("v1")
            simulation.source.hangs = True
            began = simulation.monotonic()
            seen = await simulation.burst(16)

            assert seen == Counter({401: 16})
            assert simulation.monotonic() - began <= 10.5

    live(story())


def test_the_last_good_key_serves_for_days_without_a_source() -> None:
    """Stale, and no limit by default."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.source.outage = RefreshResult.UNREACHABLE
            await asyncio.sleep(7 * 86400)
            stale = simulation.state
            seen = await simulation.burst(16)
            asked = simulation.source.asked["describe"]
            simulation.source.outage = None
            await asyncio.sleep(600)

            assert stale is State.STALE
            assert seen == OK
            assert asked < 7 * 86400 / 200
            assert simulation.state is State.FRESH

    live(story())


def test_past_the_limit_calls_get_nothing_until_the_source_is_back() -> None:
    """Fail closed, and say which way."""
    simulation = Simulation(max_stale=3600)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.source.outage = RefreshResult.UNREACHABLE
            await asyncio.sleep(3700)
            expired = (
                simulation.state,
                simulation.manager.current,
                simulation.manager.unavailable_code,
            )
            waited = await simulation.manager.wait(1)
            simulation.source.outage = None
            back = await simulation.manager.wait(450)

            assert expired == (State.EXPIRED, None, Code.CREDENTIAL_EXPIRED)
            assert waited is None
            assert back is not None
            assert back is simulation.manager.current
            assert simulation.manager.status.fingerprint == "v1"

    live(story())


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_a_wall_clock_that_jumps_brings_a_refresh_and_breaks_no_timer(
    hours: int,
) -> None:
    """Suspend and resume, or a clock that was set."""
    simulation = Simulation(max_stale=900)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            await asyncio.sleep(30)
            before = simulation.source.asked["describe"]
            simulation.jump = hours * 3600
            await asyncio.sleep(6)
            after = simulation.source.asked["describe"]
            await asyncio.sleep(3600)

            assert (before, after) == (1, 2)
            assert 10 < simulation.source.asked["describe"] < 20
            assert simulation.state is State.FRESH

    live(story())


def test_a_day_costs_fewer_than_300_questions() -> None:
    """Per pod, with the default refresh (DESIGN, section 12)."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await asyncio.sleep(86400)

            assert 280 <= simulation.source.asked.total() <= 300

    live(story())


def test_a_forced_refresh_is_shared() -> None:
    """Ten people reload at the same time."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            async with asyncio.TaskGroup() as group:
                looks = [
                    group.create_task(simulation.manager.refresh()) for _ in range(10)
                ]
            again = await simulation.manager.refresh()

            assert looks[0].result() is RefreshResult.CHANGED
            assert again is RefreshResult.UNCHANGED
            assert simulation.source.asked["describe"] <= 4

    live(story())


def test_a_forced_refresh_before_the_start_waits_for_it() -> None:
    """A signal may come early."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            look = group.create_task(simulation.manager.refresh())
            await asyncio.sleep(1)
            async with simulation.running():
                result = await look

                assert result is RefreshResult.UNCHANGED

    live(story())


def test_a_source_that_moved_is_refreshed() -> None:
    """A file was swapped."""
    simulation = Simulation(kind="file", poll_seconds=0.5)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            simulation.source.has_moved = True
            await asyncio.sleep(1)

            assert simulation.current == "key-v2"
            assert simulation.manager.status.fingerprint != "v2"

    live(story())


def test_a_source_that_breaks_in_an_unknown_way_is_away() -> None:
    """Nothing that it raises ends the process."""
    simulation = Simulation(kind="file", poll_seconds=0.5)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.source.error = KeyError("abc")
            await asyncio.sleep(400)
            status = simulation.manager.status
            simulation.source.error = None
            await asyncio.sleep(400)

            assert status.state is State.STALE
            assert "unknown way" in (status.last_error or "")
            assert simulation.state is State.FRESH
            assert simulation.manager.status.last_error is None

    live(story())


def test_a_probe_that_breaks_or_hangs_is_no_answer() -> None:
    """The candidate stays one, and the process lives."""
    simulation = Simulation(probing=True)
    simulation.issue("v1")
    broken = 0

    async def probe(credential: Credential) -> bool | None:
        nonlocal broken
        del credential
        broken += 1
        if broken == 1:
            message = "Authorization: Bearer key-v2"
            raise RuntimeError(message)
        await asyncio.sleep(3600)
        return True

    async def story() -> None:
        simulation.manager._source_calls._probe = probe
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            await simulation.manager.refresh()
            await asyncio.sleep(60)

            assert broken > 2
            assert simulation.current == "key-v1"

    live(story())


def test_a_value_that_breaks_a_rule_is_reported_by_the_rule() -> None:
    """On the status page, with what to do."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.source.put("v2", "Bearer key", EPOCH + 1)
            result = await simulation.manager.refresh()
            await asyncio.sleep(400)
            status = simulation.manager.status

            assert result is RefreshResult.INVALID
            assert status.state is State.REJECTED
            assert status.last_error == "the key already begins with Bearer"
            assert "key alone" in (status.remedy or "")
            assert simulation.current == "key-v1"
            assert simulation.source.asked["fetch AWSCURRENT"] == 2

    live(story())


def test_a_call_that_cannot_be_sent_again_is_news_all_the_same() -> None:
    """It gets its 401 at once, and the recovery begins for the others."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            simulation.revoke("v1")
            upload = await simulation.call(replayable=False)
            await asyncio.sleep(1)

            assert upload == 401
            assert simulation.current == "key-v2"

    live(story())


def test_a_call_that_leaves_carries_no_trial() -> None:
    """Its future was cancelled."""
    simulation = Simulation()
    simulation.issue("v1")
    simulation.issue("v2", EPOCH + 1)
    simulation.revoke("v2")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            current = simulation.manager.current
            assert current is not None
            gone = simulation.manager.challenge(current)
            assert isinstance(gone, asyncio.Future)
            gone.cancel()
            seen = await simulation.burst(3)

            assert seen == Counter({200: 3})

    live(story())


def test_every_call_gets_its_401_when_the_manager_ends() -> None:
    """Nothing hangs on a manager that is no more."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running() as task:
            await simulation.manager.wait(5)
            current = simulation.manager.current
            assert current is not None
            simulation.source.hangs = True
            waiting = simulation.manager.challenge(current)
            looking = asyncio.ensure_future(simulation.manager.refresh())
            await asyncio.sleep(0.1)
            task.cancel()
            assert isinstance(waiting, asyncio.Future)
            verdict = await waiting
            await asyncio.wait([looking, task])
            late = simulation.manager.challenge(current)
            simulation.manager.tried(current, True)

            assert verdict == late == PassThrough()
            assert looking.cancelled()
            assert simulation.source.closed

    live(story())


def test_a_verdict_that_needs_no_question_comes_at_once() -> None:
    """A callback of a protocol gets it without a future."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            old = simulation.manager.current
            assert old is not None
            simulation.issue("v2", EPOCH + 1)
            await simulation.manager.refresh()
            verdict = simulation.manager.challenge(old)

            assert simulation.manager.current is not None
            assert verdict == Replay(simulation.manager.current, "replay")

    live(story())


def test_secrets_are_learned_before_they_are_used() -> None:
    """The redactor must know a key before any line can hold it."""
    simulation = Simulation(probing=True)
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.issue("v2", EPOCH + 1)
            await simulation.manager.refresh()
            await asyncio.sleep(1)
            simulation.issue("v3", EPOCH + 2)
            await simulation.manager.refresh()
            await asyncio.sleep(1)

    live(story())
    batches = [[secret.reveal() for secret in batch] for batch in simulation.learned]

    assert not simulation.used_unlearned
    assert batches == [
        ["key-v1"],
        ["key-v1", "key-v2"],
        ["key-v2", "key-v1"],
        ["key-v2", "key-v1", "key-v3"],
        ["key-v3", "key-v2"],
    ]
    assert [s.reveal() for s in simulation.manager.known()] == ["key-v3", "key-v2"]


def test_the_status_reports_what_is_known() -> None:
    """Times are Unix seconds."""
    simulation = Simulation(rotate_every_days=90)
    simulation.issue("0123456789", EPOCH - 86400)

    async def story() -> None:
        missing = simulation.manager.status
        async with simulation.running():
            await simulation.manager.wait(5)
            status = simulation.manager.status

            assert missing.fingerprint is None
            assert missing.next_refresh is None
            assert status.state is State.FRESH
            assert status.source == "secrets_manager"
            assert status.fingerprint == "01234567"
            assert status.generation == 1
            assert status.created == EPOCH - 86400
            assert status.rotate_before == EPOCH + 89 * 86400
            assert status.since == pytest.approx(EPOCH, abs=1)
            assert status.refreshed == pytest.approx(EPOCH, abs=1)
            assert status.next_refresh == pytest.approx(EPOCH + 300, abs=1)
            assert status.last_error is None

    live(story())


def test_the_numbers_tell_the_same() -> None:
    """States, names, times, refreshes and cutovers."""
    simulation = Simulation(rotate_every_days=90)
    simulation.issue("v1", EPOCH - 10)

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            await asyncio.sleep(100)
            simulation.issue("v2", EPOCH + 40)
            await simulation.manager.refresh()

    live(story())

    assert simulation.metrics.states == ["fresh"]
    assert simulation.metrics.named == [("secrets_manager", v) for v in ("v1", "v2")]
    assert simulation.metrics.times["created"] == EPOCH + 40
    assert simulation.metrics.times["rotate_before"] == EPOCH + 40 + 90 * 86400
    assert simulation.metrics.refreshes == {"changed": 2}
    assert [name for name, _ in simulation.metrics.cutovers] == ["promoted"]
    assert simulation.metrics.cutovers[0][1] == pytest.approx(60, abs=1)


def test_a_new_version_of_the_same_key_keeps_its_since() -> None:
    """It has been in use all the time."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            since = simulation.manager.status.since
            await asyncio.sleep(50)
            simulation.source.put("v2", "key-v1", EPOCH + 1)
            await simulation.manager.refresh()
            status = simulation.manager.status

            assert status.fingerprint == "v2"
            assert status.since == since

    live(story())


def test_a_manager_shows_no_secret() -> None:
    """Nor does anything that it reports."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)

            assert repr(simulation.manager) == "CredentialManager('flownally', fresh)"
            assert "key-v1" not in repr(simulation.manager.status)
            assert "key-v1" not in repr(simulation.manager._life)

    live(story())


def test_a_success_of_a_doubted_key_clears_it() -> None:
    """The hot path reports outcomes: without a probe there is no other proof."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.revoke("v1")
            await simulation.call()
            wants_outcomes = simulation.manager.wants_outcomes
            simulation.api.valid.add("key-v1")
            seen = await simulation.call()

            assert wants_outcomes
            assert seen == 200
            assert not simulation.manager.wants_outcomes
            assert simulation.state is State.FRESH

    live(story())


def test_a_timer_after_the_end_begins_nothing() -> None:
    """The group is gone; the question is not asked."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
        before = simulation.source.asked.total()
        simulation.manager._start(simulation.manager._source_calls.describe())
        await asyncio.sleep(1)

        assert simulation.source.asked.total() == before

    live(story())


def test_a_question_while_the_group_is_ending_is_not_asked() -> None:
    """A timer may fire between the cancellation and the end."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running() as task:
            await simulation.manager.wait(5)
            before = simulation.source.asked.total()
            task.cancel()
            await asyncio.wait([task])
            async with asyncio.TaskGroup() as ended:
                pass
            simulation.manager._group = ended
            simulation.manager._start(simulation.manager._source_calls.describe())

            assert simulation.source.asked.total() == before

    live(story())


def test_a_previous_value_that_is_away_is_not_reported_as_the_keys_trouble() -> None:
    """The status is about AWSCURRENT."""
    simulation = Simulation()
    simulation.source.put("v1", "Bearer x")
    simulation.issue("v2", EPOCH + 1)
    simulation.revoke("v2")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            seen = await simulation.burst(4)

            assert seen == Counter({401: 4})
            assert simulation.manager.status.last_error is not None
            assert "401" in simulation.manager.status.last_error

    live(story())


def test_a_secret_of_a_stranger_is_unknown() -> None:
    """A call with a key that was never given out is replayed with ours."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            stranger = Credential(Secret("x"), b"", 0, "x", "x")
            verdict = simulation.manager.challenge(stranger)

            assert isinstance(verdict, Replay)

    live(story())


def test_the_status_reports_when_a_refused_key_is_refreshed() -> None:
    """The circuit breaker's time, not the regular refresh's: that is when the next 401 helps."""
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running():
            await simulation.manager.wait(5)
            simulation.revoke("v1")
            assert await simulation.call() == 401
            due = simulation.manager.status.next_refresh
            assert due is not None
            assert 0 <= due - (EPOCH + simulation.monotonic()) <= 5

    live(story())


@pytest.mark.parametrize(
    "cell",
    [
        (RecoveryPhase.BEGUN, PhaseOutcome.UNEXPLAINED),
        (RecoveryPhase.REFRESH, PhaseOutcome.ANSWERED),
        (RecoveryPhase.TRIAL, PhaseOutcome.REFUSED),
    ],
)
def test_an_unexpected_event_is_survived_with_the_working_key(
    monkeypatch: pytest.MonkeyPatch, cell: tuple[RecoveryPhase, PhaseOutcome]
) -> None:
    """A cell of the recovery's table is missing: calls and refreshes go on."""
    rest = {k: v for k, v in recovery.TRANSITIONS.items() if k != cell}
    monkeypatch.setattr(recovery, "TRANSITIONS", rest)
    simulation = Simulation()
    simulation.issue("v1")

    async def story() -> None:
        async with simulation.running() as task:
            assert await simulation.manager.wait(5)
            simulation.issue("v2")
            assert await simulation.manager.refresh() is RefreshResult.CHANGED
            simulation.api.always_401 = True
            assert await simulation.burst(3) == {401: 3}
            simulation.api.always_401 = False

            assert simulation.metrics.unexpected >= 1
            assert await simulation.call() == 200
            simulation.issue("v3")
            assert await simulation.manager.refresh() is RefreshResult.CHANGED
            assert simulation.current == "key-v3"
            assert not task.done()

    live(story())
