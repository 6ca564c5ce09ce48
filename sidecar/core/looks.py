"""
Looks at the source: one at a time, and who waits for which.

Whoever needs news must not be content with a look that began before the need did:
its answer may have been read just before the key was changed. `want` gives the
number of the look that will do, the first one to begin from now on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.life_events import Command, Describe


@dataclass(slots=True)
class Looks:
    """The looks of one source."""

    number: int = 0
    """Looks that have begun."""
    busy: bool = False
    again: bool = False
    """Another look begins as soon as this one is over."""
    failures: int = 0
    """Looks that failed, in a row."""

    def begin(self) -> Sequence[Command]:
        """Begin a look, unless there is one."""
        if self.busy:
            return ()
        self.number += 1
        self.busy = True
        self.again = False
        return (Describe(),)

    def want(self) -> tuple[int, Sequence[Command]]:
        """Return the number of the look that begins next, and how to begin it."""
        if self.busy:
            self.again = True
            return self.number + 1, ()
        commands = self.begin()
        return self.number, commands

    def serves(self, number: int) -> bool:
        """Tell whether a look under way, or due at once, has this number or more."""
        return self.busy and (self.number >= number or self.again)

    def end(self, *, failed: bool) -> None:
        """The look is over."""
        self.busy = False
        self.failures = self.failures + 1 if failed else 0
