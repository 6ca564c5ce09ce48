"""The targets of coverage-guided fuzzing, with bytes that Hypothesis makes up."""

import pytest
from hypothesis import given, strategies as st

from tests.support.fuzz_parsers import KEY, TARGETS
from tests.support.fuzz_strategies import SPICES, answer, request, spiced

PIECES = st.sampled_from([*SPICES, KEY.encode(), KEY[:12].encode(), b"fln_live_", b"a"])
BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(PIECES, max_size=12).map(b"".join),
    spiced(request()),
    spiced(answer()),
)


@pytest.mark.parametrize("name", TARGETS)
@given(data=BYTES)
def test_a_parser_raises_nothing_but_refusals(name: str, data: bytes) -> None:
    """And says the same however the bytes come."""
    TARGETS[name](data)
