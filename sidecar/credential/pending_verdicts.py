"""The calls that wait for a verdict about their 401, each for a limited time."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.core.keylife.messages import PassThrough, Verdict

CALL_SECONDS: Final = 10.0
"""The longest time that a call waits for its verdict."""


class PendingVerdicts:
    """
    The waiting calls of one credential, by ticket.

    Args:
        abandoned: Called with the ticket of a call that no longer waits, because its
            time is over or because its caller cancelled it.
    """

    def __init__(self, abandoned: Callable[[int], None]) -> None:
        self._abandoned = abandoned
        self._tickets = 0
        self._asking: dict[int, Verdict | None] = {}
        self._waiting: dict[
            int, tuple[asyncio.Future[Verdict], asyncio.TimerHandle]
        ] = {}

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._waiting)

    def ask(self, put: Callable[[int], None]) -> "Verdict | asyncio.Future[Verdict]":
        """
        Ask for a verdict and return it, at once or as a future.

        Args:
            put: Asks with a new ticket; `settle` may be called before it returns.
        """
        self._tickets += 1
        ticket = self._tickets
        self._asking[ticket] = None
        try:
            put(ticket)
        finally:
            verdict = self._asking.pop(ticket)
        if verdict is not None:
            return verdict
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdict] = loop.create_future()
        timer = loop.call_later(CALL_SECONDS, self._expire, ticket)
        self._waiting[ticket] = (future, timer)
        future.add_done_callback(lambda _: self._done(ticket))
        return future

    def settle(self, tickets: Iterable[int], verdict: Verdict) -> None:
        """Give these calls their verdict."""
        for ticket in tickets:
            if ticket in self._asking:
                self._asking[ticket] = verdict
            elif ticket in self._waiting:
                future, timer = self._waiting.pop(ticket)
                timer.cancel()
                if not future.done():
                    future.set_result(verdict)

    def close(self) -> None:
        """Give every waiting call the API's own 401."""
        self.settle(list(self._waiting), PassThrough())

    def _expire(self, ticket: int) -> None:
        self.settle((ticket,), PassThrough())
        self._abandoned(ticket)

    def _done(self, ticket: int) -> None:
        # A future that `settle` did not complete was cancelled by its caller.
        if ticket in self._waiting:
            self._waiting.pop(ticket)[1].cancel()
            self._abandoned(ticket)
