"""Writes to stdout: for a person on a terminal, or for a pipe. A pipe that is closed ends the command quietly."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from trellis_admin.exits import ExitCode
from trellis_admin.terminal.tables import Table, fit, to_plain, without_controls
from trellis_admin.terminal.wire_json import to_wire

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["print_json", "print_table", "print_text", "to_rich"]

_STATE_STYLES: Final = {
    "active": "blue",
    "retry": "yellow",
    "completed": "green",
    "failed": "red",
    "dead": "bold red",
    "stale": "magenta",
    "blocked": "magenta",
    "paused": "yellow",
    "silent": "bold red",
}


def print_text(text: str) -> None:
    """Print lines. Texts of jobs may hold anything: control characters are removed."""
    try:
        sys.stdout.write(without_controls(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _end_quietly()


def print_json(kind: str, content: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Print one JSON object: its version, its kind, and the content (docs/reference/cli-json.md)."""
    print_text(
        json.dumps({"v": 1, "kind": kind, **{k: to_wire(v) for k, v in content.items()}}, indent=indent)
    )


def print_table(table: Table) -> None:
    """Print a table: in the width of a terminal, and whole where there is none."""
    if not sys.stdout.isatty():
        print_text(to_plain(table))
        return
    from rich.console import Console  # noqa: PLC0415 - a pipe does not need it

    console = Console(highlight=False)
    try:
        console.print(to_rich(table, console.width))
    except BrokenPipeError:
        _end_quietly()


def to_rich(table: Table, width: int) -> RichTable:
    """Return a table for a terminal: in its width, with states in colour."""
    from rich.table import Table as RichTable  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    fitting, widths = fit(table, width)
    shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column, column_width in zip(fitting.columns, widths, strict=True):
        shown.add_column(
            column.title, justify=column.align, no_wrap=True, overflow="ellipsis", width=column_width
        )
    for row in fitting.rows:
        shown.add_row(*(Text(cell, style=_STATE_STYLES.get(cell.split(" ")[0], "")) for cell in row))
    return shown


def _end_quietly() -> NoReturn:
    # Python flushes stdout at its end, which would fail again, with a message.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(ExitCode.CLOSED_PIPE)
