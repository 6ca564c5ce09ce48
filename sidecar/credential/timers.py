"""The timers of one credential: at most one of each name, on the monotonic clock."""

import asyncio
from collections.abc import Callable
from typing import Final

from sidecar.core.keylife.backoff import spread
from sidecar.core.keylife.messages import Timer

SHORTEST_SECONDS: Final = 0.001
"""A timer never fires in the loop iteration that starts it, so other work proceeds."""


class Timers:
    """
    Calls back after a number of seconds, with jitter.

    Args:
        fire: Called on the loop with the timer's name.
        monotonic: Seconds that never step.
        jitter: A random number in [0, 1).
    """

    def __init__(
        self,
        fire: Callable[[Timer], None],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._fire = fire
        self._monotonic = monotonic
        self._jitter = jitter
        self._running: dict[Timer, tuple[float, asyncio.TimerHandle]] = {}

    def start(self, timer: Timer, seconds: float, jitter: float) -> None:
        """Start a timer, replacing an earlier one of that name."""
        self.cancel(timer)
        delay = max(SHORTEST_SECONDS, spread(seconds, jitter, self._jitter()))
        loop = asyncio.get_running_loop()
        handle = loop.call_later(delay, self._due, timer)
        self._running[timer] = (self._monotonic() + delay, handle)

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer, if it runs."""
        if timer in self._running:
            self._running.pop(timer)[1].cancel()

    def left(self, timer: Timer) -> float | None:
        """Return the seconds until a timer fires; None when it does not run."""
        if timer not in self._running:
            return None
        return max(0.0, self._running[timer][0] - self._monotonic())

    def close(self) -> None:
        """Cancel all timers."""
        for timer in list(self._running):
            self.cancel(timer)

    def _due(self, timer: Timer) -> None:
        self._running.pop(timer, None)
        self._fire(timer)
