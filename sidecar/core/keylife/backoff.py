"""
When to try again. Time and chance are arguments, so that every answer is the same.

`spread` takes chance as a number in [0, 1); two sidecars that start together part
within a few turns, and a fleet does not knock at once.
"""

import math
from dataclasses import dataclass
from typing import Final

CIRCUIT_FIRST_SECONDS: Final = 5.0
CIRCUIT_LAST_SECONDS: Final = 300.0
"""A burned key must hammer neither the source nor the API (DESIGN, section 5)."""


def spread(seconds: float, fraction: float, chance: float) -> float:
    """Move `seconds` by up to `fraction` of itself, either way."""
    return seconds * (1 + fraction * (2 * chance - 1))


def backoff(attempt: int, first: float, last: float) -> float:
    """Return the seconds before try `attempt` (from 0): doubling, up to `last`."""
    # 2.0**1024 overflows, and no limit here is 60 doublings away.
    return min(last, first * 2.0 ** min(attempt, 60))


@dataclass(slots=True)
class Circuit:
    """How long a burned key is left alone: 5 s doubling to 5 min."""

    until: float = -math.inf
    interval: float = 0.0

    def open(self, at: float) -> None:
        """Leave the key alone for a while, longer than the last time."""
        # Quiet for as long as it was open: the trouble is over, begin anew.
        renewed = at - self.until > self.interval
        grown = CIRCUIT_FIRST_SECONDS if renewed else self.interval * 2
        self.interval = min(max(grown, CIRCUIT_FIRST_SECONDS), CIRCUIT_LAST_SECONDS)
        self.until = at + self.interval

    def is_open(self, at: float) -> bool:
        """Tell whether the key is still to be left alone."""
        return at < self.until

    def reset(self) -> None:
        """Forget the trouble: there is another key."""
        self.until = -math.inf
        self.interval = 0.0


@dataclass(slots=True)
class TokenBucket:
    """
    How many looks at the source a burst of 401s may cost when they find nothing.

    A bucket of `size` that gains one per `seconds`. When a look finds another key it is
    full again, so that a rotation is never too much: keys change rarely, whatever burns.
    """

    size: int
    seconds: float
    spent: float = 0.0
    counted_at: float = -math.inf

    def take(self, at: float) -> bool:
        """Take one, if there is one."""
        gained = (at - self.counted_at) / self.seconds
        self.spent = max(0.0, self.spent - gained)
        self.counted_at = at
        if self.spent > self.size - 1:
            return False
        self.spent += 1
        return True

    def restore(self) -> None:
        """Return all: there is another key."""
        self.spent = 0.0
