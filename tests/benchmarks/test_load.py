"""What wrk prints, read: good runs, bad answers, and things that are no report."""

import json
import re

import pytest
from hypothesis import given, strategies as st

from benchmarks.load import NotWrk, Report, microseconds, parse, post_script

GOOD = """\
Running 4s test @ http://127.0.0.1:9005/contacts
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  402.13us   9.80ms   91.27%
    Req/Sec    24.39k     1.10k   26.01k    72.50%
  Latency Distribution
     50%    1.24ms
     75%    1.38ms
     90%  980.00us
     99%    2.61ms
  97123 requests in 4.00s, 121.30MB read
Requests/sec:  24271.10
Transfer/sec:     30.31MB
"""
BAD = GOOD.replace(
    "Requests/sec",
    "  Socket errors: connect 1, read 2, write 0, timeout 4\n"
    "  Non-2xx or 3xx responses: 97\nRequests/sec",
)


def test_a_good_run_is_read() -> None:
    """Counts as they stand, latencies in microseconds."""
    report = parse(GOOD)

    assert report == Report(97123, 24271.10, 1240.0, 2610.0, 0, 0)


def test_what_went_wrong_is_counted() -> None:
    """Answers that were refusals, and connections that failed in any way."""
    report = parse(BAD)

    assert (report.bad, report.errors) == (97, 7)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param("unable to connect to 127.0.0.1:1 Connection refused", id="none"),
        pytest.param("", id="empty"),
        pytest.param(GOOD.replace("50%", "51%"), id="without-median"),
    ],
)
def test_what_is_no_report_is_an_error(output: str) -> None:
    """A proxy that did not answer has no figures, not even zeros."""
    with pytest.raises(NotWrk):
        parse(output)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("175.00us", 175.0, id="us"),
        pytest.param("1.20ms", 1200.0, id="ms"),
        pytest.param("1.03s", 1.03e6, id="s"),
        pytest.param("2.00m", 120e6, id="minutes"),
    ],
)
def test_durations_have_units(text: str, expected: float) -> None:
    """Wrk changes the unit with the size."""
    assert microseconds(text) == pytest.approx(expected)


@given(st.integers(min_value=20, max_value=5000))
def test_a_post_has_exactly_the_bytes_that_were_asked_for(size: int) -> None:
    """And they are JSON, as the header says."""
    script = post_script(size)

    found = re.search(r"\[==\[(.*)\]==\]", script)
    assert found is not None
    assert len(found[1]) == size
    assert isinstance(json.loads(found[1]), list)
