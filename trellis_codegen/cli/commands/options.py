"""Options of several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from trellis_codegen.cli.requests import Format

__all__ = [
    "STRICT_HELP",
    "ChosenManifestsArgument",
    "FormatOption",
    "JsonOption",
    "QuietOption",
    "WithOption",
    "choose_format",
]

STRICT_HELP: Final = "Treat unknown fields as errors."

ChosenManifestsArgument: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="MANIFEST",
        help="The contracts; - reads standard input (default: those of [tool.trellis-gen] in pyproject.toml).",
    ),
]
FormatOption: TypeAlias = Annotated[
    Format | None, typer.Option("--format", help="How problems and results are printed (default: text).")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
WithOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="CONTRACT",
        help="Where used contracts are: a manifest, a folder of manifests or an installed package; repeatable.",
    ),
]
QuietOption: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and results only.")]


def choose_format(output_format: Format | None, *, as_json: bool) -> Format:
    """Return the format that the options choose.

    Raises:
        TyperException: they contradict each other.
    """
    if not as_json:
        return output_format or Format.TEXT
    if output_format not in (None, Format.JSON):
        raise typer.TyperException(f"--json and --format {output_format} exclude each other; choose one")
    return Format.JSON
