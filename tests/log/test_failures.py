"""Exceptions are shown as types and places, never with their arguments."""

import errno
import ssl
from collections.abc import Callable
from typing import Never

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from sidecar.errors import Code, Refused, SecretRejected
from sidecar.log import get_logger
from sidecar.log.failures import failure_name, failure_text
from tests.log.conftest import KEY, Log


def raised(make: Callable[[], Never]) -> BaseException:
    """Return the exception of a function, with its traceback."""
    try:
        make()
    except BaseException as failure:  # noqa: BLE001 - any kind is wanted
        return failure


def client_error() -> Never:
    """Raise an exception of aiohttp that holds request headers."""
    url = URL("https://api.flownally.com/v1/contacts?token=abc")
    headers = CIMultiDictProxy(CIMultiDict(Authorization=f"Bearer {KEY}"))
    info = aiohttp.RequestInfo(url, "GET", headers, url)
    raise aiohttp.ClientResponseError(info, (), status=401, message=KEY)


def missing() -> Never:
    """Raise the exception of a lookup."""
    raise KeyError(KEY)


def chained() -> Never:
    """Raise a failure caused by another."""
    try:
        missing()
    except KeyError as cause:
        message = f"no {KEY}"
        raise RuntimeError(message) from cause


def handled() -> Never:
    """Raise a failure while another is handled."""
    try:
        missing()
    except KeyError:
        raise RuntimeError(KEY)  # noqa: B904 - the implicit context is the point


def hidden() -> Never:
    """Raise a failure that replaces another."""
    try:
        missing()
    except KeyError:
        raise RuntimeError(KEY) from None


def grouped() -> Never:
    """Raise the exception of a TaskGroup."""
    message = f"group {KEY}"
    raise ExceptionGroup(message, [ValueError(KEY), OSError(errno.ENOSPC, KEY)])


def circular() -> Never:
    """Raise one of two failures that are each other's cause."""
    first, second = ValueError(KEY), RuntimeError(KEY)
    first.__cause__, second.__cause__ = second, first
    raise first


def deep(levels: int = 60) -> Never:
    """Raise in a deep recursion."""
    if levels == 0:
        raise ValueError(KEY)
    deep(levels - 1)


def many() -> Never:
    """Raise a large group."""
    message = "many"
    raise ExceptionGroup(message, [ValueError(KEY) for _ in range(50)])


MODULE = __name__


@pytest.mark.parametrize(
    ("make", "names"),
    [
        pytest.param(client_error, ["aiohttp.client_exceptions.ClientResponseError"], id="aiohttp"),
        pytest.param(chained, ["RuntimeError", "caused by KeyError"], id="cause"),
        pytest.param(handled, ["RuntimeError", "while handling KeyError"], id="context"),
        pytest.param(hidden, ["RuntimeError"], id="suppressed"),
        pytest.param(grouped, ["ExceptionGroup", "holding ValueError", "holding OSError: ENOSPC"], id="group"),
        pytest.param(circular, ["ValueError", "caused by RuntimeError"], id="circle"),
        pytest.param(deep, ["ValueError"], id="deep"),
        pytest.param(many, ["ExceptionGroup", *["holding ValueError"] * 7, "and more"], id="many"),
    ],
)  # fmt: skip
def test_a_failure_is_shown_as_types_and_places(
    make: Callable[[], Never], names: list[str]
) -> None:
    """The text holds no argument, message, local variable or line of source."""
    text = failure_text(raised(make))

    lines = text.split("\n")
    assert [line for line in lines if not line.startswith("  ")] == names
    assert f" {make.__name__}" in text
    assert KEY[5:20] not in text
    assert "token" not in text


def test_places_are_module_line_and_function() -> None:
    """A place is enough to find the failure."""
    _, *places = failure_text(raised(chained)).split("\n  ")

    assert places[0].startswith(f"{MODULE}:")
    assert places[0].endswith(" raised")
    assert places[1].endswith(" chained\ncaused by KeyError")


def test_a_long_traceback_shows_its_last_places() -> None:
    """The end of a recursion is the place of the failure."""
    lines = failure_text(raised(deep)).split("\n")

    assert lines[1] == "  ..."
    assert len(lines) == 22


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        pytest.param(ValueError(KEY), "ValueError", id="builtin"),
        pytest.param(
            OSError(errno.ECONNREFUSED, KEY),
            "ConnectionRefusedError: ECONNREFUSED",
            id="number",
        ),
        pytest.param(OSError(KEY), "OSError", id="no-number"),
        pytest.param(OSError(99999, KEY), "OSError: 99999", id="strange-number"),
        pytest.param(
            ssl.SSLCertVerificationError(1, KEY),
            "ssl.SSLCertVerificationError: EPERM",
            id="tls",
        ),
        pytest.param(
            Refused(Code.BAD_TARGET, "not origin-form"),
            "sidecar.errors.Refused: not origin-form",
            id="ours",
        ),
        pytest.param(
            SecretRejected("empty", "put a key there"),
            "sidecar.errors.SecretRejected: empty; put a key there",
            id="ours-with-remedy",
        ),
    ],
)
def test_only_safe_messages_are_shown(failure: BaseException, name: str) -> None:
    """Our own messages name rules, not values; an error number is no secret."""
    assert failure_name(failure) == name


@pytest.mark.parametrize("exc_info", [True, "instance", "tuple"])
def test_every_way_to_log_a_failure_is_the_same(logs: Log, exc_info: object) -> None:
    """Both structlog and logging accept an exception in three forms."""
    log = get_logger("sidecar.tests")
    try:
        chained()
    except RuntimeError as failure:
        forms = {
            "instance": failure,
            "tuple": (RuntimeError, failure, failure.__traceback__),
        }
        log.exception("broken", exc_info=forms.get(str(exc_info), exc_info))

    assert logs.line["exception"].startswith("RuntimeError\n  tests.log.test_failures:")
    assert KEY[5:20] not in logs.text


@pytest.mark.parametrize("exc_info", [None, False, (None, None, None), "nonsense"])
def test_no_failure_is_no_field(logs: Log, exc_info: object) -> None:
    """Without an exception, `exc_info` adds no field."""
    get_logger("sidecar.tests").error("fine", exc_info=exc_info)

    assert "exception" not in logs.line
