"""Uncaught exceptions become lines."""

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest

from sidecar.log import loop_exception_handler
from tests.log.conftest import KEY, Log


def test_a_thread_that_dies_is_a_line(logs: Log) -> None:
    """The thread prints no traceback on standard error."""

    def fail() -> None:
        raise ValueError(KEY)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    assert logs.line["event"] == "thread_exception"
    assert logs.line["exception"].startswith("ValueError\n")
    assert KEY[5:20] not in logs.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destructor_that_fails_is_a_line(logs: Log) -> None:
    """The interpreter would also print the object."""

    class Fails:
        def __del__(self) -> None:
            raise ValueError(KEY)

    Fails()

    assert logs.line["event"] == "unraisable_exception"
    assert KEY[5:20] not in logs.text


async def test_an_exception_of_a_loop_is_a_line(logs: Log) -> None:
    """The handler of asyncio would show the `repr` of the exception."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_exception_handler)

    loop.call_exception_handler(
        {"message": "Task was lost", "exception": ValueError(KEY), "future": KEY}
    )
    loop.call_exception_handler({"message": f"no exception {KEY}"})

    first, second = logs.lines
    assert (first["event"], first["message"]) == ("loop_exception", "Task was lost")
    assert first["exception"] == "ValueError"
    assert "exception" not in second
    assert KEY[5:20] not in logs.text


@pytest.mark.parametrize(
    ("failure", "event"),
    [("ValueError(KEY)", "uncaught_exception"), ("KeyboardInterrupt", None)],
)
def test_the_end_of_a_process_is_a_line(failure: str, event: str | None) -> None:
    """Ctrl-C keeps its traceback."""
    script = textwrap.dedent(
        f"""
        from sidecar import log
        from sidecar.core.secrecy.redaction import Redactor
        log.configure("info", "json", Redactor())
        KEY = {KEY!r}
        raise {failure}
        """
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert KEY not in done.stderr
    assert (event or "KeyboardInterrupt") in done.stderr
    assert ("Traceback" in done.stderr) == (event is None)
