"""Waiting for something to come true, not for time to pass."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

LONGEST_SECONDS: Final = 10.0


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Poll until the answer is True; fail after `LONGEST_SECONDS`."""
    async with asyncio.timeout(LONGEST_SECONDS):
        while not await true():  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.01)
