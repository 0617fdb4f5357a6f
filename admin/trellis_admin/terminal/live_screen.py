"""A screen of tables that is drawn again in place, and left as it was found."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from trellis_admin.terminal.output import to_rich
from trellis_admin.terminal.tables import Table

__all__ = ["LiveScreen"]


class LiveScreen:
    """Use it with `with`, on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the screen of before again."""
        self._live.__exit__(kind, error, trace)

    def show(self, tables: Sequence[tuple[Table, str]]) -> None:
        """Draw tables, each with the text below it."""
        parts = [part for table, note in tables for part in (to_rich(table, self._console.width), Text(note))]
        self._live.update(Group(*parts), refresh=True)
