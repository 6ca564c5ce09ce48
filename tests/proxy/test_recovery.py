"""401 of the API: which ones the client never sees, and which ones it must see."""

import asyncio

import pytest

from sidecar.core.keylife.messages import PassThrough, Replay, Verdict
from sidecar.errors import Code
from sidecar.settings.tables import LimitSettings
from tests.support.proxy_rig import (
    GET,
    KEY,
    OTHER_KEY,
    Peer,
    credential,
    ok,
    post,
    running,
    unauthorized,
    until,
)

NEW = credential(OTHER_KEY, 2)


async def test_a_401_is_replayed_with_the_new_key() -> None:
    """The client gets one good response; the API got the old key, then the new one."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized(), ok(b"good"))
        proxy.keys.verdict = Replay(NEW, "replay")
        answer = await proxy.call(post(b"hello"))

        assert answer.body == b"good"
        keys = [request.fields[b"authorization"][0] for request in proxy.requests]
        assert keys == [f"Bearer {key}".encode() for key in (KEY, OTHER_KEY)]
        assert [request.body for request in proxy.requests] == [b"hello", b"hello"]
        assert proxy.stats.recovered == {"replay": 1, "rollback": 0}
        assert proxy.stats.by_key == {NEW.fingerprint: 1}
        assert proxy.stats.operation("*").auth_failures[401] == 0


async def test_the_verdict_may_take_its_time() -> None:
    """The call waits while the manager refreshes, and is then replayed."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized(), ok(b"good"))
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        proxy.keys.verdict = verdict
        client = await proxy.client()
        await client.send(GET)
        await until(lambda: proxy.keys.challenges)
        verdict.set_result(Replay(NEW, "rollback"))
        answer = await client.answer()

        assert answer.body == b"good"
        assert proxy.stats.recovered["rollback"] == 1


async def test_without_a_better_key_the_401_is_the_apis_own() -> None:
    """The client gets the API's 401 unchanged, and the manager is asked once."""
    async with running() as proxy:
        proxy.script = proxy.always(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n"
            b"Content-Length: 5\r\n\r\nnope!"
        )
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        proxy.keys.verdict = verdict
        client = await proxy.client()
        await client.send(GET)
        await until(lambda: proxy.keys.challenges)
        verdict.set_result(PassThrough())
        answer = await client.answer()

        assert answer.status == 401
        assert answer.body == b"nope!"
        assert answer.fields[b"www-authenticate"] == [b"Bearer"]
        assert not answer.code
        assert proxy.stats.operation("*").auth_failures[401] == 1
        assert len(proxy.keys.challenges) == 1


async def test_a_call_is_replayed_at_most_once() -> None:
    """A second 401, for the new key, reaches the client."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized())
        proxy.keys.verdict = Replay(NEW, "replay")
        answer = await proxy.call()

        assert answer.status == 401
        assert len(proxy.requests) == 2
        assert proxy.stats.recovered["replay"] == 0


@pytest.mark.parametrize(
    ("second", "proved"),
    [(ok(), True), (unauthorized(), False), (b"garbage\r\n\r\n", None)],
    ids=["proved", "refused", "no-answer"],
)
async def test_a_trial_is_reported(second: bytes, proved: bool | None) -> None:
    """The manager gets the outcome of a replay with a key on trial."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized(), second)
        proxy.keys.verdict = Replay(NEW, "rollback", trial=True)
        proxy.keys.later = [PassThrough()]
        await proxy.call()

        assert proxy.keys.trials == [(NEW, proved)]


async def test_a_call_that_tried_a_key_in_vain_is_owed_the_good_one() -> None:
    """The manager is asked once more, about the trial key; then the 401 passes."""
    newest = credential(KEY[::-1], 3)
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized(), unauthorized(), ok(b"good"))
        proxy.keys.verdict = Replay(NEW, "rollback", trial=True)
        proxy.keys.later = [Replay(newest, "replay")]
        answer = await proxy.call(post(b"hello"))

        assert answer.body == b"good"
        assert [request.body for request in proxy.requests] == [b"hello"] * 3
        assert [used.generation for used in proxy.keys.challenges] == [1, 2]
        assert proxy.keys.trials == [(NEW, False)]
        assert proxy.stats.recovered == {"replay": 1, "rollback": 0}


async def test_a_call_that_tried_a_key_in_vain_is_replayed_once() -> None:
    """The 401 for the good key reaches the client."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized())
        proxy.keys.verdict = Replay(NEW, "rollback", trial=True)
        proxy.keys.later = [Replay(NEW, "replay")]
        answer = await proxy.call()

        assert answer.status == 401
        assert len(proxy.requests) == 3


@pytest.mark.parametrize("status", [403, 404, 400, 500])
async def test_other_refusals_are_never_judged(status: int) -> None:
    """403 and 404 are not about the key: the manager is not asked."""
    raw = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    async with running() as proxy:
        proxy.script = proxy.always(raw)
        answer = await proxy.call()

        assert answer.status == status
        assert proxy.keys.challenges == []


async def test_a_body_that_is_not_held_is_not_replayed() -> None:
    """Beyond replay_body_bytes the 401 passes, and the manager is informed."""
    async with running(limits=LimitSettings(replay_body_bytes=10)) as proxy:
        proxy.script = proxy.always(unauthorized())
        proxy.keys.verdict = Replay(NEW, "replay")
        answer = await proxy.call(post(b"x" * 11))

        assert answer.status == 401
        assert len(proxy.requests) == 1
        assert len(proxy.keys.challenges) == 1


@pytest.mark.parametrize("long", [False, True], ids=["short-401", "long-401"])
async def test_a_401_that_overtakes_the_body_is_replayed(long: bool) -> None:
    """The API refuses after the head; the rest of the body comes, then the replay."""
    no = b"n" * (200_000 if long else 2)
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            head = await peer.head()
            if KEY.encode() in head:
                await peer.send(
                    b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(no), no)
                )
                await peer.rest()
            else:
                await peer.exactly(5)
                await peer.send(ok(b"good"))

        proxy.script = script
        proxy.keys.verdict = Replay(NEW, "replay")
        client = await proxy.client()
        await client.send(post(b"hello")[:-5])
        await proxy.connection(0)
        await asyncio.sleep(0.05)
        challenged = len(proxy.keys.challenges)
        await client.send(b"he")
        await client.send(b"llo")
        answer = await client.answer()

        assert challenged == 0
        assert answer.body == b"good"
        assert proxy.stats.recovered["replay"] == 1


@pytest.mark.parametrize("replayed", [False, True])
async def test_a_401_in_two_parts_before_a_reset_is_whole(replayed: bool) -> None:
    """The API answers after the head, closes, and does not read the body."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            if KEY.encode() not in await peer.head():
                await peer.exactly(5)
                await peer.send(ok(b"good"))
                return
            await peer.send(unauthorized()[:-1])
            await asyncio.sleep(0.05)
            await peer.send(unauthorized()[-1:])

        proxy.script = script
        proxy.keys.verdict = Replay(NEW, "replay") if replayed else PassThrough()
        client = await proxy.client()
        await client.send(post(b"hello")[:-5])
        await proxy.connection(0)
        await client.send(b"he")
        await asyncio.sleep(0.1)
        await client.send(b"l")
        await asyncio.sleep(0.1)
        await client.send(b"lo")
        answer = await client.answer()

        assert answer.body == (b"good" if replayed else b"no")
        assert answer.status == (200 if replayed else 401)
        assert not answer.code


async def test_a_401_that_overtakes_a_growing_body_passes() -> None:
    """If a chunked body grows beyond replay_body_bytes, the API's 401 passes."""
    async with running(limits=LimitSettings(replay_body_bytes=10)) as proxy:

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.send(unauthorized())
            await peer.rest()

        proxy.script = script
        proxy.keys.verdict = Replay(NEW, "replay")
        client = await proxy.client()
        await client.send(
            b"POST /contacts HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await proxy.connection(0)
        await asyncio.sleep(0.05)
        await client.send(b"b\r\nhello world\r\n")
        answer = await client.answer()

        assert answer.status == 401
        assert answer.body == b"no"
        assert len(proxy.keys.challenges) == 1


async def test_a_chunked_body_is_replayed_in_chunks() -> None:
    """The replay frames the body in the same way as the first request."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized(), ok())
        proxy.keys.verdict = Replay(NEW, "replay")
        answer = await proxy.call(
            b"POST /contacts HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )

        assert answer.status == 200
        assert [request.body for request in proxy.requests] == [b"abc", b"abc"]


@pytest.mark.parametrize("verdict", ["replay", "pass"])
async def test_a_long_401_waits_for_the_verdict(verdict: str) -> None:
    """A 401 whose body is still coming is held, then dropped or relayed whole."""
    body = b"n" * 300_000
    async with running() as proxy:
        long = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        proxy.script = proxy.always(long, ok(b"good"))
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        proxy.keys.verdict = future
        client = await proxy.client()
        await client.send(GET)
        await until(lambda: proxy.keys.challenges)
        await asyncio.sleep(0.02)
        future.set_result(
            Replay(NEW, "replay") if verdict == "replay" else PassThrough()
        )
        answer = await client.answer()

        assert answer.body == (b"good" if verdict == "replay" else body)


async def test_a_401_cut_while_it_waits() -> None:
    """The API closes within its 401: the call is still replayed if the verdict says so."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            proxy.requests.append(await peer.request())
            if len(proxy.requests) == 1:
                await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nhal.")
            else:
                await peer.send(ok(b"good"))

        proxy.script = script
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        proxy.keys.verdict = future
        client = await proxy.client()
        await client.send(GET)
        await until(lambda: proxy.keys.challenges)
        await asyncio.sleep(0.02)
        future.set_result(Replay(NEW, "replay"))
        answer = await client.answer()

        assert answer.body == b"good"


async def test_a_service_that_leaves_while_the_verdict_is_out() -> None:
    """A verdict for a call that was cancelled changes nothing."""
    async with running() as proxy:
        proxy.script = proxy.always(unauthorized())
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        proxy.keys.verdict = future
        client = await proxy.client()
        await client.send(GET)
        await until(lambda: proxy.keys.challenges)
        client.close()
        await until(lambda: not proxy.server.clients)
        future.set_result(Replay(NEW, "replay"))
        await asyncio.sleep(0)

        assert len(proxy.requests) == 1
        assert proxy.stats.inflight == 0


async def test_an_expired_key_is_said_so() -> None:
    """After max_stale_seconds, calls are refused with `credential_expired`."""
    async with running() as proxy:
        proxy.keys.current = None
        proxy.keys.unavailable_code = Code.CREDENTIAL_EXPIRED
        answer = await proxy.call()

        assert answer.code == "credential_expired"


async def test_a_burst_is_replayed_as_one() -> None:
    """Sixteen calls in flight with the old key all succeed."""
    async with running() as proxy:

        async def script(peer: Peer) -> None:
            while True:
                request = await peer.request()
                old = KEY.encode() in request.fields[b"authorization"][0]
                await peer.send(unauthorized() if old else ok(b"good"))

        proxy.script = script
        proxy.keys.verdict = Replay(NEW, "replay")
        answers = await asyncio.gather(*(proxy.call(post(b"x")) for _ in range(16)))

        assert {answer.body for answer in answers} == {b"good"}
        assert proxy.stats.recovered["replay"] == 16


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [(True, True, 1), (True, False, 1), (False, True, 0)],
    ids=["in-doubt", "cleared-meanwhile", "sent-before-the-doubt"],
)
async def test_a_call_tells_of_a_key_that_was_in_doubt(
    before: bool, after: bool, reported: int
) -> None:
    """Outcomes are reported only for calls that were sent while they are wanted."""
    async with running() as proxy:
        go = asyncio.Event()

        async def script(peer: Peer) -> None:
            proxy.requests.append(await peer.request())
            await go.wait()
            await peer.send(ok())

        proxy.script = script
        proxy.keys.wants_outcomes = before
        client = await proxy.client()
        await client.send(GET)
        await until(lambda: proxy.requests)
        proxy.keys.wants_outcomes = after
        go.set()
        await client.answer()

        assert [proved for _, proved in proxy.keys.trials] == [True] * reported


async def test_a_slow_body_after_an_early_401_is_no_timeout() -> None:
    """`idle_seconds` bounds the pause between two pieces, not the whole upload."""
    async with running(limits=LimitSettings(idle_seconds=0.6)) as proxy:
        proxy.keys.verdict = Replay(credential(OTHER_KEY, 2), "replay")

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.send(unauthorized())
            proxy.script = proxy.always(ok())
            await peer.rest()

        proxy.script = script
        client = await proxy.client()
        await client.send(post(b"x" * 10)[:-10])
        await until(lambda: proxy.connections)
        for _ in range(10):
            await asyncio.sleep(0.2)
            await client.send(b"x")
        answer = await client.answer()

        assert answer.status == 200
        assert proxy.requests[-1].body == b"x" * 10
