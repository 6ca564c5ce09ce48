"""One event becomes one line without a secret."""

import base64
import io
import json
import logging
import re
import urllib.parse
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from sidecar.core.secrecy.secret import MASK, Secret
from sidecar.errors import RefreshResult
from sidecar.log import get_logger
from sidecar.log.lines import MAX_LINE, MAX_TEXT
from tests.log.conftest import KEY, Log

log = get_logger("sidecar.tests")

# Hypothesis runs a test many times in one fixture; the test empties the stream itself.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Opaque:
    """An object whose `repr` shows the key."""

    def __repr__(self) -> str:
        """Show the key."""
        return KEY


class Colour(StrEnum):
    """Some enum."""

    RED = "red"


def test_a_line_has_its_head_and_its_fields(logs: Log) -> None:
    """Time in RFC 3339 and UTC, level, logger, event, then the fields in order."""
    log.warning("key_rejected", upstream="flownally", status=401, ratio=0.5, last=None)

    line = logs.line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert list(line.items())[1:] == [
        ("level", "warning"),
        ("logger", "sidecar.tests"),
        ("event", "key_rejected"),
        ("upstream", "flownally"),
        ("status", 401),
        ("ratio", 0.5),
        ("last", None),
    ]


def test_bound_fields_come_with_every_line(logs: Log) -> None:
    """A logger may bind its upstream once."""
    bound = log.bind(upstream="flownally")

    bound.info("one")
    bound.info("two", upstream="other")

    assert [line["upstream"] for line in logs.lines] == ["flownally", "other"]


def test_a_field_cannot_pose_as_the_head(logs: Log) -> None:
    """A collector trusts `level` and `timestamp`."""
    log.info("event", level="fatal", timestamp="1970", logger="kernel")

    line = logs.line
    assert (line["level"], line["logger"]) == ("info", "sidecar.tests")
    assert line["level_"] == "fatal"
    assert line["timestamp_"] == "1970"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("text", "text", id="text"),
        pytest.param(True, True, id="bool"),
        pytest.param(2**63, "<int>", id="int-that-readers-cannot-hold"),
        pytest.param(float("nan"), "nan", id="nan-is-no-json"),
        pytest.param(b"ab\xff", "ab\\xff", id="bytes"),
        pytest.param(bytearray(b"ab"), "ab", id="bytearray"),
        pytest.param(memoryview(b"ab"), "ab", id="memoryview"),
        pytest.param(Colour.RED, "red", id="enum"),
        pytest.param(RefreshResult.DENIED, "denied", id="enum-of-ours"),
        pytest.param(PurePosixPath("/a/b"), "/a/b", id="path"),
        pytest.param((1, "a"), [1, "a"], id="tuple"),
        pytest.param({"a": {1: b"x"}}, {"a": {"1": "x"}}, id="mapping"),
        pytest.param({"a"}, ["a"], id="set"),
        pytest.param(list(range(99)), list(range(50)), id="long-list"),
        pytest.param([[[[[1]]]]], [[[["<nested>"]]]], id="deep-list"),
        pytest.param(Secret("abcdefgh"), MASK, id="secret"),
        pytest.param(ValueError("abcdefgh"), "ValueError", id="exception"),
        pytest.param(Opaque(), "<tests.log.test_lines.Opaque>", id="unknown-object"),
    ],
)
def test_values_are_shown_as_json_or_by_type(
    logs: Log, value: object, shown: object
) -> None:
    """The `repr` of an unknown object is never called."""
    log.info("event", value=value)

    assert logs.line["value"] == shown


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(KEY, id="text"),
        pytest.param(f"a {KEY} b", id="inside"),
        pytest.param(KEY.encode(), id="bytes"),
        pytest.param([{"a": [KEY]}], id="nested"),
        pytest.param({KEY: 1}, id="key-of-a-mapping"),
        pytest.param({"Authorization": f"Bearer {KEY}"}, id="header"),
        pytest.param([(b"authorization", b"Bearer " + KEY.encode())], id="raw-header"),
        pytest.param(urllib.parse.quote(KEY, safe=""), id="percent"),
        pytest.param(base64.b64encode(b"a:" + KEY.encode()), id="base64"),
        pytest.param(json.dumps({"a": KEY}), id="json-in-json"),
        pytest.param(json.dumps(json.dumps({"a": KEY})), id="json-in-json-in-json"),
        pytest.param("-" * (MAX_TEXT - 9) + KEY, id="across-the-cut"),
        pytest.param(KEY.encode().hex(), id="hex"),
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_known_key_is_in_no_field(logs: Log, value: object, style: Any) -> None:
    """This holds for values, names and nested values, in both formats."""
    logs.configure(style=style)

    log.info("event", value=value)

    assert MASK in logs.text
    for piece in (KEY, KEY[5:25], json.dumps(KEY)[1:-1], KEY.encode().hex()):
        assert piece not in logs.text
    assert sum(logs.hits) >= 1


def test_a_known_key_is_in_no_event_and_no_name(logs: Log) -> None:
    """This holds for an event of any type, and for names of fields."""
    event: Any = {"event": KEY}
    text = f"event {KEY}"

    log.info(text)
    log.info("event", **{KEY: 1})
    log.info("event %s", KEY)
    log.info(event)

    assert KEY[5:25] not in logs.text
    assert [MASK in json.dumps(line) for line in logs.lines] == [True] * 4


def test_one_secret_is_counted_once(logs: Log) -> None:
    """Fields and line are both searched, but a secret counts once."""
    log.info("event", value=KEY, other="Bearer abcdefgh")

    assert logs.hits == [2]


def test_a_clean_line_is_not_counted(logs: Log) -> None:
    """The callback feeds a metric."""
    log.info("event", value="nothing")

    assert logs.hits == []


def test_a_long_field_is_cut(logs: Log) -> None:
    """The text of a peer is bounded; the line shows its length."""
    log.info("event", value="a" * 5000, other="b")

    assert logs.line["value"] == "a" * MAX_TEXT + "... (5000 characters)"
    assert logs.line["other"] == "b"


def test_a_gigantic_field_is_cut_without_being_searched_whole(logs: Log) -> None:
    """Only a bounded part is searched."""
    log.info("event", value="a" * 3_000_000)

    assert logs.line["value"].startswith("a" * MAX_TEXT + "...")


def test_half_a_key_at_the_end_of_the_searched_part_is_not_shown(logs: Log) -> None:
    """A mask shortens a text, which could bring its unsearched border into the line."""
    value = f"Bearer {'a' * 131_000} {KEY * 10}"

    log.info("event", value=value)

    assert logs.line["value"] == MASK


def test_a_line_that_stays_too_long_shows_its_head_only(logs: Log) -> None:
    """Collectors drop long lines."""
    log.info("event", **{f"field{n}": "a" * 3000 for n in range(60)})

    assert len(logs.text) < MAX_LINE
    assert logs.line["event"] == "event"
    assert logs.line["withheld"] == "fields"


def test_many_short_fields_are_one_long_line(logs: Log) -> None:
    """A line may be longer than a field."""
    log.info("event", **{f"field{n}": "a" * 100 for n in range(60)})

    assert logs.line["field59"] == "a" * 100


@pytest.mark.parametrize(
    "nasty",
    [
        pytest.param('x\n{"level":"error"}', id="line-feed"),
        pytest.param("x\r\x0b\x0c\x1c\x85\u2028\u2029", id="other-line-ends"),
        pytest.param("\x1b[2J\x00\x7f", id="terminal"),
        pytest.param("\u202e\u2066\u200b\ufeff", id="bidi-and-invisible"),
        pytest.param("\udfff\ud800", id="surrogates"),
        pytest.param('"}],{', id="structure"),
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_no_value_breaks_out_of_its_line(logs: Log, nasty: str, style: Any) -> None:
    """Log injection: a value cannot begin a line or move a cursor."""
    logs.configure(style=style)

    log.info("event", value=nasty)
    logging.getLogger("foreign").info(nasty)

    assert len(logs.text.splitlines()) == 2
    assert all(char == "\n" or char.isprintable() for char in logs.text)
    if style == "json":
        assert logs.lines[0]["value"] == nasty
        assert logs.lines[1]["event"] == nasty


@shared
@given(st.dictionaries(st.text(), st.text() | st.binary() | st.integers()), st.text())
def test_any_fields_make_one_line_of_json(
    logs: Log, fields: dict[str, Any], around: str
) -> None:
    """Any fields that hold the key make one object that shows no key."""
    logs.stream.seek(0)
    logs.stream.truncate()

    log.info(
        "event", value=f"{around}{KEY}{around}", **{f"f{k}": fields[k] for k in fields}
    )

    assert logs.line["event"] == "event"
    assert KEY not in logs.text
    assert logs.text.isascii()


def test_masking_that_breaks_the_structure_withholds_the_fields(logs: Log) -> None:
    """A key may look like the punctuation of JSON: the line stays JSON."""
    logs.redactor.learn(Secret('"other":"'))

    log.info("event", value="a", other="b")

    assert logs.line["withheld"] == "fields"
    assert logs.line["event"] == "event"


def test_a_long_line_is_cut_only_where_a_text_is_long(logs: Log) -> None:
    """A long line of short texts is not cut."""
    short = ["a" * 1500, {"b": "c" * 1500, "d" * 10: 1}]

    log.info("event", short=short, long=["a" * 3000], number=1)

    assert logs.line["short"] == short
    assert logs.line["long"] == ["a" * MAX_TEXT + "... (3000 characters)"]


def test_long_lines_of_short_texts_are_whole(logs: Log) -> None:
    """Nested texts are measured one by one."""
    value = [{"a": ["b" * 900]}, {}, [], {"c": "d" * 900}, "e" * 900]

    log.info("event", value=value)

    assert logs.line["value"] == value


def test_console_lines_are_for_people(logs: Log) -> None:
    """Values without spaces or quotes are not quoted."""
    logs.configure(style="console")

    log.info("call_answered", path="/contacts", text="a b", none=None, list=[1, "é"])

    head, _, rest = logs.text.partition(" ")
    assert head.endswith("Z")
    assert rest == (
        "[info] call_answered [sidecar.tests]"
        " path=/contacts text='a b' none=None list=[1, 'é']\n"
    )


def test_console_shows_an_exception_on_lines_of_its_own(logs: Log) -> None:
    """Its lines are indented, so that none looks like an event."""
    logs.configure(style="console")
    try:
        json.loads(KEY)
    except ValueError:
        log.exception("broken")

    first, second, *rest = logs.text.splitlines()
    assert first.endswith("[error] broken [sidecar.tests]")
    assert second == "    json.decoder.JSONDecodeError"
    assert all(line.startswith("      ") for line in rest)


def test_a_stream_that_is_a_file_gets_utf8(logs: Log) -> None:
    """The console format keeps letters of every language."""
    logs.stream = io.StringIO()
    logs.configure(style="console")

    log.info("event", name="Žofie")

    assert "name=Žofie" in logs.text
