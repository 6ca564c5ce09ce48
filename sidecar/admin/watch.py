"""
Keeps the last hour of every upstream, by sampling its running totals.

A sample costs some microseconds, and the hot path has no part in it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from sidecar.admin.history import History, Sample

EVERY_SECONDS: Final = 2.0
"""The time between two samples, which is the precision of the events."""


class Watch:
    """
    The histories of the upstreams.

    Args:
        samplers: Upstream -> function that returns its present totals.
        now: Returns the time in Unix seconds.
    """

    def __init__(
        self, samplers: Mapping[str, Callable[[], Sample]], now: Callable[[], float]
    ) -> None:
        self._samplers = dict(samplers)
        self._now = now
        self._histories = {name: History() for name in samplers}

    async def run(self) -> None:
        """Sample every upstream every `EVERY_SECONDS`, until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(EVERY_SECONDS)

    def sample(self) -> None:
        """Sample every upstream once."""
        now = self._now()
        for name, sampler in self._samplers.items():
            self._histories[name].take(now, sampler())

    def document(self, name: str) -> Mapping[str, object]:
        """Return the last hour of an upstream up to now, for `/status`."""
        now = self._now()
        history = self._histories[name]
        history.take(now, self._samplers[name]())
        return history.as_document(now)
