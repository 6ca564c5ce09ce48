"""Findings: how the table looks and which exit code wins."""

import pytest

from sidecar.commands.checks.finding import (
    Finding,
    Level,
    exit_of,
    failed,
    passed,
    skipped,
    table,
    warned,
)
from sidecar.errors import Exit

SETTINGS = failed("a", "x", "y", Exit.USAGE)
SECRET = failed("b", "x", "y", Exit.CREDENTIAL)
API = failed("c", "x", "y", Exit.API)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], Exit.OK),
        ([passed("a", "x"), warned("b", "x", "y"), skipped("c", "x")], Exit.OK),
        ([API, passed("a", "x")], Exit.API),
        ([API, SECRET], Exit.CREDENTIAL),
        ([API, SETTINGS, SECRET], Exit.USAGE),
    ],
)
def test_the_first_thing_to_mend_tells_the_exit_code(
    findings: list[Finding], code: Exit
) -> None:
    """Without settings no secret is found, without a secret no API takes the key."""
    assert exit_of(findings) == code


def test_the_table_has_a_line_of_remedy_under_what_needs_one() -> None:
    """Columns are aligned, and nothing trails."""
    findings = [
        passed("job", "production-crm-sync"),
        warned("job owner", "nobody", "set job.owner"),
        failed("x", "broken", "mend it", Exit.API),
        skipped("y", "offline"),
    ]

    assert list(table(findings)) == [
        "ok    job        production-crm-sync",
        "warn  job owner  nobody",
        "                 -> set job.owner",
        "FAIL  x          broken",
        "                 -> mend it",
        "skip  y          offline",
    ]


def test_an_empty_table_is_empty() -> None:
    """Nothing was looked at."""
    assert list(table([])) == []


@pytest.mark.parametrize(
    ("finding", "ok"),
    [(passed("a", ""), True), (skipped("a", ""), True), (API, False)],
)
def test_only_a_failure_is_not_ok(finding: Finding, ok: bool) -> None:
    """A warning runs."""
    assert finding.ok is ok
    assert (finding.level is Level.FAIL) is not ok
