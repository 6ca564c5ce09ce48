"""The keeper obeys the machine: calls, looks, alarms, clocks, ends."""

import asyncio
from collections import Counter

import pytest

from sidecar.core.keylife.messages import PassThrough, Replay, State
from sidecar.core.secrecy.secret import Credential, Secret
from sidecar.errors import Code, RefreshResult
from tests.support.simulation import EPOCH, World
from tests.support.virtual_clock import live

OK = Counter({200: 16})


def test_calls_wait_for_the_first_key() -> None:
    """They get it as soon as there is one."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        absent = (world.keeper.current, world.keeper.unavailable_code, world.state)
        async with world.running():
            first = await world.keeper.wait(5)

            assert absent == (None, Code.CREDENTIAL_UNAVAILABLE, State.MISSING)
            assert first is not None
            assert first is world.keeper.current
            assert first.header_line == b"Authorization: Bearer key-v1\r\n"

    live(story())


def test_calls_do_not_wait_for_ever() -> None:
    """The source is away, and the keeper keeps trying."""
    world = World()
    world.source.outage = RefreshResult.UNREACHABLE

    async def story() -> None:
        async with world.running():
            first = await world.keeper.wait(5)
            world.source.outage = None
            world.issue("v1")
            second = await world.keeper.wait(31)

            assert first is None
            assert second is not None

    live(story())


@pytest.mark.parametrize("probing", [False, True])
def test_a_planned_rotation_costs_no_call(probing: bool) -> None:
    """New key, old one revoked after the grace."""
    world = World(probing=probing)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            seen: Counter[int] = Counter()
            world.issue("v2", EPOCH + 1)
            for _ in range(100):
                seen += await world.burst(2)
                await asyncio.sleep(5)
            world.revoke("v1")
            seen += await world.burst(16)

            assert seen == Counter({200: 216})
            assert world.current == "key-v2"
            assert world.api.calls[401] == 0

    live(story())


@pytest.mark.parametrize("probing", [False, True])
def test_an_emergency_rotation_costs_no_call(probing: bool) -> None:
    """New key, old one revoked at once, again and again."""
    world = World(probing=probing)
    world.issue("v0")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            seen: Counter[int] = Counter()
            for number in range(1, 20):
                world.issue(f"v{number}", EPOCH + number)
                world.revoke(f"v{number - 1}")
                seen += await world.burst(16)

            assert seen == Counter({200: 19 * 16})
            assert world.source.asked["describe"] == 20

    live(story())


def test_a_burst_of_a_thousand_calls_costs_one_look() -> None:
    """Single flight."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            world.revoke("v1")
            before = Counter(world.source.asked)
            seen = await world.burst(1000)

            assert seen == Counter({200: 1000})
            assert (world.source.asked - before) == Counter(
                {"describe": 1, "fetch AWSCURRENT": 1}
            )

    live(story())


@pytest.mark.parametrize("probing", [False, True])
def test_a_new_key_that_is_revoked_by_mistake_is_rolled_back(probing: bool) -> None:
    """The old one still works, so no call fails."""
    world = World(probing=probing)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            await world.keeper.refresh()
            await asyncio.sleep(1)
            world.revoke("v2")
            seen = await world.burst(16)
            rolled_back = world.state
            world.issue("v3", EPOCH + 2)
            await world.keeper.refresh()
            await asyncio.sleep(1)
            seen += await world.burst(16)

            assert seen == Counter({200: 32})
            assert rolled_back is State.ROLLED_BACK
            assert world.state is State.FRESH
            assert [name for name, _ in world.metrics.cutovers] == [
                "promoted",
                "rolled_back",
                "restored",
            ]

    live(story())


def test_after_a_restart_the_previous_key_comes_from_the_source() -> None:
    """Nothing is in memory, and the newest key does not work."""
    world = World()
    world.issue("v1")
    world.issue("v2", EPOCH + 1)
    world.revoke("v2")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            seen = await world.burst(16)

            assert seen == OK
            assert world.state is State.ROLLED_BACK
            assert world.current == "key-v1"

    live(story())


def test_a_bad_new_key_is_never_used() -> None:
    """The probe refuses it; the old one serves on, and it is told."""
    world = World(probing=True)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.source.put("v2", "key-v2", EPOCH + 1)
            await world.keeper.refresh()
            await asyncio.sleep(3600)
            seen = await world.burst(16)
            status = world.keeper.status

            assert seen == OK
            assert status.state is State.REJECTED
            assert status.candidate == "v2"
            assert status.candidate_rejected
            assert status.last_error
            assert world.metrics.cutovers == [("rejected", None)]
            assert world.api.probes < 30

    live(story())


def test_while_the_api_is_down_the_new_key_is_undecided() -> None:
    """It is proven as soon as the API is back."""
    world = World(probing=True)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.api.up = False
            world.issue("v2", EPOCH + 1)
            await world.keeper.refresh()
            await asyncio.sleep(120)
            during = world.current
            world.api.up = True
            await asyncio.sleep(120)

            assert during == "key-v1"
            assert world.current == "key-v2"

    live(story())


def test_where_no_key_works_the_401_goes_through_and_nobody_is_hammered() -> None:
    """An hour of 401s, ten a second."""
    world = World(probing=True)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.revoke("v1")
            seen: Counter[int] = Counter()
            for _ in range(3600):
                seen += await world.burst(10)
                await asyncio.sleep(1)

            assert seen == Counter({401: 36000})
            assert world.state is State.REFUSED
            assert world.source.asked["describe"] < 60
            assert world.api.probes < 100

    live(story())


def test_a_key_that_was_burned_serves_when_there_is_another() -> None:
    """The regular look finds it, whatever the circuit."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.revoke("v1")
            for _ in range(600):
                await world.burst(1)
                await asyncio.sleep(1)
            world.issue("v2", EPOCH + 1)
            await asyncio.sleep(331)
            seen = await world.burst(16)

            assert seen == OK
            assert world.state is State.FRESH

    live(story())


def test_endpoints_that_always_answer_401_do_not_cost_the_key() -> None:
    """With a probe, the key in use is found innocent."""
    world = World(probing=True)
    world.issue("v1")
    world.issue("v2", EPOCH + 1)

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.api.always_401 = True
            for _ in range(600):
                await world.burst(5)
                await asyncio.sleep(1)

            assert world.state is State.FRESH
            assert world.current == "key-v2"
            assert world.source.asked["describe"] < 10
            assert world.api.probes <= 310

    live(story())


@pytest.mark.parametrize("outage", [RefreshResult.THROTTLED, RefreshResult.UNREACHABLE])
def test_a_source_that_is_away_for_a_moment_costs_no_call(
    outage: RefreshResult,
) -> None:
    """An emergency rotation while Secrets Manager stumbles."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            world.revoke("v1")
            world.source.outage, world.source.failing = outage, 3
            seen = await world.burst(16)

            assert seen == OK
            assert world.current == "key-v2"

    live(story())


def test_a_source_that_hangs_does_not_hold_a_call_for_ever() -> None:
    """Every question ends, and every verdict comes within 10 s."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.revoke("v1")
            world.source.hangs = True
            began = world.monotonic()
            seen = await world.burst(16)

            assert seen == Counter({401: 16})
            assert world.monotonic() - began <= 10.5

    live(story())


def test_the_last_good_key_serves_for_days_without_a_source() -> None:
    """Stale, and no limit by default."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.source.outage = RefreshResult.UNREACHABLE
            await asyncio.sleep(7 * 86400)
            stale = world.state
            seen = await world.burst(16)
            asked = world.source.asked["describe"]
            world.source.outage = None
            await asyncio.sleep(600)

            assert stale is State.STALE
            assert seen == OK
            assert asked < 7 * 86400 / 200
            assert world.state is State.FRESH

    live(story())


def test_past_the_limit_calls_get_nothing_until_the_source_is_back() -> None:
    """Fail closed, and say which way."""
    world = World(max_stale=3600)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.source.outage = RefreshResult.UNREACHABLE
            await asyncio.sleep(3700)
            expired = (world.state, world.keeper.current, world.keeper.unavailable_code)
            waited = await world.keeper.wait(1)
            world.source.outage = None
            back = await world.keeper.wait(450)

            assert expired == (State.EXPIRED, None, Code.CREDENTIAL_EXPIRED)
            assert waited is None
            assert back is not None
            assert back is world.keeper.current
            assert world.keeper.status.fingerprint == "v1"

    live(story())


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_a_wall_clock_that_jumps_brings_a_look_and_breaks_no_alarm(hours: int) -> None:
    """Suspend and resume, or a clock that was set."""
    world = World(max_stale=900)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            await asyncio.sleep(30)
            before = world.source.asked["describe"]
            world.jump = hours * 3600
            await asyncio.sleep(6)
            after = world.source.asked["describe"]
            await asyncio.sleep(3600)

            assert (before, after) == (1, 2)
            assert 10 < world.source.asked["describe"] < 20
            assert world.state is State.FRESH

    live(story())


def test_a_day_costs_fewer_than_300_questions() -> None:
    """Per pod, with the default refresh (DESIGN, section 12)."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await asyncio.sleep(86400)

            assert 280 <= world.source.asked.total() <= 300

    live(story())


def test_a_forced_look_is_shared() -> None:
    """Ten people reload at the same time."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            async with asyncio.TaskGroup() as group:
                looks = [group.create_task(world.keeper.refresh()) for _ in range(10)]
            again = await world.keeper.refresh()

            assert looks[0].result() is RefreshResult.CHANGED
            assert again is RefreshResult.UNCHANGED
            assert world.source.asked["describe"] <= 4

    live(story())


def test_a_forced_look_before_the_start_waits_for_it() -> None:
    """A signal may come early."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            look = group.create_task(world.keeper.refresh())
            await asyncio.sleep(1)
            async with world.running():
                result = await look

                assert result is RefreshResult.UNCHANGED

    live(story())


def test_a_source_that_moved_is_looked_at() -> None:
    """A file was swapped."""
    world = World(kind="file", poll_seconds=0.5)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            world.source.has_moved = True
            await asyncio.sleep(1)

            assert world.current == "key-v2"
            assert world.keeper.status.fingerprint != "v2"

    live(story())


def test_a_source_that_breaks_in_an_unknown_way_is_away() -> None:
    """Nothing that it raises ends the process."""
    world = World(kind="file", poll_seconds=0.5)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.source.error = KeyError("abc")
            await asyncio.sleep(400)
            status = world.keeper.status
            world.source.error = None
            await asyncio.sleep(400)

            assert status.state is State.STALE
            assert "unknown way" in (status.last_error or "")
            assert world.state is State.FRESH
            assert world.keeper.status.last_error is None

    live(story())


def test_a_probe_that_breaks_or_hangs_is_no_answer() -> None:
    """The candidate stays one, and the process lives."""
    world = World(probing=True)
    world.issue("v1")
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
        world.keeper._jobs._probe = probe
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            await world.keeper.refresh()
            await asyncio.sleep(60)

            assert broken > 2
            assert world.current == "key-v1"

    live(story())


def test_a_value_that_breaks_a_rule_is_told_by_the_rule() -> None:
    """On the status page, with what to do."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.source.put("v2", "Bearer key", EPOCH + 1)
            result = await world.keeper.refresh()
            await asyncio.sleep(400)
            status = world.keeper.status

            assert result is RefreshResult.INVALID
            assert status.state is State.REJECTED
            assert status.last_error == "the key already begins with Bearer"
            assert "key alone" in (status.remedy or "")
            assert world.current == "key-v1"
            assert world.source.asked["fetch AWSCURRENT"] == 2

    live(story())


def test_a_call_that_cannot_be_sent_again_is_news_all_the_same() -> None:
    """It gets its 401 at once, and the recovery begins for the others."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            world.revoke("v1")
            upload = await world.call(replayable=False)
            await asyncio.sleep(1)

            assert upload == 401
            assert world.current == "key-v2"

    live(story())


def test_a_call_that_leaves_carries_no_trial() -> None:
    """Its future was cancelled."""
    world = World()
    world.issue("v1")
    world.issue("v2", EPOCH + 1)
    world.revoke("v2")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            current = world.keeper.current
            assert current is not None
            gone = world.keeper.challenge(current)
            assert isinstance(gone, asyncio.Future)
            gone.cancel()
            seen = await world.burst(3)

            assert seen == Counter({200: 3})

    live(story())


def test_every_call_is_let_go_when_the_keeper_ends() -> None:
    """Nothing hangs on a keeper that is no more."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running() as task:
            await world.keeper.wait(5)
            current = world.keeper.current
            assert current is not None
            world.source.hangs = True
            waiting = world.keeper.challenge(current)
            looking = asyncio.ensure_future(world.keeper.refresh())
            await asyncio.sleep(0.1)
            task.cancel()
            assert isinstance(waiting, asyncio.Future)
            verdict = await waiting
            await asyncio.wait([looking, task])
            late = world.keeper.challenge(current)
            world.keeper.tried(current, True)

            assert verdict == late == PassThrough()
            assert looking.cancelled()
            assert world.source.closed

    live(story())


def test_a_verdict_that_needs_no_question_comes_at_once() -> None:
    """A callback of a protocol gets it without a future."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            old = world.keeper.current
            assert old is not None
            world.issue("v2", EPOCH + 1)
            await world.keeper.refresh()
            verdict = world.keeper.challenge(old)

            assert world.keeper.current is not None
            assert verdict == Replay(world.keeper.current, "replay")

    live(story())


def test_secrets_are_learned_before_they_are_used() -> None:
    """The redactor must know a key before any line can hold it."""
    world = World(probing=True)
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.issue("v2", EPOCH + 1)
            await world.keeper.refresh()
            await asyncio.sleep(1)
            world.issue("v3", EPOCH + 2)
            await world.keeper.refresh()
            await asyncio.sleep(1)

    live(story())
    batches = [[secret.reveal() for secret in batch] for batch in world.learned]

    assert not world.used_unlearned
    assert batches == [
        ["key-v1"],
        ["key-v1", "key-v2"],
        ["key-v2", "key-v1"],
        ["key-v2", "key-v1", "key-v3"],
        ["key-v3", "key-v2"],
    ]
    assert [s.reveal() for s in world.keeper.known()] == ["key-v3", "key-v2"]


def test_the_status_tells_what_is_known() -> None:
    """Times are Unix seconds."""
    world = World(rotate_every_days=90)
    world.issue("0123456789", EPOCH - 86400)

    async def story() -> None:
        missing = world.keeper.status
        async with world.running():
            await world.keeper.wait(5)
            status = world.keeper.status

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
    """States, names, times, looks and cutovers."""
    world = World(rotate_every_days=90)
    world.issue("v1", EPOCH - 10)

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            await asyncio.sleep(100)
            world.issue("v2", EPOCH + 40)
            await world.keeper.refresh()

    live(story())

    assert world.metrics.states == ["fresh"]
    assert world.metrics.named == [("secrets_manager", v) for v in ("v1", "v2")]
    assert world.metrics.times["created"] == EPOCH + 40
    assert world.metrics.times["rotate_before"] == EPOCH + 40 + 90 * 86400
    assert world.metrics.refreshes == {"changed": 2}
    assert [name for name, _ in world.metrics.cutovers] == ["promoted"]
    assert world.metrics.cutovers[0][1] == pytest.approx(60, abs=1)


def test_a_new_version_of_the_same_key_keeps_its_since() -> None:
    """It has been in use all the time."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            since = world.keeper.status.since
            await asyncio.sleep(50)
            world.source.put("v2", "key-v1", EPOCH + 1)
            await world.keeper.refresh()
            status = world.keeper.status

            assert status.fingerprint == "v2"
            assert status.since == since

    live(story())


def test_a_keeper_shows_no_secret() -> None:
    """Nor does anything that it tells."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)

            assert repr(world.keeper) == "CredentialManager('flownally', fresh)"
            assert "key-v1" not in repr(world.keeper.status)
            assert "key-v1" not in repr(world.keeper._life)

    live(story())


def test_a_success_of_a_doubted_key_clears_it() -> None:
    """The hot path tells, because nobody else could without a probe."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.revoke("v1")
            await world.call()
            wants_outcomes = world.keeper.wants_outcomes
            world.api.valid.add("key-v1")
            seen = await world.call()

            assert wants_outcomes
            assert seen == 200
            assert not world.keeper.wants_outcomes
            assert world.state is State.FRESH

    live(story())


def test_an_alarm_after_the_end_begins_nothing() -> None:
    """The group is gone; the question is not asked."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
        before = world.source.asked.total()
        world.keeper._start(world.keeper._jobs.describe())
        await asyncio.sleep(1)

        assert world.source.asked.total() == before

    live(story())


def test_a_question_while_the_group_is_ending_is_not_asked() -> None:
    """An alarm may ring between the cancellation and the end."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running() as task:
            await world.keeper.wait(5)
            before = world.source.asked.total()
            task.cancel()
            await asyncio.wait([task])
            async with asyncio.TaskGroup() as ended:
                pass
            world.keeper._group = ended
            world.keeper._start(world.keeper._jobs.describe())

            assert world.source.asked.total() == before

    live(story())


def test_a_previous_value_that_is_away_is_not_told_as_the_keys_trouble() -> None:
    """The status tells of AWSCURRENT."""
    world = World()
    world.source.put("v1", "Bearer x")
    world.issue("v2", EPOCH + 1)
    world.revoke("v2")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            seen = await world.burst(4)

            assert seen == Counter({401: 4})
            assert world.keeper.status.last_error is not None
            assert "401" in world.keeper.status.last_error

    live(story())


def test_a_secret_of_a_stranger_is_unknown() -> None:
    """A call with a key that was never given out is replayed with ours."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            stranger = Credential(Secret("x"), b"", 0, "x", "x")
            verdict = world.keeper.challenge(stranger)

            assert isinstance(verdict, Replay)

    live(story())


def test_the_status_tells_when_a_burned_key_is_looked_after() -> None:
    """The circuit's time, not the regular look's: that is when the next 401 helps."""
    world = World()
    world.issue("v1")

    async def story() -> None:
        async with world.running():
            await world.keeper.wait(5)
            world.revoke("v1")
            assert await world.call() == 401
            due = world.keeper.status.next_refresh
            assert due is not None
            assert 0 <= due - (EPOCH + world.monotonic()) <= 5

    live(story())
