"""Tables, and how they look where they are not on a terminal. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["Column", "Table", "clean", "fit", "to_plain", "without_controls"]

_GAP: Final = "  "
_WIDE_MIN: Final = 10
_WIDE_ENOUGH: Final = 20
"""A wide column gets this much before minor columns are shown."""
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
    """Whether it is shortened to the width of a terminal; where several are, the widest one first."""
    is_minor: bool = False
    """Whether a narrow terminal leaves this column out."""
    is_place: bool = False
    """Whether its cells are `service/queue`. A narrow terminal leaves out a service that all of them have in common, and shortens
    the others on the left: the name of the queue stays."""


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

    Columns that are empty are left out, then minor ones, the last one first. What is wide, or a place, takes what is left. Ids are
    never shortened: a person copies them.
    """
    kept = [
        at
        for at in range(len(table.columns))
        if not table.rows or any(row[at] not in {"-", ""} for row in table.rows)
    ]
    columns = table.columns
    cells = {at: [row[at] for row in table.rows] for at in kept}
    for at in kept:
        if columns[at].is_place and _needed(_natural(columns, cells)) > width:
            cells[at] = _without_common_service(cells[at])
    widths = _natural(columns, cells)
    enough = {at: min(widths[at], _WIDE_ENOUGH) if columns[at].is_wide else widths[at] for at in kept}
    for at in reversed(kept):
        if columns[at].is_minor and _needed(enough) > width:
            del enough[at], widths[at]
    _shorten({at: columns[at].is_wide for at in widths}, widths, width)
    _shorten({at: columns[at].is_place for at in widths}, widths, width)
    for at in widths:
        if columns[at].is_place:
            cells[at] = [_keep_right(cell, widths[at]) for cell in cells[at]]
    rows = [tuple(cells[at][row] for at in widths) for row in range(len(table.rows))]
    return Table(tuple(columns[at] for at in widths), rows), list(widths.values())


def _natural(columns: tuple[Column, ...], cells: dict[int, list[str]]) -> dict[int, int]:
    return {at: max(len(columns[at].title), *map(len, column), 1) for at, column in cells.items()}


def _needed(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _shorten(may: dict[int, bool], widths: dict[int, int], width: int) -> None:
    """Take from the widest of the columns that may be shortened until all fit, or none is left."""
    while _needed(widths) > width:
        widest = max((at for at in widths if may[at]), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= _WIDE_MIN:
            return
        widths[widest] -= 1


def _without_common_service(places: list[str]) -> list[str]:
    services = {place.rpartition("/")[0] for place in places}
    return [place.rpartition("/")[2] for place in places] if len(services) == 1 else places


def _keep_right(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


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
