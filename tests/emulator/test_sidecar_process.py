"""The handle on a `sidecar` process, before there is anything to ask it."""

import base64
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sidecar.emulator.http_calls import Overdue
from sidecar.emulator.sidecar_process import SidecarProcess, to_toml
from sidecar.errors import Exit
from tests.support.processes import encodings, merge

VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
TABLES = st.recursive(
    st.dictionaries(st.text(), VALUES, max_size=4),
    lambda inner: st.dictionaries(st.text(), VALUES | inner, max_size=4),
    max_leaves=8,
)


@given(TABLES)
def test_any_settings_can_be_written_as_toml(settings: dict[str, Any]) -> None:
    """What is written is read back the same."""
    assert tomllib.loads(to_toml(settings)) == settings


def test_tables_in_lists_are_written_inline() -> None:
    """As in `allow`, where an operation may be a table."""
    settings = {"a": {"allow": ["GET /x", {"operation": "POST /x", "scopes": ["w"]}]}}

    assert tomllib.loads(to_toml(settings)) == settings


def test_merging_changes_adds_and_removes() -> None:
    """Tables are merged, values replaced, None takes out; the base stays."""
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    merged = merge(base, {"a": {"x": None, "z": 4}, "c": {"d": 5}})

    assert merged == {"a": {"y": 2, "z": 4}, "b": 3, "c": {"d": 5}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}


def test_a_process_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    """The wait fails at once, with what the process said."""
    process = SidecarProcess(tmp_path, {}, command=["--version"])

    with pytest.raises(Overdue, match=r"the sidecar ended with 0:\nsidecar \d"):
        process.wait_ready()
    assert process.wait() == Exit.OK
    assert process.stop() == Exit.OK


def test_log_lines_are_found_among_others(tmp_path: Path) -> None:
    """JSON objects are log lines; the rest is text."""
    process = SidecarProcess(tmp_path, {}, command=["--version"])
    process.wait()
    with (tmp_path / "out.log").open("a") as out:
        out.write('{"event": "listening", "name": "admin", "address": "127.0.0.1:9"}\n')
        out.write('{"event": "ready"}\n')

    assert [line["event"] for line in process.logs()] == ["listening", "ready"]
    assert process.address("admin") == "127.0.0.1:9"


def test_an_unfinished_process_can_be_closed(tmp_path: Path) -> None:
    """A fixture leaves nothing behind."""
    process = SidecarProcess(
        tmp_path, {}, command=["wait", "--url", "http://127.0.0.1:9", "--timeout", "60"]
    )
    process.close()

    assert process.wait() < 0


@pytest.mark.parametrize("offset", range(3))
def test_a_secret_in_base64_is_recognised(offset: int) -> None:
    """Wherever it stands in the encoded text."""
    secret = "fln_live_0123456789abcdef0123456789abcdef"
    text = base64.b64encode(b"x" * offset + f"Bearer {secret}; more".encode()).decode()

    assert any(form in text for form in encodings(secret))
