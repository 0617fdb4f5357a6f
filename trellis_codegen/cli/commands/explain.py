"""`trellis-gen explain`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["run"]


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            show_default=False,
            help="A member of a manifest, such as jobs.ackWaitMs, the id of a rule, or an error of the runtime. Without one, all are listed.",
        ),
    ] = None,
) -> int:
    """Run the command."""
    from trellis_codegen.cli import explain  # noqa: PLC0415 - `--help` needs none of it

    return explain.run(names or [])
