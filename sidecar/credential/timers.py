"""
The alarms of one keeper: at most one of each name, on the loop's monotonic clock.

A step of the wall clock moves none of them.
"""

import asyncio
from collections.abc import Callable

from sidecar.core.keylife.backoff import spread
from sidecar.core.keylife.messages import Timer

SHORTEST_SECONDS = 0.001
"""An alarm never rings in the turn in which it is set: others get theirs."""


class Timers:
    """
    Rings after so many seconds, moved a little by chance.

    Args:
        ring: Called on the loop with the alarm's name.
        monotonic: Seconds that never step.
        jitter: Chance, in [0, 1).
    """

    def __init__(
        self,
        ring: Callable[[Timer], None],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._ring = ring
        self._monotonic = monotonic
        self._jitter = jitter
        self._set: dict[Timer, tuple[float, asyncio.TimerHandle]] = {}

    def arm(self, timer: Timer, seconds: float, fraction: float) -> None:
        """Set an alarm, in place of an earlier one of that name."""
        self.disarm(timer)
        delay = max(SHORTEST_SECONDS, spread(seconds, fraction, self._jitter()))
        loop = asyncio.get_running_loop()
        handle = loop.call_later(delay, self._due, timer)
        self._set[timer] = (self._monotonic() + delay, handle)

    def disarm(self, timer: Timer) -> None:
        """Drop an alarm, if it is set."""
        if timer in self._set:
            self._set.pop(timer)[1].cancel()

    def left(self, timer: Timer) -> float | None:
        """Return the seconds until an alarm rings; None when it is not set."""
        if timer not in self._set:
            return None
        return max(0.0, self._set[timer][0] - self._monotonic())

    def close(self) -> None:
        """Drop all alarms."""
        for timer in list(self._set):
            self.disarm(timer)

    def _due(self, timer: Timer) -> None:
        self._set.pop(timer, None)
        self._ring(timer)
