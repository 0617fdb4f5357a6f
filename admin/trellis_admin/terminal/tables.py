"""Tables, and how they look where they are not on a terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["Column", "Table", "clean", "to_plain"]

_GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    is_wide: bool = False
    """Whether a narrow terminal shortens this column first."""


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
