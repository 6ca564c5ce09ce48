"""
Rules for every test.

Code of the sidecar never blocks the event loop, a test leaves the process as it was, and
no test is skipped where `TESTS_REQUIRE_TOOLS=1` is set.
"""

import gc
import inspect
import os
import signal
from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

from sidecar.hardening import read_status

pytest_plugins = ["tests.support.fixtures"]

REQUIRE_TOOLS: Final = os.environ.get("TESTS_REQUIRE_TOOLS") == "1"
"""Set in CI: a skipped test is a failure, because every tool is installed there."""

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# A shell that starts the suite in the background makes it ignore SIGINT. Child processes
# inherit that, so the processes of the tests would not end by Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_blocking_in_a_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail when code of the sidecar blocks the event loop of an async test."""
    if not inspect.iscoroutinefunction(request.function):
        yield
        return
    with blockbuster_ctx(
        "sidecar", excluded_modules=["sidecar.demo", "sidecar.emulator"]
    ):
        yield


@pytest.fixture(autouse=True)
def _process_is_not_hardened() -> Iterator[None]:
    """Fail a test that hardens this process: later tests could not read its `/proc`."""
    yield
    assert read_status().dumpable


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection: they live to the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session for a skipped test where every tool must be installed."""
    if REQUIRE_TOOLS and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report skipped tests where none is allowed."""
    skipped = _skipped(config)
    if REQUIRE_TOOLS and skipped:
        message = f"{skipped} skipped, but TESTS_REQUIRE_TOOLS=1 allows none"
        terminalreporter.write_line(message, red=True)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape what is not UTF-8: pytest-xdist cannot send lone surrogates to its parent."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    """Return a copy of nested data in which every string can be encoded as UTF-8."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case list() | tuple():
            return type(value)(map(_encodable, value))
        case dict():
            return {name: _encodable(item) for name, item in value.items()}
        case _:
            return value


def _skipped(config: pytest.Config) -> int:
    """Count the skipped tests and modules, those of all workers included."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return 0 if reporter is None else len(reporter.stats.get("skipped", []))
