"""
When to try again.

Time and chance are arguments, so the same arguments always give the same result.
Jitter keeps the sidecars of a fleet from calling the source at the same moment.
"""

import math
from dataclasses import dataclass
from typing import Final

BREAKER_FIRST_SECONDS: Final = 5.0
BREAKER_LAST_SECONDS: Final = 300.0


def spread(seconds: float, fraction: float, chance: float) -> float:
    """Shorten or lengthen `seconds` by up to `fraction`; `chance` is in [0, 1)."""
    return seconds * (1 + fraction * (2 * chance - 1))


def backoff(attempt: int, first: float, last: float) -> float:
    """Return the seconds before attempt `attempt` (from 0): doubling, up to `last`."""
    # 2.0**1024 overflows, and every limit here is reached within 60 doublings.
    return min(last, first * 2.0 ** min(attempt, 60))


@dataclass(slots=True)
class CircuitBreaker:
    """Suppresses recoveries after one that found no key: 5 s, doubling to 5 min."""

    until: float = -math.inf
    interval: float = 0.0

    def open(self, at: float) -> None:
        """Suppress recoveries for twice as long as the last time."""
        # Closed for longer than it was open: the trouble is a new one.
        renewed = at - self.until > self.interval
        grown = BREAKER_FIRST_SECONDS if renewed else self.interval * 2
        self.interval = min(max(grown, BREAKER_FIRST_SECONDS), BREAKER_LAST_SECONDS)
        self.until = at + self.interval

    def is_open(self, at: float) -> bool:
        """Return whether recoveries are suppressed."""
        return at < self.until

    def reset(self) -> None:
        """Close the breaker and forget its history: another key is in use."""
        self.until = -math.inf
        self.interval = 0.0


@dataclass(slots=True)
class TokenBucket:
    """A budget of `size` that regains one token per `seconds`."""

    size: int
    seconds: float
    spent: float = 0.0
    counted_at: float = -math.inf

    def take(self, at: float) -> bool:
        """Take one token; return False when there is none."""
        gained = (at - self.counted_at) / self.seconds
        self.spent = max(0.0, self.spent - gained)
        self.counted_at = at
        if self.spent > self.size - 1:
            return False
        self.spent += 1
        return True

    def restore(self) -> None:
        """Fill the bucket."""
        self.spent = 0.0
