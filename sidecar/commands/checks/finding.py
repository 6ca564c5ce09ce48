"""What a check found, and how findings are shown."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.errors import Exit

ARROW: Final = "->"


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    """It runs, and could be better."""
    FAIL = "FAIL"
    """It does not run, or not for long."""
    SKIP = "skip"
    """It was not looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; never with the value of a secret."""

    name: str
    level: Level
    detail: str
    remedy: str = ""
    """What to do; only where there is something to do."""
    exit: Exit = Exit.OK
    """The exit code that a failure asks for."""

    @property
    def ok(self) -> bool:
        """Whether a run would not fail by it."""
        return self.level is not Level.FAIL


def passed(name: str, detail: str) -> Finding:
    """Find nothing wrong."""
    return Finding(name, Level.OK, detail)


def warned(name: str, detail: str, remedy: str) -> Finding:
    """Find what could be better."""
    return Finding(name, Level.WARN, detail, remedy)


def failed(name: str, detail: str, remedy: str, code: Exit) -> Finding:
    """Find what must be mended."""
    return Finding(name, Level.FAIL, detail, remedy, code)


def skipped(name: str, detail: str) -> Finding:
    """Tell that something was not looked at, and why."""
    return Finding(name, Level.SKIP, detail)


def exit_of(findings: Iterable[Finding]) -> Exit:
    """Tell the exit code: settings come before credentials, they before the API."""
    return min((found.exit for found in findings if not found.ok), default=Exit.OK)


def table(findings: Iterable[Finding]) -> Iterator[str]:
    """Show findings, one line each, with a line of remedy under what needs one."""
    shown = list(findings)
    width = max((len(found.name) for found in shown), default=0)
    for found in shown:
        yield f"{found.level:4}  {found.name:{width}}  {found.detail}"
        if found.remedy:
            yield f"{'':4}  {'':{width}}  {ARROW} {found.remedy}"
