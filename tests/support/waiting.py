"""Waiting for something to come true, not for time to pass."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

LONGEST_SECONDS: Final = 10.0


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes; fail when it takes for ever."""
    async with asyncio.timeout(LONGEST_SECONDS):
        while not await true():  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.01)
