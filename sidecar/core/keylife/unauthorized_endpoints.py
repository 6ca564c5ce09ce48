"""
Calls whose 401 is about themselves: the key works for others.

Some endpoints answer 401 whatever the key, or want another kind of credential. Who asks
for one again and again must not disarm the recovery of all other calls, nor cost a look
at the source each time.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 64
"""Calls that are remembered; the oldest is forgotten."""
SECONDS: Final = 300.0
"""For as long: an endpoint may begin to work, and a key may die that only it is asked with."""
NEWS_SECONDS: Final = 0.25
"""Between two rounds that other calls begin: paths without number are no news."""


@dataclass(slots=True)
class UnauthorizedEndpoints:
    """The calls that drew a 401 of which no round found the cause."""

    proven: bool = False
    """The key in use has worked for another call since."""
    news_at: float = 0.0
    """From then on a 401 of a call that is not remembered begins a round."""
    _until: dict[bytes, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._until)

    def suspect(self, calls: Iterable[bytes], at: float) -> None:
        """Remember the calls of a round that found nothing."""
        for call in calls:
            self._until.pop(call, None)
            self._until[call] = at + SECONDS
        while len(self._until) > MOST:
            del self._until[next(iter(self._until))]

    def knows(self, call: bytes) -> bool:
        """Tell whether a call is remembered."""
        return call in self._until

    def explains(self, call: bytes, at: float) -> bool:
        """Tell whether a 401 on this call says nothing of the key."""
        if self._until.get(call, math.inf) <= at:
            del self._until[call]
        return self.proven and call in self._until

    def take_attempt(self, call: bytes, at: float) -> bool:
        """Tell whether a 401 is worth a round, though the last one found nothing; once."""
        if not (self.proven and call and at >= self.news_at):
            return False
        self.news_at = at + NEWS_SECONDS
        return True

    def succeeded(self, call: bytes) -> None:
        """Take in that the key in use has worked for a call."""
        self.proven = True
        self._until.pop(call, None)

    def clear(self) -> None:
        """Begin anew: another key is in use."""
        self.proven = False
        self.news_at = 0.0
        self._until.clear()
