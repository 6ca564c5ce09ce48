"""The process: what others on the machine could learn of it."""

from dataclasses import replace

import pytest

from sidecar.commands.checks.finding import Level
from sidecar.commands.checks.host import check_process
from sidecar.hardening import HardeningStatus
from tests.support.check_findings import levels

TIGHT = HardeningStatus(
    dumpable=False, core_bytes=0, memory_locked=True, no_new_privileges=True
)


def test_a_process_that_keeps_to_itself() -> None:
    """Nothing to be said."""
    found = levels(check_process(TIGHT, 65532, {}))

    assert set(found.values()) == {Level.OK}


@pytest.mark.parametrize(
    ("posture", "uid", "environ", "name"),
    [
        (replace(TIGHT, dumpable=True), 1, {}, "process memory"),
        (replace(TIGHT, core_bytes=1), 1, {}, "process memory"),
        (replace(TIGHT, memory_locked=False), 1, {}, "process swap"),
        (replace(TIGHT, no_new_privileges=False), 1, {}, "process privileges"),
        (TIGHT, 0, {}, "process user"),
        (TIGHT, 1, {"AWS_SECRET_ACCESS_KEY": "hunter2hunter2"}, "process AWS keys"),
    ],
)
def test_what_others_could_learn_is_told(
    posture: HardeningStatus, uid: int, environ: dict[str, str], name: str
) -> None:
    """Each with its remedy, none a failure: it would run."""
    findings = list(check_process(posture, uid, environ))

    warnings = [found for found in findings if found.level is Level.WARN]
    assert [found.name for found in warnings] == [name]
    assert warnings[0].remedy
    assert "hunter2" not in str(findings)
