"""Pictures: well-formed, the same for the same numbers, nothing outside of them."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from benchmarks.plots import OURS, Axis, Bar, Line, bars, lines, nice_step, number

SVG = "{http://www.w3.org/2000/svg}"
BARS = [Bar("nginx", 23.0), Bar("sidecar <&>", 30.0, 60.0, ours=True)]
SERIES = [
    Line("ours", [(1, 10), (1000, 0.0)], ours=True),
    Line("other", [(1, 200), (1000, 2000)]),
]


def points(picture: str) -> list[tuple[float, float]]:
    """Find the corners of all lines."""
    found = re.findall(r"points='([^']*)'", picture)
    pairs = (pair.split(",") for text in found for pair in text.split())
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(bars("title", "us", BARS, "note"), id="bars"),
        pytest.param(lines("t", "x", "y", SERIES, log_x=True, log_y=True), id="log"),
        pytest.param(lines("t", "x", "y", SERIES, limit=(5000, "quota")), id="limit"),
        pytest.param(lines("t", "x", "y", SERIES, steps=True), id="steps"),
        pytest.param(lines("t", "x", "y", [Line("flat", [(0, 0), (1, 0)])]), id="flat"),
    ],
)
def test_a_picture_is_well_formed_and_keeps_within_itself(picture: str) -> None:
    """XML with a size; every line lies within."""
    root = ET.fromstring(picture)

    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.tag == f"{SVG}svg"
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points(picture))


def test_a_bar_is_as_long_as_its_value() -> None:
    """Half the value, half the bar; the paler one behind goes further."""
    root = ET.fromstring(bars("t", "us", BARS))

    widths = [
        float(r.attrib["width"]) for r in root.iter(f"{SVG}rect") if "rx" in r.attrib
    ]
    assert widths[0] == pytest.approx(widths[1] * 23 / 60, abs=0.2)
    assert widths[2] == pytest.approx(widths[1] / 2, abs=0.2)


def test_ours_is_drawn_last_and_in_its_colour() -> None:
    """It lies above the others, wherever it stands in the list."""
    picture = lines("t", "x", "y", SERIES)

    thick = [
        m.start() for m in re.finditer(f"stroke='{OURS}' stroke-width='3'", picture)
    ]
    other = picture.index("stroke-width='1.8'")
    assert len(thick) == 2  # the line and its sign below
    assert thick[0] > other


def test_names_cannot_break_a_picture() -> None:
    """They are escaped."""
    assert "sidecar &lt;&amp;&gt;" in bars("t", "us", BARS)


@given(st.floats(1e-6, 1e9))
def test_ticks_are_round_numbers(least: float) -> None:
    """1, 2 or 5 by a power of ten, and not far above what was asked for."""
    step = nice_step(least)

    assert f"{step:e}"[0] in "125"
    assert least * (1 - 1e-6) <= step <= least * 2.6


def test_a_logarithmic_axis_has_the_powers_of_ten() -> None:
    """And what is below it lies on its end."""
    axis = Axis(1, 1000, 0, 300, logarithmic=True)

    assert axis.ticks() == [1, 10, 100, 1000]
    assert [axis.at(v) for v in (0, 1, 10, 1000)] == pytest.approx([0, 0, 100, 300])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (3.14159, "3.14"), (23.4, "23"), (1234567.8, "1,234,568")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    """As many digits as help."""
    assert number(value) == text
