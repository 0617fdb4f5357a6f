"""`trellis-gen breaking`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from trellis_codegen.breaking.rules.grades import Column, Deploy
from trellis_codegen.cli.commands.options import JsonOption, QuietOption
from trellis_codegen.cli.comparing.requests import ComparisonFormat, ComparisonRequest, FailOn, Show

__all__ = ["run"]

_MOST_SOURCES: Final = 2

SourcesArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OLD] [NEW]",
        help="A manifest, git:REVISION[:PATH], git:merge-base(A,B)[:PATH], or the folder of a generated package. A "
        "revision alone is OLD, anything else alone is NEW (default: those of [tool.trellis-gen] in pyproject.toml).",
    ),
]
FailOnOption: TypeAlias = Annotated[
    FailOn, typer.Option("--fail-on", help="From which grade on a change fails the run.")
]
DeployOption: TypeAlias = Annotated[
    Deploy,
    typer.Option(help="Whether old and new instances run side by side, or all stop before the first starts."),
]
ShowOption: TypeAlias = Annotated[
    Show, typer.Option(help="With safe, changes that break nothing are printed too, with the reason.")
]
OnlyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN,…", help=f"Report what breaks one of these parties only: {', '.join(Column)}."
    ),
]
SamplesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Samples of real payloads, which trellis audit export writes: one that only OLD reads is a break.",
    ),
]
PruneOption: TypeAlias = Annotated[
    bool, typer.Option("--prune-ignores", help="List the ignores that match nothing, and no change.")
]
ExplainOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="RULE", help="Print what a rule means, and compare nothing.")
]
ListOption: TypeAlias = Annotated[bool, typer.Option("--list", help="Print every rule, and compare nothing.")]
ComparisonFormatOption: TypeAlias = Annotated[
    ComparisonFormat | None, typer.Option("--format", help="How the result is printed (default: text).")
]


def run(
    sources: SourcesArgument = None,
    *,
    fail_on: FailOnOption = FailOn.BREAK,
    deploy: DeployOption = Deploy.ROLLING,
    show: ShowOption = Show.RISKY,
    only: OnlyOption = None,
    samples: SamplesOption = None,
    prune_ignores: PruneOption = False,
    explain: ExplainOption = None,
    list_rules: ListOption = False,
    output_format: ComparisonFormatOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Run the command."""
    if sources and len(sources) > _MOST_SOURCES:
        raise typer.TyperException("OLD and NEW are two contracts; compare others in another run")
    if as_json and output_format not in (None, ComparisonFormat.JSON):
        raise typer.TyperException(f"--json and --format {output_format} exclude each other; choose one")
    judging = {
        "--fail-on": fail_on is not FailOn.BREAK,
        "--show": show is not Show.RISKY,
        "--only": only is not None,
        "--json": as_json,
        "--format": output_format not in (None, ComparisonFormat.TEXT),
    }
    comparing = {
        "OLD and NEW": bool(sources),
        "--deploy": deploy is not Deploy.ROLLING,
        "--samples": samples is not None,
        "--prune-ignores": prune_ignores,
        **judging,
    }
    _refuse_without_effect("--explain" if explain is not None else None, {"--list": list_rules, **comparing})
    _refuse_without_effect("--list" if list_rules else None, comparing)
    _refuse_without_effect("--prune-ignores" if prune_ignores else None, judging)
    from trellis_codegen.cli import breaking  # noqa: PLC0415 - `--help` needs none of it

    if explain is not None:
        return breaking.explain(explain)
    if list_rules:
        return breaking.print_rules()
    return breaking.run(
        ComparisonRequest(
            sources=tuple(sources or ()),
            format=ComparisonFormat.JSON if as_json else output_format or ComparisonFormat.TEXT,
            fail_on=fail_on,
            deploy=deploy,
            show=show,
            only=_read_columns(only),
            samples=samples,
            prune_ignores=prune_ignores,
            quiet=quiet,
        )
    )


def _refuse_without_effect(chosen: str | None, others: dict[str, bool]) -> None:
    """Refuse what is given next to an option that leaves it without effect."""
    given = [name for name, is_given in others.items() if is_given]
    if chosen is not None and given:
        raise typer.TyperException(f"{chosen} does not take {', '.join(given)}; leave that out")


def _read_columns(text: str | None) -> frozenset[Column]:
    names = [name.strip() for name in text.split(",")] if text is not None else []
    for name in names:
        if name not in [*Column]:
            raise typer.TyperException(
                f'--only: "{name}" is not a column; the columns are {", ".join(Column)}'
            )
    return frozenset(map(Column, names))
