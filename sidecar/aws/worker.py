"""
A daemon thread for blocking calls.

The loop's executor is no alternative: other users would wait behind a hanging AWS call.
Nor is a `ThreadPoolExecutor`: the interpreter joins its threads at exit, so a hanging
call would delay the exit. The thread starts with the first call.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs calls one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, or raise what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name=self._name, daemon=True
            )
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if future.done():
                return  # the caller was cancelled
            try:
                result = call()
            except Exception as failed:  # noqa: BLE001 - carried over to the caller
                self._settle(loop, future, None, failed)
            else:
                self._settle(loop, future, result, None)

        self._jobs.put(job)
        return await future

    def close(self) -> None:
        """End the thread after its current call."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    @staticmethod
    def _settle(
        loop: asyncio.AbstractEventLoop,
        future: "asyncio.Future[T]",
        result: T | None,
        failed: Exception | None,
    ) -> None:
        """Set the result of the future, unless the caller was cancelled."""

        def settle() -> None:
            if future.done():
                return  # the caller was cancelled
            if failed is not None:
                future.set_exception(failed)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T may be None

        try:
            loop.call_soon_threadsafe(settle)
        except RuntimeError:
            # The loop is closed: the process ends.
            return
