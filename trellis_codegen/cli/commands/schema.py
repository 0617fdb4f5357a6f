"""`trellis-gen schema`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["run"]


def run(
    *,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of every member as Markdown instead.")
    ] = False,
) -> int:
    """Run the command."""
    from trellis_codegen.cli import schema  # noqa: PLC0415 - `--help` needs none of it

    return schema.run(as_markdown=as_markdown)
