"""
Forgets keys: when nobody holds one any more, nothing of it is left but in the redactor;
and a day later, not even there.

A key that is part of another one (it was cut when copied, and then stored whole) stays as
long as that one does: to overwrite it would be to overwrite the other.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Secret
from sidecar.log import get_logger
from sidecar.memory import wipe

ROUND_SECONDS: Final = 30.0


class Forgetter:
    """
    Tells the redactor who holds which key, and wipes those that nobody holds.

    Args:
        redactor: Masks every key, and is the last to know one.
        monotonic: Seconds that never step.
        pause: Waits so many seconds; between the steps of a search, 0.
    """

    def __init__(
        self,
        redactor: Redactor,
        monotonic: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._redactor = redactor
        self._monotonic = monotonic
        self._pause = pause
        self._wiped: list[str] = []
        """Keys that are in the redactor only: the same objects as there."""
        self._alive: list[weakref.ref[Secret]] = []
        """Every secret that was held: a call may hold one longer than its owner."""
        self._log = get_logger("sidecar.forgetting")

    def hold(self, owner: str, secrets: tuple[Secret, ...]) -> None:
        """Hear which keys somebody holds now, before it uses one of them."""
        self._redactor.hold(owner, secrets, self._monotonic())
        self._alive += map(weakref.ref, secrets)

    async def run(self) -> None:
        """Forget for ever."""
        while True:
            await self._pause(ROUND_SECONDS)
            await self.round()

    async def round(self) -> None:
        """Wipe what was let go a while ago, and what is to be forgotten for good."""
        now = self._monotonic()
        self._alive = [one for one in self._alive if one() is not None]
        gone = [text for text in self._redactor.forget(now) if not self._needed(text)]
        if gone:
            await self._wipe(gone, ())
        retired = [key for key in self._redactor.retired(now) if not self._needed(key)]
        fresh = [key for key in retired if not any(key is one for one in self._wiped)]
        if fresh:
            await self._wipe(fresh, retired)
        self._wiped = retired

    def _needed(self, text: str) -> bool:
        """Tell whether somebody holds this, or something that it is part of."""
        alive = (secret.reveal() for one in self._alive if (secret := one()))
        return any(text in key for key in alive) or self._redactor.is_part(text)

    async def _wipe(self, values: list[str], keep: Iterable[str]) -> None:
        count = 0
        for places in wipe(values, tuple(keep)):
            if places < 0:
                self._log.warning(
                    "memory_not_wiped",
                    reason="the sandbox forbids process_vm_readv on our own process",
                )
                return
            count += places
            await self._pause(0)
            rest = [value for value in values if not self._needed(value)]
            if rest != values:
                # One came back meanwhile, by a rollback: begin again without it.
                await self._wipe(rest, keep)
                return
        self._log.debug("memory_wiped", places=count)
