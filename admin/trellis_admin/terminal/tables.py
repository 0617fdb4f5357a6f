"""Tables, and how they look where they are not on a terminal. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["Column", "Table", "clean", "fit", "to_plain", "without_controls"]

_GAP: Final = "  "
_WIDE_MIN: Final = 12
_CONTROLS: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
"""But line breaks and tabs."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    is_wide: bool = False
    """Whether it is shortened to the width of a terminal. At most one column of a table is."""
    is_minor: bool = False
    """Whether a narrow terminal leaves this column out."""


@dataclass(slots=True)
class Table:
    """Rows of cells. A cell is one line."""

    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def add(self, *cells: object) -> None:
        """Add a row. Texts of jobs may hold anything: control characters are removed."""
        self.rows.append(tuple(clean(str(cell)) for cell in cells))


def clean(text: str) -> str:
    """Return the first line of a text without the characters that steer a terminal."""
    line = text.strip().split("\n", 1)[0]
    return "".join(character if character.isprintable() else " " for character in line).strip()


def without_controls(text: str) -> str:
    """Return lines without the characters that steer a terminal or cannot be written to one."""
    return _CONTROLS.sub(" ", text)


def fit(table: Table, width: int) -> tuple[Table, list[int]]:
    """Return what of a table fits into a width, and the width of each column.

    Columns that are empty are left out, then minor ones, the last one first. The wide column takes what is left.
    """
    kept = [
        at
        for at in range(len(table.columns))
        if not table.rows or any(row[at] not in {"-", ""} for row in table.rows)
    ]
    natural = {at: max(len(table.columns[at].title), *(len(row[at]) for row in table.rows), 1) for at in kept}
    least = {at: min(natural[at], _WIDE_MIN) if table.columns[at].is_wide else natural[at] for at in kept}
    for at in reversed(kept.copy()):
        if sum(least[one] for one in kept) + len(_GAP) * (len(kept) - 1) <= width:
            break
        if table.columns[at].is_minor:
            kept.remove(at)
    left = width - sum(least[at] for at in kept) - len(_GAP) * (len(kept) - 1)
    widths = [
        min(natural[at], least[at] + max(left, 0)) if table.columns[at].is_wide else natural[at]
        for at in kept
    ]
    fitting = Table(
        tuple(table.columns[at] for at in kept), [tuple(row[at] for at in kept) for row in table.rows]
    )
    return fitting, widths


def to_plain(table: Table) -> str:
    """Return a table as aligned text, with all of every cell: for pipes, files and `grep`."""
    lines = [tuple(column.title for column in table.columns), *table.rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(table.columns))]
    return "\n".join(
        _GAP.join(
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )
