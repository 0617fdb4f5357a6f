"""The table of all scenarios of a run, printed at its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.faults.harness.checker import Verdict

__all__ = ["ROWS", "Row", "table"]

_COLUMNS: Final = (
    *("scenario", "accepted", "unknown", "ended", "lost", "two ends", "overlaps"),
    *("duplicates", "again", "seconds"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario."""

    name: str
    verdict: Verdict
    seconds: float
    note: str = ""
    """What to know in addition to the counts: the seed, how often the fault was injected."""

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the columns."""
        it = self.verdict
        counts = (it.accepted, it.unknown, it.terminal, len(it.lost.all), len(it.ended_twice))
        runs = (len(it.overlapping), it.duplicates, it.again)
        return (self.name, *map(str, (*counts, *runs)), f"{self.seconds:.1f}")


ROWS: Final[list[Row]] = []
"""Every scenario of this run, in the order in which they ended."""


def table(rows: Iterable[Row]) -> list[str]:
    """Return the lines of the table."""
    body = [(row.cells(), row.note) for row in rows]
    widths = [
        max(len(cells[at]) for cells in (_COLUMNS, *(each for each, _ in body)))
        for at in range(len(_COLUMNS))
    ]

    def line(cells: tuple[str, ...], note: str) -> str:
        first, *others = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join((first, *others, note)).rstrip()

    return [line(_COLUMNS, ""), *(line(cells, note) for cells, note in body)]
