"""A group that lists where no command is named: `trellis queues --json` is `trellis queues list --json`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

__all__ = ["ListByDefault"]


class ListByDefault(TyperGroup):
    """Runs `list` where the first argument is missing, or an option other than `--help`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: the type is private to typer
        """Name the command."""
        if not args or (args[0].startswith("-") and args[0] not in {"-h", "--help"}):
            args = ["list", *args]
        return super().parse_args(ctx, args)
