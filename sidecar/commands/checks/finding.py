"""Findings of `check`, and their table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.errors import Exit

ARROW: Final = "->"


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    """The sidecar runs; an improvement is advised."""
    FAIL = "FAIL"
    """The sidecar does not run, or will fail soon."""
    SKIP = "skip"
    """It was not checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; it never contains the value of a secret."""

    name: str
    level: Level
    detail: str
    remedy: str = ""
    """What to do; empty = nothing."""
    exit: Exit = Exit.OK
    """The exit code of a failure."""

    @property
    def ok(self) -> bool:
        """Whether the level is not FAIL."""
        return self.level is not Level.FAIL


def passed(name: str, detail: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(name, Level.OK, detail)


def warned(name: str, detail: str, remedy: str) -> Finding:
    """Return a warning."""
    return Finding(name, Level.WARN, detail, remedy)


def failed(name: str, detail: str, remedy: str, code: Exit) -> Finding:
    """Return a failure."""
    return Finding(name, Level.FAIL, detail, remedy, code)


def skipped(name: str, detail: str) -> Finding:
    """Return a finding for a check that was not made."""
    return Finding(name, Level.SKIP, detail)


def exit_of(findings: Iterable[Finding]) -> Exit:
    """Return the exit code: settings before credentials before the API."""
    return min((found.exit for found in findings if not found.ok), default=Exit.OK)


def table(findings: Iterable[Finding]) -> Iterator[str]:
    """Return a line for each finding, followed by its remedy if there is one."""
    shown = list(findings)
    width = max((len(found.name) for found in shown), default=0)
    for found in shown:
        yield f"{found.level:4}  {found.name:{width}}  {found.detail}"
        if found.remedy:
            yield f"{'':4}  {'':{width}}  {ARROW} {found.remedy}"
