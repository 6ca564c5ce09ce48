"""A loop whose time passes only when there is nothing else to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualSelector(selectors.SelectSelector):
    """Never waits: the time that it should wait passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, or let the time pass."""
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            message = "nothing will ever happen in this loop"
            raise RuntimeError(message)
        self.passed += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Hours pass in milliseconds, and every run is the same."""

    def __init__(self) -> None:
        self.clock = VirtualSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        """Return the seconds that passed."""
        return self.clock.passed


def live(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
