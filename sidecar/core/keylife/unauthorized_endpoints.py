"""
Endpoints that return 401 even though the key is valid.

Some endpoints return 401 whatever the key is, or need another kind of credential. They
must not disable the recovery of all other calls, nor cost a refresh per call.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MAX_ENDPOINTS: Final = 64
"""Endpoints that are remembered; the oldest is forgotten."""
MEMORY_SECONDS: Final = 300.0
"""An endpoint is forgotten after this time: it may be the only one that is called when
the key is revoked."""
NEWS_SECONDS: Final = 0.25
"""The least time between two recoveries that new endpoints start."""


@dataclass(slots=True)
class UnauthorizedEndpoints:
    """The endpoints whose 401 no recovery could explain; each is method and path."""

    proven: bool = False
    """The key in use has worked for another endpoint since."""
    news_at: float = 0.0
    """The earliest time at which a new endpoint may start a recovery."""
    _until: dict[bytes, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, calls: Iterable[bytes], at: float) -> None:
        """Remember the endpoints of a recovery that changed nothing."""
        for call in calls:
            self._until.pop(call, None)
            self._until[call] = at + MEMORY_SECONDS
        while len(self._until) > MAX_ENDPOINTS:
            del self._until[next(iter(self._until))]

    def knows(self, call: bytes) -> bool:
        """Return whether an endpoint is remembered."""
        return call in self._until

    def explains(self, call: bytes, at: float) -> bool:
        """Return whether a 401 of this endpoint proves nothing about the key."""
        if self._until.get(call, math.inf) <= at:
            del self._until[call]
        return self.proven and call in self._until

    def take_news(self, call: bytes, at: float) -> bool:
        """
        Return whether this 401 justifies a recovery though the last one found nothing.

        True at most once per `NEWS_SECONDS`, so that paths which contain a number
        cannot start one recovery each.
        """
        if not (self.proven and call and at >= self.news_at):
            return False
        self.news_at = at + NEWS_SECONDS
        return True

    def works(self, call: bytes) -> None:
        """Record that the key in use works for an endpoint."""
        self.proven = True
        self._until.pop(call, None)

    def clear(self) -> None:
        """Forget all endpoints: another key is in use."""
        self.proven = False
        self.news_at = 0.0
        self._until.clear()
