"""
Plots as SVG: bars, and lines over one or two logarithmic axes.

Written by hand, small and the same for the same numbers, so that a new run shows as a
readable change. On white, so that they can be read on a dark page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
LEFT: Final = 64
LABELS: Final = 230
"""Room for the words beside bars."""
HEIGHT: Final = 360
TOP: Final = 64
BOTTOM: Final = 52
RIGHT: Final = 24
BAR: Final = 30
BARS_TOP: Final = 48
OURS: Final = "#0b63ce"
COLOURS: Final = ("#7a8699", "#c77700", "#8a3ffc", "#c2185b", "#00897b", "#5d4037")
GRID: Final = "#e3e6ea"
INK: Final = "#1f2933"
FONT: Final = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Bar:
    """One bar: a value, and perhaps a larger one behind it, paler."""

    label: str
    value: float
    behind: float | None = None
    ours: bool = False


@dataclass(frozen=True)
class Line:
    """One line through points, in the order of x."""

    label: str
    points: Sequence[tuple[float, float]]
    ours: bool = False


@dataclass(frozen=True)
class Axis:
    """From the values of a plot to its pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value; what is below the axis lies on its end."""
        low, high, here = self.low, self.high, max(value, self.low)
        if self.logarithmic:
            low, high, here = math.log10(low), math.log10(high), math.log10(here)
        part = (here - low) / (high - low) if high > low else 0.0
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return the values that are written at the axis."""
        if self.logarithmic:
            first = math.ceil(math.log10(self.low) - 1e-9)
            last = math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        step = nice_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step)
        return [step * n for n in range(first, math.floor(self.high / step) + 1)]


def nice_step(least: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... for the distance of ticks."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))


def number(value: float) -> str:
    """Write a number as people read it."""
    if value and abs(value) < 10:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def bars(title: str, unit: str, rows: Sequence[Bar], note: str = "") -> str:
    """Draw horizontal bars, the longest to the right end."""
    most = max((max(row.value, row.behind or 0.0) for row in rows), default=1.0)
    axis = Axis(0.0, most or 1.0, LABELS, WIDTH - RIGHT - 130)
    parts = [text(16, 26, title, size=16, bold=True)]
    y = float(BARS_TOP)
    for row in rows:
        colour = OURS if row.ours else COLOURS[0]
        middle = y + BAR / 2 + 1
        parts.append(text(LABELS - 10, middle, row.label, anchor="end", bold=row.ours))
        end = row.value
        if row.behind is not None:
            parts.append(box(LABELS, y, axis.at(row.behind) - LABELS, colour, 0.3))
            end = max(end, row.behind)
        parts.append(box(LABELS, y, axis.at(row.value) - LABELS, colour))
        both = number(row.value)
        if row.behind is not None:
            both += f" / {number(row.behind)}"
        parts.append(text(axis.at(end) + 8, middle, f"{both} {unit}", bold=row.ours))
        y += BAR + 8
    if note:
        parts.append(text(16, y + 12, note, size=12))
        y += 20
    return document(y + 10, parts)


def lines(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Line],
    *,
    log_x: bool = False,
    log_y: bool = False,
    steps: bool = False,
    limit: tuple[float, str] | None = None,
) -> str:
    """
    Draw lines.

    Args:
        title: Above.
        x_label: What is to the right, with its unit.
        y_label: What is upward, with its unit.
        series: The lines; ours is drawn last and thicker.
        log_x: A logarithmic axis; all values must be above 0.
        log_y: The same; what is 0 lies at the axis.
        steps: A value holds until the next.
        limit: A height with a name, drawn across.
    """
    legend = 20.0 * math.ceil(len(series) / 2)
    bottom = HEIGHT + legend
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    high = max([*ys, limit[0] if limit else 0.0]) or 1.0
    low = min((y for y in ys if y > 0), default=1.0) if log_y else 0.0
    across = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, log_x)
    up = Axis(
        low if low < high else high / 10,
        high * (1.4 if log_y else 1.05),
        HEIGHT - BOTTOM,
        TOP,
        log_y,
    )
    parts = [text(16, 26, title, size=16, bold=True)]
    parts += grid(across, up, x_label, y_label)
    if limit is not None:
        y = up.at(limit[0])
        parts.append(path([(LEFT, y), (WIDTH - RIGHT, y)], "#d32f2f", 1, "6 4"))
        parts.append(text(WIDTH - RIGHT, y - 6, limit[1], anchor="end", size=12))
    colours = coloured(series)
    for line, colour in sorted(colours, key=lambda pair: pair[0].ours):
        points = [(across.at(x), up.at(y)) for x, y in line.points]
        parts.append(
            path(stepped(points) if steps else points, colour, 3 if line.ours else 1.8)
        )
    for index, (line, colour) in enumerate(colours):
        x = LEFT + (index % 2) * (WIDTH - LEFT) / 2
        y = HEIGHT + 4 + 20 * (index // 2)
        parts.append(path([(x, y), (x + 24, y)], colour, 3))
        parts.append(text(x + 32, y, line.label, size=12, bold=line.ours))
    return document(bottom + 8, parts)


def coloured(series: Sequence[Line]) -> list[tuple[Line, str]]:
    """Give each line a colour; ours has its own."""
    found, others = [], 0
    for line in series:
        found.append((line, OURS if line.ours else COLOURS[others % len(COLOURS)]))
        others += not line.ours
    return found


def stepped(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Hold each height until the next point."""
    found: list[tuple[float, float]] = []
    for x, y in points:
        if found:
            found.append((x, found[-1][1]))
        found.append((x, y))
    return found


def grid(across: Axis, up: Axis, x_label: str, y_label: str) -> list[str]:
    """Draw the axes with their numbers."""
    foot = up.start
    parts = [text(16, TOP - 14, y_label, size=12)]
    parts.append(text(WIDTH - RIGHT, foot + 36, x_label, anchor="end", size=12))
    for value in up.ticks():
        y = up.at(value)
        parts.append(path([(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1))
        parts.append(text(LEFT - 8, y, number(value), anchor="end", size=12))
    for value in across.ticks():
        x = across.at(value)
        parts.append(path([(x, TOP), (x, foot)], GRID, 1))
        parts.append(text(x, foot + 16, number(value), anchor="middle", size=12))
    return parts


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 14,
    bold: bool = False,
) -> str:
    """Write words, their middle at the height y."""
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x:.0f}' y='{y + size * 0.35:.0f}' text-anchor='{anchor}' "
        f"font-size='{size}'{weight}>{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, colour: str, opacity: float = 1.0) -> str:
    """Draw a bar."""
    pale = f" opacity='{opacity}'" if opacity < 1 else ""
    return (
        f"<rect x='{x:.0f}' y='{y:.0f}' width='{max(1.0, width):.1f}' "
        f"height='{BAR}' rx='3' fill='{colour}'{pale}/>"
    )


def path(
    points: Sequence[tuple[float, float]], colour: str, width: float, dashes: str = ""
) -> str:
    """Draw a line through pixels."""
    dashed = f" stroke-dasharray='{dashes}'" if dashes else ""
    coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f"<polyline points='{coordinates}' fill='none' stroke='{colour}' "
        f"stroke-width='{width}'{dashed}/>"
    )


def document(height: float, parts: Sequence[str]) -> str:
    """Put a picture together."""
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' "
        f"width='{WIDTH}' height='{height:.0f}' {FONT} fill='{INK}'>"
    )
    ground = "<rect width='100%' height='100%' fill='#ffffff'/>"
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"
