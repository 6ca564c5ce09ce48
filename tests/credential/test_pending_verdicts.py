"""Every waiting call gets a verdict within its time."""

import asyncio

from sidecar.core.keylife.messages import (
    PassThrough,
    Verdict,
)
from sidecar.credential.pending_verdicts import CALL_SECONDS, PendingVerdicts
from tests.support.virtual_clock import live

PASS = PassThrough()


def test_a_verdict_that_comes_at_once_needs_no_future() -> None:
    """It is settled before the question is over."""
    calls = PendingVerdicts(lambda _: None)

    async def story() -> Verdict | asyncio.Future[Verdict]:
        return calls.ask(lambda ticket: calls.settle((ticket,), PASS))

    assert live(story()) == PASS
    assert len(calls) == 0


def test_a_verdict_that_comes_later_settles_its_future() -> None:
    """And no other."""
    calls, tickets = PendingVerdicts(lambda _: None), list[int]()

    async def story() -> Verdict:
        first = calls.ask(tickets.append)
        second = calls.ask(tickets.append)
        assert isinstance(first, asyncio.Future)
        assert isinstance(second, asyncio.Future)
        calls.settle(tickets[:1], PASS)
        verdict = await first

        assert not second.done()
        assert len(calls) == 1
        calls.close()
        return verdict

    assert live(story()) == PASS


def test_a_call_does_not_wait_without_end() -> None:
    """It gets the API's own 401, and the machine hears that it left."""
    left = list[int]()
    calls = PendingVerdicts(left.append)

    async def story() -> tuple[Verdict, float]:
        future = calls.ask(lambda _: None)
        assert isinstance(future, asyncio.Future)
        return await future, asyncio.get_running_loop().time()

    verdict, waited = live(story())

    assert verdict == PASS
    assert waited == CALL_SECONDS
    assert left == [1]


def test_a_call_that_was_dropped_is_reported_once() -> None:
    """Its caller cancelled the future."""
    left = list[int]()
    calls = PendingVerdicts(left.append)

    async def story() -> None:
        future = calls.ask(lambda _: None)
        assert isinstance(future, asyncio.Future)
        future.cancel()
        await asyncio.sleep(CALL_SECONDS + 1)
        calls.settle((1,), PASS)

    live(story())

    assert left == [1]
    assert len(calls) == 0


def test_a_verdict_for_a_call_that_was_just_dropped_is_no_trouble() -> None:
    """Both in one turn of the loop."""
    calls = PendingVerdicts(lambda _: None)

    async def story() -> None:
        future = calls.ask(lambda _: None)
        assert isinstance(future, asyncio.Future)
        future.cancel()
        calls.settle((1,), PASS)
        await asyncio.sleep(1)

    live(story())

    assert len(calls) == 0


def test_a_question_that_breaks_leaves_nothing() -> None:
    """A mistake of ours shows itself."""
    calls = PendingVerdicts(lambda _: None)

    async def story() -> bool:
        try:
            calls.ask(lambda _: exec("1/0"))
        except ZeroDivisionError:
            return True
        return False

    assert live(story())
    assert calls._asking == {}
