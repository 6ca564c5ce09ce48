"""
Keeps the last hour of every upstream, by looking at its totals every two seconds.

A look costs some microseconds; nothing on the hot path knows of it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from sidecar.admin.history import History, Sample

EVERY_SECONDS: Final = 2.0
"""The events of the status page are told to this precision."""


class Watch:
    """The histories of some upstreams."""

    def __init__(
        self, looks: Mapping[str, Callable[[], Sample]], now: Callable[[], float]
    ) -> None:
        self._looks = dict(looks)
        self._now = now
        self._histories = {name: History() for name in looks}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(EVERY_SECONDS)

    def look(self) -> None:
        """Look once at every upstream."""
        now = self._now()
        for name, look in self._looks.items():
            self._histories[name].take(now, look())

    def document(self, name: str) -> Mapping[str, object]:
        """The last hour of an upstream up to this moment, for `/status`."""
        now = self._now()
        history = self._histories[name]
        history.take(now, self._looks[name]())
        return history.as_document(now)
