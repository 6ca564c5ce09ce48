"""One thread for calls that block."""

import asyncio
import threading

import pytest

from sidecar.aws.worker import Worker


async def test_a_call_runs_in_the_thread_and_its_result_comes_back() -> None:
    """Always the same thread, which is a daemon: it holds up no exit."""
    worker = Worker("test-worker")
    first = await worker.run(threading.current_thread)
    second = await worker.run(threading.current_thread)
    worker.close()

    assert first is second
    assert first.name == "test-worker"
    assert first.daemon


async def test_what_a_call_raises_is_raised_to_its_caller() -> None:
    """The thread lives on."""
    worker = Worker("test-worker")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    result = await worker.run(lambda: 7)
    worker.close()

    assert result == 7


async def test_a_call_whose_caller_left_is_not_made() -> None:
    """A hanging call before it may have kept it for long."""
    worker = Worker("test-worker")
    go, made = threading.Event(), []
    async with asyncio.TaskGroup() as group:
        first = group.create_task(worker.run(go.wait))
        second = group.create_task(worker.run(lambda: made.append(2)))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
    go.set()
    third = await worker.run(lambda: made)
    worker.close()

    assert third == []


def test_a_result_for_a_loop_that_is_gone_is_dropped() -> None:
    """The process is about to end; the thread ends quietly."""
    worker = Worker("test-worker")
    begun, go = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        go.wait()

    async def story() -> None:
        asking = asyncio.ensure_future(worker.run(call))
        while not begun.is_set():  # noqa: ASYNC110 - an event of a thread
            await asyncio.sleep(0.001)
        asking.cancel()

    asyncio.run(story())
    thread = worker._thread
    worker.close()
    go.set()
    assert thread is not None
    thread.join(5)

    assert not thread.is_alive()


def test_a_worker_that_never_worked_has_no_thread() -> None:
    """And closing it is no trouble, as often as one likes."""
    worker = Worker("test-worker")
    worker.close()
    worker.close()

    assert worker._thread is None
