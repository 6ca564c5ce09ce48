"""Every record passes one handler, and no failed write reaches the program."""

import io
import logging
import os
import subprocess
import sys
import textwrap
import warnings

import pytest

from sidecar import log
from sidecar.core.secrecy.redaction import Redactor
from sidecar.errors import SidecarError
from sidecar.log.handler import PINNED, Descriptor, LineHandler
from tests.log.conftest import KEY, Log


def handler() -> LineHandler:
    """Return the installed handler."""
    (one,) = (h for h in logging.getLogger().handlers if isinstance(h, LineHandler))
    return one


def run(script: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run a script; a shell redirects its standard error."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("name", ["botocore.hooks", "somebody.else", "py.warnings"])
def test_records_of_libraries_pass_the_redactor(logs: Log, name: str) -> None:
    """Their lines have a head and a message, and show no key."""
    logging.getLogger(name).warning("Sending %s to %r", KEY, {"Authorization": KEY})

    assert logs.line["logger"] == name
    assert logs.line["event"].startswith("Sending ********")
    assert KEY[5:20] not in logs.text


def test_extra_attributes_and_stacks_are_not_shown(logs: Log) -> None:
    """The line of another logger holds only its message."""
    logging.getLogger("other").warning("text", extra={"a": KEY}, stack_info=True)

    assert set(logs.line) == {"timestamp", "level", "logger", "event"}


@pytest.mark.parametrize("name", sorted(PINNED))
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_chatty_libraries_never_log_below_info(
    logs: Log, name: str, level: log.Level
) -> None:
    """`level = "debug"` excludes them; a higher level includes them."""
    logs.configure(level)

    for logger in (logging.getLogger(name), logging.getLogger(f"{name}.part")):
        logger.debug("SecretString")
        logger.info("info")

    expected = ["info", "info"] if level in ("debug", "info") else []
    assert [line["event"] for line in logs.lines] == expected


def test_lowering_the_level_of_a_pinned_library_changes_nothing(logs: Log) -> None:
    """`boto3.set_stream_logger` and similar functions do that."""
    logger = logging.getLogger("botocore.endpoint")
    logger.setLevel(logging.DEBUG)
    try:
        logger.debug("SecretString")
    finally:
        logger.setLevel(logging.NOTSET)

    assert logs.text == ""


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["a", "b", "c", "d"]),
        ("info", ["b", "c", "d"]),
        ("warning", ["c", "d"]),
        ("error", ["d"]),
    ],
)
def test_the_level_drops_what_is_below(
    logs: Log, level: log.Level, events: list[str]
) -> None:
    """The level holds for all loggers."""
    logs.configure(level)
    ours, others = log.get_logger("sidecar.tests"), logging.getLogger("somebody")

    for one in (ours, others):
        one.debug("a")
        one.info("b")
        one.warning("c")
        one.error("d")

    assert [line["event"] for line in logs.lines] == events * 2


def test_configuring_twice_logs_once(logs: Log) -> None:
    """The earlier handler is removed."""
    logs.configure()
    logs.configure()

    log.get_logger("sidecar.tests").info("once")

    assert len(logs.lines) == 1


def test_a_handler_of_basic_config_is_removed(logs: Log) -> None:
    """It would print unredacted records."""
    raw = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(raw))

    logs.configure()
    log.get_logger("sidecar.tests").info("event", value=KEY)

    assert raw.getvalue() == ""


def test_warnings_are_lines(logs: Log) -> None:
    """By default, Python prints warnings unredacted to standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"careful with {KEY}", stacklevel=1)

    assert logs.line["logger"] == "py.warnings"
    assert "careful with ********" in logs.line["event"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_record_with_bad_arguments_is_withheld(logs: Log, style: log.Format) -> None:
    """The standard library prints its arguments; this log prints a note."""
    logs.configure(style=style)

    logging.getLogger("somebody").warning("%d items", KEY)

    assert "line_withheld" in logs.text
    assert "TypeError" in logs.text
    assert KEY[5:20] not in logs.text


class Unprintable(SidecarError):
    """An exception without a message."""

    def __str__(self) -> str:
        """Fail."""
        raise ValueError(KEY)


def test_a_record_with_a_bad_exception_is_withheld(logs: Log) -> None:
    """What its message raises does not reach the program."""
    log.get_logger("sidecar.tests").error("event", exc_info=Unprintable())

    assert logs.line["event"] == "line_withheld"
    assert logs.line["reason"] == "ValueError"
    assert KEY[5:20] not in logs.text


class Broken(io.StringIO):
    """A stream whose writes fail."""

    failing = True

    def write(self, text: str, /) -> int:
        """Fail as a full disk does."""
        if self.failing:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_stream_that_fails_loses_lines_and_nothing_else(logs: Log) -> None:
    """Lines are written again when there is room."""
    logs.stream = stream = Broken()
    logs.configure()
    logger = log.get_logger("sidecar.tests")

    logger.info("lost")
    logger.info("lost")
    stream.failing = False
    logger.info("written")

    assert handler().lost == 2
    assert logs.line["event"] == "written"


def test_a_stream_that_was_closed_loses_lines(logs: Log) -> None:
    """`ValueError: I/O operation on closed file` does not end the program."""
    logs.stream.close()

    log.get_logger("sidecar.tests").info("lost")

    assert handler().lost == 1


SCRIPT = textwrap.dedent(
    """
    import logging
    from sidecar import log
    from sidecar.core.secrecy.redaction import Redactor
    log.configure("info", "json", Redactor())
    for number in range(2000):
        log.get_logger("x").info("event", number=number, text="a" * 500)
    (handler,) = logging.getLogger().handlers
    print(handler.lost)
    """
)


@pytest.mark.parametrize(
    ("redirection", "lost"),
    [
        pytest.param("2>/dev/full", "2000", id="full-disk"),
        pytest.param("2>/dev/null", "0", id="fine"),
        pytest.param("2>&-", "0", id="no-standard-error"),
        pytest.param("2</dev/null", "2000", id="not-writable"),
    ],
)
def test_a_process_outlives_its_standard_error(redirection: str, lost: str) -> None:
    """It ends with code 0: nothing is retried or buffered."""
    done = run(SCRIPT, redirection)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, lost, "")


def test_a_closed_pipe_loses_lines() -> None:
    """In Python a closed pipe is EPIPE, not a signal."""
    script = f"import sys, os\nos.close(sys.stdin.fileno())\n{SCRIPT}"

    done = subprocess.run(
        ["sh", "-c", '{ "$0" -c "$1" 2>&1 >&3 | true; } 3>&1', sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert 0 < int(done.stdout) <= 2000


def test_a_slow_reader_of_a_non_blocking_stream_loses_lines() -> None:
    """The program does not wait for the reader and does not retry."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        stream = Descriptor(writer)
        stream.write("a line\n")
        with pytest.raises(BlockingIOError):
            stream.write("a" * 10_000_000)

        assert os.read(reader, 7) == b"a line\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_standard_error_is_written_line_by_line() -> None:
    """Nothing is buffered: a crash loses no line."""
    script = SCRIPT.replace("2000", "2") + "\nimport os\nos._exit(3)"

    done = run(script, "")

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 2


def test_before_it_is_configured_a_logger_prints_nothing_to_stdout() -> None:
    """The standard output of a command is its result."""
    script = f"from sidecar import log\nlog.get_logger('x').info({KEY!r})"

    done = run(script, "")

    assert (done.stdout, done.stderr) == ("", "")


def test_counting_can_be_left_out() -> None:
    """A redactor needs no callback."""
    stream = io.StringIO()
    lines = LineHandler(Redactor(), "json", stream)

    lines.handle(
        logging.makeLogRecord({"msg": "Bearer abcdefgh", "name": "x", "levelno": 20})
    )

    assert "Bearer ********" in stream.getvalue()
