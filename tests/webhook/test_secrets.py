"""The secrets of an endpoint: all that are valid, hot, and kept while the source is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from sidecar.core.secrecy.secret import Secret
from sidecar.errors import RefreshResult, SourceFailed
from sidecar.webhook.secrets import SecretsOptions, WebhookSecrets
from tests.support.webhook_fakes import OTHER, SECRET, Clock, FakeSource, until

AWAY = SourceFailed(RefreshResult.UNREACHABLE, "Secrets Manager is away", "wait")
THIRD = "whsec_dGhpcmQgdGhpcmQgdGhpcmQgdGhpcmQgdGhpcmQ="


@pytest.fixture(name="source")
def _source() -> FakeSource:
    return FakeSource()


def watch(
    source: FakeSource, clock: Callable[[], float] | None = None, **changes: object
) -> WebhookSecrets:
    """Make the secrets of an endpoint that looks every 5 ms."""
    options = {
        "refresh_seconds": 0.005,
        "monotonic": clock or Clock(0),
        "jitter": lambda: 0.5,
        **changes,
    }
    return WebhookSecrets("inbox", source, SecretsOptions(**options))  # type: ignore[arg-type]  # a dict of any


def fingerprints(secrets: WebhookSecrets) -> list[str]:
    """Name the keys in use."""
    return [key.fingerprint for key in secrets.keys]


@asynccontextmanager
async def running(secrets: WebhookSecrets) -> AsyncIterator[None]:
    """Let them look after themselves."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(secrets.run())
        yield
        task.cancel()


async def test_before_the_first_look_there_is_none(source: FakeSource) -> None:
    """So the receiver can say that it is not ready."""
    assert watch(source).keys == ()


async def test_the_current_secret_is_taken(source: FakeSource) -> None:
    """One look, one value; there is no previous one to ask for."""
    secrets = watch(source)

    assert await secrets.refresh() is RefreshResult.CHANGED
    assert fingerprints(secrets) == ["00000001"]
    assert source.calls == ["describe", "AWSCURRENT"]


async def test_an_unchanged_secret_is_not_fetched_again(source: FakeSource) -> None:
    """DescribeSecret costs as much, but gives no plaintext."""
    secrets = watch(source)
    await secrets.refresh()
    source.calls.clear()

    assert await secrets.refresh() is RefreshResult.UNCHANGED
    assert source.calls == ["describe"]


async def test_during_a_rotation_both_are_valid(source: FakeSource) -> None:
    """The sender may still sign with the old one."""
    secrets = watch(source)
    await secrets.refresh()
    source.put(OTHER)

    await secrets.refresh()

    assert fingerprints(secrets) == ["00000002", "00000001"]


async def test_a_retired_secret_goes_at_the_next_look(source: FakeSource) -> None:
    """When AWSPREVIOUS is gone, nothing signed with it gets in any more."""
    secrets = watch(source)
    source.put(OTHER)
    await secrets.refresh()
    del source.stages["AWSPREVIOUS"]

    await secrets.refresh()

    assert fingerprints(secrets) == ["00000002"]


async def test_what_is_retired_between_two_calls_is_no_fault(
    source: FakeSource,
) -> None:
    """The value that DescribeSecret named may be gone when it is fetched."""
    secrets = watch(source)
    source.put(OTHER)
    describe = source.describe

    async def racing() -> object:
        versions = await describe()
        source.stages.pop("AWSPREVIOUS", None)
        return versions

    source.describe = racing  # type: ignore[method-assign,assignment]  # a race

    assert await secrets.refresh() is RefreshResult.CHANGED
    assert fingerprints(secrets) == ["00000002"]
    assert secrets.last_error == ""


async def test_the_source_may_go_away_between_two_calls(source: FakeSource) -> None:
    """Then it is a look that failed, and the next one starts anew."""
    secrets = watch(source)
    await secrets.refresh()
    source.put(OTHER)
    fetch = source.fetch

    async def racing(stage: str) -> object:
        if stage == "AWSPREVIOUS":
            raise AWAY
        return await fetch(stage)

    source.fetch = racing  # type: ignore[method-assign,assignment]  # a race

    assert await secrets.refresh() is RefreshResult.UNREACHABLE
    assert fingerprints(secrets) == ["00000001"]


async def test_the_last_good_ones_serve_while_the_source_is_away(
    source: FakeSource,
) -> None:
    """For as long as it takes: webhooks do not stop with Secrets Manager."""
    secrets = watch(source)
    await secrets.refresh()
    source.failure = AWAY

    assert await secrets.refresh() is RefreshResult.UNREACHABLE
    assert fingerprints(secrets) == ["00000001"]
    assert secrets.last_error == "Secrets Manager is away; wait"


async def test_rubbish_does_not_replace_what_works(source: FakeSource) -> None:
    """The good one before it is AWSPREVIOUS now and stays valid; the fault is named."""
    secrets = watch(source)
    await secrets.refresh()
    source.put("v1,whsec_oops")

    with capture_logs() as lines:
        assert await secrets.refresh() is RefreshResult.INVALID

    assert fingerprints(secrets) == ["00000001"]
    assert "without the leading v1," in secrets.last_error
    assert [line["event"] for line in lines] == ["webhook_secrets_failed"]
    assert "oops" not in str(lines)


async def test_rubbish_twice_leaves_the_last_good_one(source: FakeSource) -> None:
    """Neither stage has a key now; the one in memory still verifies."""
    secrets = watch(source)
    await secrets.refresh()
    source.put("changeme")
    source.put("<secret>")

    assert await secrets.refresh() is RefreshResult.INVALID
    assert fingerprints(secrets) == ["00000001"]


async def test_an_old_value_that_is_no_secret_is_no_fault(source: FakeSource) -> None:
    """The console's first sample stays as AWSPREVIOUS until the next rotation."""
    source = FakeSource("replace_with_your_secret")
    source.put(SECRET)
    secrets = watch(source)

    assert await secrets.refresh() is RefreshResult.CHANGED
    assert fingerprints(secrets) == ["00000002"]
    assert await secrets.refresh() is RefreshResult.UNCHANGED


async def test_a_mended_secret_is_fetched_though_its_stage_was_seen(
    source: FakeSource,
) -> None:
    """What was refused is looked at again until it is right."""
    source = FakeSource("whsec_short")
    secrets = watch(source)
    assert await secrets.refresh() is RefreshResult.INVALID
    source.stages["AWSCURRENT"] = ("00000001-again", SECRET)

    with capture_logs() as lines:
        assert await secrets.refresh() is RefreshResult.CHANGED

    assert lines[-1]["event"] == "webhook_secrets_recovered"
    assert secrets.last_error == ""


async def test_a_json_secret_gives_its_member() -> None:
    """As for API keys."""
    source = FakeSource(f'{{"webhook": {{"secret": "{SECRET}"}}}}')
    secrets = watch(source, json_key="webhook.secret")

    assert await secrets.refresh() is RefreshResult.CHANGED


async def test_the_redactor_learns_a_secret_before_it_is_used(
    source: FakeSource,
) -> None:
    """Without its prefix: libraries print the base64 alone."""
    learned: list[str] = []

    def learn(found: tuple[Secret, ...]) -> None:
        assert secrets.keys == ()
        learned.extend(secret.reveal() for secret in found)

    secrets = watch(source, on_secrets=learn)
    await secrets.refresh()

    assert learned == [SECRET.removeprefix("whsec_")]


async def test_the_redactor_hears_which_secrets_are_in_use(source: FakeSource) -> None:
    """All of them each time, so it knows which was let go; rubbish lets none go."""
    heard: list[list[str]] = []
    secrets = watch(
        source, on_secrets=lambda held: heard.append([one.reveal() for one in held])
    )
    await secrets.refresh()
    source.put(OTHER)
    await secrets.refresh()
    await secrets.refresh()
    del source.stages["AWSPREVIOUS"]
    await secrets.refresh()
    source.put("changeme")
    source.put("<secret>")
    await secrets.refresh()

    old, new = SECRET.removeprefix("whsec_"), OTHER.removeprefix("whsec_")
    assert heard == [[old], [new, old], [new]]


async def test_a_public_key_is_no_secret() -> None:
    """Masking it would only make logs harder to read."""
    learned: list[object] = []
    source = FakeSource("whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    secrets = watch(source, on_secrets=learned.append)

    await secrets.refresh()

    assert secrets.keys
    assert learned == [()]


async def test_a_failure_is_said_once(source: FakeSource) -> None:
    """An outage of hours is one line when it begins and one when it ends."""
    secrets = watch(source)
    await secrets.refresh()
    with capture_logs() as lines:
        source.failure = AWAY
        for _ in range(5):
            await secrets.refresh()
        source.failure = None
        await secrets.refresh()

    assert [(line["event"], line.get("serving")) for line in lines] == [
        ("webhook_secrets_failed", ["00000001"]),
        ("webhook_secrets_recovered", None),
    ]


async def test_a_rotation_is_found_by_itself(source: FakeSource) -> None:
    """Every `refresh_seconds`, without a restart."""
    secrets = watch(source)
    async with running(secrets):
        await until(lambda: secrets.keys)
        source.put(OTHER)

        await until(lambda: fingerprints(secrets)[0] == "00000002")


async def test_a_source_that_is_away_at_the_start_is_asked_again(
    source: FakeSource,
) -> None:
    """The process does not end for it; senders get 503 and come again."""
    source.failure = AWAY
    secrets = watch(source, jitter=lambda: -0.99)
    async with running(secrets):
        await until(lambda: len(source.calls) > 2)
        source.failure = None

        await until(lambda: secrets.keys)


async def test_a_replaced_file_is_looked_at_at_once() -> None:
    """Its `moved` is cheap; the refresh would be an hour away."""
    source = FakeSource(poll_seconds=0.001)
    secrets = watch(source, refresh_seconds=3600)
    async with running(secrets):
        await until(lambda: secrets.keys)
        source.put(OTHER)
        source.replaced = True

        await until(lambda: fingerprints(secrets)[0] == "00000002")


async def test_a_file_is_looked_at_when_its_time_is_over(clock: Clock) -> None:
    """Even if it says that nothing has moved."""
    source = FakeSource(poll_seconds=0.001)
    clock.at = 0
    secrets = watch(source, clock, refresh_seconds=3600)
    async with running(secrets):
        await until(lambda: secrets.keys)
        source.put(OTHER)
        clock.at += 3600

        await until(lambda: fingerprints(secrets)[0] == "00000002")


async def test_an_unknown_signature_finds_a_new_secret(source: FakeSource) -> None:
    """A rotation between two deliveries costs neither of them."""
    secrets = watch(source)
    await secrets.refresh()
    source.put(OTHER)

    assert await secrets.refresh_extra()
    assert fingerprints(secrets) == ["00000002", "00000001"]


async def test_bad_signatures_cost_few_looks(source: FakeSource, clock: Clock) -> None:
    """Anybody can make them: six looks, then one a minute, however many come."""
    secrets = watch(source, clock)
    await secrets.refresh()
    source.calls.clear()

    found = [await secrets.refresh_extra() for _ in range(1000)]
    first = len(source.calls)
    clock.at += 60
    found += [await secrets.refresh_extra() for _ in range(1000)]

    assert not any(found)
    assert (first, len(source.calls)) == (6, 7)


async def test_rubbish_in_the_source_does_not_open_the_allowance(
    source: FakeSource,
) -> None:
    """What is refused is fetched again by each look, and is no news each time."""
    secrets = watch(source)
    await secrets.refresh()
    source.put("changeme")
    source.calls.clear()

    found = [await secrets.refresh_extra() for _ in range(1000)]

    assert not any(found)
    assert source.calls.count("describe") == 6


async def test_bad_signatures_at_once_share_a_look(source: FakeSource) -> None:
    """A burst is one look, and all of it learns what the look found."""
    secrets = watch(source)
    await secrets.refresh()
    source.calls.clear()
    source.put(OTHER)
    source.hold = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(secrets.refresh_extra()) for _ in range(50)]
        await until(lambda: source.calls)
        source.hold.set()

    assert all(task.result() for task in tasks)
    assert source.calls == ["describe", "AWSCURRENT", "AWSPREVIOUS"]


async def test_rotations_do_not_use_up_the_allowance(source: FakeSource) -> None:
    """A look that found something was no waste."""
    secrets = watch(source)
    await secrets.refresh()
    for secret in (OTHER, THIRD) * 10:
        source.put(secret)

        assert await secrets.refresh_extra()


async def test_secrets_show_nothing(source: FakeSource) -> None:
    """In whatever prints them."""
    secrets = watch(source)
    await secrets.refresh()

    assert SECRET[6:] not in repr(secrets)
    assert "00000001" in repr(secrets)
