"""`trellis-gen validate`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from trellis_codegen.cli.commands.options import (
    STRICT_HELP,
    ChosenManifestsArgument,
    FormatOption,
    JsonOption,
    QuietOption,
    WithOption,
    choose_format,
)
from trellis_codegen.cli.targets import OtherSource

__all__ = ["run"]


def run(
    manifests: ChosenManifestsArgument = None,
    *,
    others: WithOption = None,
    strict: Annotated[bool, typer.Option("--strict", help=STRICT_HELP)] = False,
    output_format: FormatOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Run the command."""
    chosen_format = choose_format(output_format, as_json=as_json)
    from trellis_codegen.cli import validate  # noqa: PLC0415 - `--help` needs none of it

    sources = tuple(map(OtherSource, others or ()))
    return validate.run(
        manifests or (), strict=strict, output_format=chosen_format, quiet=quiet, others=sources
    )
