"""The effects of hardening, in a separate process, because it cannot be undone."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar import hardening

PROBE = """
import json, os, resource, sys
from sidecar import hardening
before = hardening.read_status()
found = hardening.harden()
print(json.dumps({
    "before": before.as_dict(),
    "found": found.as_dict(),
    "again": hardening.read_status().as_dict(),
    "umask": os.umask(0),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
}))
"""


@pytest.fixture(name="hardened", scope="module")
def _hardened() -> dict[str, Any]:
    """Return the status of a process before and after."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], check=True, capture_output=True, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_it_is_not_dumpable_and_gains_no_privileges(hardened: dict[str, Any]) -> None:
    """The status before differs, so the test shows the effect."""
    assert hardened["before"]["dumpable"] is True
    assert hardened["found"]["dumpable"] is False
    assert hardened["found"]["no_new_privileges"] is True


def test_no_core_is_written_and_none_can_be_asked_for(hardened: dict[str, Any]) -> None:
    """The hard limit is 0, too."""
    assert hardened["found"]["core_bytes"] == 0
    assert hardened["core"] == [0, 0]


def test_files_are_private(hardened: dict[str, Any]) -> None:
    """This holds for sockets and files."""
    assert hardened["umask"] == 0o077


def test_a_second_status_is_the_same(hardened: dict[str, Any]) -> None:
    """The report is read back from the kernel."""
    again = hardened["again"]
    assert again == hardened["found"]


def test_memory_is_locked_only_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit the next allocation would fail."""
    unlimited = (resource.RLIM_INFINITY,) * 2
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    assert hardening._may_lock()

    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    for capabilities, may in (("0000000000004000", True), ("0000000000000000", False)):
        status = f"Name:\tx\nCapEff:\t{capabilities}\n"
        monkeypatch.setattr(Path, "read_text", lambda *_, text=status: text)
        assert hardening._may_lock() is may

    monkeypatch.setattr(Path, "read_text", lambda *_: "Name:\tx\n")
    assert not hardening._may_lock()
