"""The calls that wait for a verdict about their 401; none waits for ever."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.core.keylife.messages import PassThrough, Verdict

CALL_SECONDS: Final = 10.0
"""A call that drew a 401 waits no longer for its verdict."""


class Calls:
    """
    The waiting calls of one keeper, by ticket.

    Args:
        left: Called when a call waits no longer: its time is over, or it was dropped.
    """

    def __init__(self, left: Callable[[int], None]) -> None:
        self._left = left
        self._tickets = 0
        self._early: dict[int, Verdict | None] = {}
        self._waiting: dict[
            int, tuple[asyncio.Future[Verdict], asyncio.TimerHandle]
        ] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ask(self, put: Callable[[int], None]) -> "Verdict | asyncio.Future[Verdict]":
        """
        Put a question and return its verdict, at once or as a future.

        Args:
            put: Asks for the verdict of a ticket; `settle` may come before it returns.
        """
        self._tickets += 1
        ticket = self._tickets
        self._early[ticket] = None
        try:
            put(ticket)
        finally:
            verdict = self._early.pop(ticket)
        if verdict is not None:
            return verdict
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdict] = loop.create_future()
        alarm = loop.call_later(CALL_SECONDS, self._late, ticket)
        self._waiting[ticket] = (future, alarm)
        future.add_done_callback(lambda _: self._dropped(ticket))
        return future

    def settle(self, tickets: Iterable[int], verdict: Verdict) -> None:
        """Give these calls their verdict."""
        for ticket in tickets:
            if ticket in self._early:
                self._early[ticket] = verdict
            elif ticket in self._waiting:
                future, alarm = self._waiting.pop(ticket)
                alarm.cancel()
                if not future.done():
                    future.set_result(verdict)

    def close(self) -> None:
        """Let all calls go: each gets the API's own 401."""
        self.settle(list(self._waiting), PassThrough())

    def _late(self, ticket: int) -> None:
        """A call has waited long enough."""
        self.settle((ticket,), PassThrough())
        self._left(ticket)

    def _dropped(self, ticket: int) -> None:
        """A future is done; when not by us, its caller has left."""
        if ticket in self._waiting:
            self._waiting.pop(ticket)[1].cancel()
            self._left(ticket)
