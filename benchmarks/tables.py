"""Tables in Markdown, in columns that line up as plain text too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table: the first column to the left, numbers to the right."""
    cells = [[escaped(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [row_of(row, widths) for row in cells]
    rule = "|" + "|".join(
        "-" * (width + 2) if not index else "-" * (width + 1) + ":"
        for index, width in enumerate(widths)
    )
    return "\n".join([lines[0], rule + "|", *lines[1:]]) + "\n"


def row_of(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Write one row."""
    first, *rest = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return "| " + " | ".join(padded) + " |"


def escaped(cell: str) -> str:
    """Keep a cell from ending early."""
    return cell.replace("|", "\\|")


def number(value: float) -> str:
    """Write a figure with as many digits as it deserves."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def grouped(
    rows: Iterable[Mapping[str, Any]], key: str
) -> list[tuple[Any, list[Mapping[str, Any]]]]:
    """Group rows by a column, in the order in which they come."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return list(groups.items())
