"""The commands and their options, as a typer application.

The module of a command is imported when the command runs, so that `--help` and a run with nothing to do stay fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from typer.main import get_command

from trellis_codegen import __version__
from trellis_codegen.breaking.rules.grades import Column, Deploy
from trellis_codegen.cli.comparing.requests import ComparisonFormat, ComparisonRequest, FailOn, Show
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.starting.requests import InitRequest, Template
from trellis_codegen.cli.targets import Choices, OtherSource

__all__ = ["application", "run_command"]

_NAME = "trellis-gen"
_COMPLETION_VARIABLE = "_TRELLIS_GEN_COMPLETE"
"""Set by the script of a shell's completion; its name is typer's choice."""
_EXIT_CODES = (
    "Exit codes: 0 success, 1 difference found by --check or break found by breaking, 2 usage, 3 invalid contract, "
    "5 output refused, 70 bug, "
    "130 interrupted."
)
_MOST_SOURCES = 2
_STRICT_HELP = "Treat unknown fields as errors."

ManifestsArgument: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="MANIFEST", help="The contracts, trellis.contract.v1 manifests; - reads standard input."
    ),
]
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

application = typer.Typer(
    name=_NAME,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run_command(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name, and return its exit code; a mistake in them is reported.

    Raises:
        SystemExit: shell completion was requested, and has been printed.
    """
    command = get_command(application)
    if os.environ.get(_COMPLETION_VARIABLE):
        command.main([*arguments], prog_name=_NAME)
    context = None
    # Not `command.main`, which ends a run whose output was closed with the exit code of drift.
    try:
        with command.make_context(_NAME, [*arguments]) as context:
            code: object = command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        subcommand = context.invoked_subcommand if context else None
        name = f"{_NAME} {subcommand}" if subcommand else _NAME
        sys.stderr.write(f'error: {_describe(error)}\nrun "{name} --help" for usage\n')
        return ExitCode.USAGE
    return code if isinstance(code, int) else ExitCode.OK


def _describe(error: typer.TyperException) -> str:
    """Return typer's error as one sentence, in the style of every other message."""
    message = error.format_message()
    options: object = getattr(error, "possibilities", None)
    if isinstance(options, list) and options:
        message = f'{error.message}; did you mean "{options[0]}"?'
    message = message.replace("Value error, ", "")  # pydantic's, by which typer converts values
    message = message.replace(". Did you mean", "; did you mean").removesuffix(".")
    return f"{message[:1].lower()}{message[1:]}"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{_NAME} {__version__}")
        raise typer.Exit


@application.callback()
def _require_command(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Generate a typed Python package from a Trellis contract."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.USAGE)


@application.command("init")
def _init(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The name of the project (default: that of the current folder)."),
    ] = None,
    *,
    template: Annotated[
        Template | None,
        typer.Option(
            help="A service with jobs, one with RPCs and jobs, or a client of a service (default: jobs)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder of the project (default: the folder NAME; without NAME the current folder).",
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="The contract of the service that the client calls."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, list the files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Write a new project: a contract, its package, a service, a demo and tests."""
    from trellis_codegen.cli.starting import command  # noqa: PLC0415 - as the module says

    return command.run(
        InitRequest(
            name=name,
            template=template,
            out=out,
            contract=contract,
            is_preview=dry_run,
            may_ask=not yes,
            format=Format.JSON if as_json else Format.TEXT,
            quiet=quiet,
        )
    )


@application.command("facade")
def _facade(
    manifest: Annotated[
        Path | None,
        typer.Argument(
            metavar="MANIFEST",
            help="The contract, a trellis.contract.v1 manifest "
            "(default: those of [tool.trellis-gen] in pyproject.toml).",
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The folder that will contain the package (default: the current folder)."
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name of the package (default: from the contract's id)."),
    ] = None,
    others: WithOption = None,
    strict: Annotated[bool | None, typer.Option("--strict/--no-strict", help=_STRICT_HELP)] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing, print a diff, and exit with 1 if there is one."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing, list the files that would be written or deleted."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Generate again whenever a manifest is saved.")
    ] = False,
    output_format: FormatOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Generate the packages of contracts, or check them."""
    sources = tuple(map(OtherSource, others or ()))
    choices = Choices(manifest=manifest, out=out, package=package, strict=strict, others=sources)
    _refuse_more_than_one({"--check": check, "--dry-run": dry_run, "--watch": watch})
    chosen_format = _choose_format(output_format, as_json=as_json)
    if watch:
        if chosen_format is not Format.TEXT:
            raise typer.TyperException("--watch prints text only")
        if manifest == Path("-"):
            raise typer.TyperException("--watch needs a file; standard input is read once")
        from trellis_codegen.cli.watch import watch as watch_saves  # noqa: PLC0415 - as the module says

        return watch_saves(choices, quiet=quiet)
    from trellis_codegen.cli import facade  # noqa: PLC0415 - as the module says

    mode = Mode.CHECK if check else Mode.PREVIEW if dry_run else Mode.WRITE
    return facade.run(Request(choices=choices, mode=mode, format=chosen_format, quiet=quiet))


@application.command("validate")
def _validate(
    manifests: ChosenManifestsArgument = None,
    *,
    others: WithOption = None,
    strict: Annotated[bool, typer.Option("--strict", help=_STRICT_HELP)] = False,
    output_format: FormatOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Report every problem of contracts, and write nothing."""
    chosen_format = _choose_format(output_format, as_json=as_json)
    from trellis_codegen.cli import validate  # noqa: PLC0415 - as the module says

    sources = tuple(map(OtherSource, others or ()))
    return validate.run(
        manifests or (), strict=strict, output_format=chosen_format, quiet=quiet, others=sources
    )


@application.command("fmt")
def _fmt(
    manifests: ChosenManifestsArgument = None,
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing, print a diff, and exit with 1 if there is one."),
    ] = False,
    quiet: QuietOption = False,
) -> int:
    """Format manifests: white space changes, and nothing else."""
    from trellis_codegen.cli import fmt  # noqa: PLC0415 - as the module says

    return fmt.run(manifests or (), check=check, quiet=quiet)


@application.command("digest")
def _digest(
    manifests: ManifestsArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print file, id and digest as JSON.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Print the digest of contracts, which identifies their meaning on the wire."""
    from trellis_codegen.cli import digest  # noqa: PLC0415 - as the module says

    return digest.run(manifests, as_json=as_json, quiet=quiet)


@application.command("breaking")
def _breaking(
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
    """Report which changes of contracts break what exists: callers, listeners, queued jobs, stored values."""
    if sources and len(sources) > _MOST_SOURCES:
        raise typer.TyperException("OLD and NEW are two contracts; compare others in another run")
    if as_json and output_format not in (None, ComparisonFormat.JSON):
        raise typer.TyperException(f"--json and --format {output_format} exclude each other; choose one")
    if prune_ignores and (as_json or output_format not in (None, ComparisonFormat.TEXT)):
        raise typer.TyperException("--prune-ignores prints text only")
    from trellis_codegen.cli import breaking  # noqa: PLC0415 - as the module says

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


def _read_columns(text: str | None) -> frozenset[Column]:
    names = [name.strip() for name in text.split(",")] if text is not None else []
    for name in names:
        if name not in [*Column]:
            raise typer.TyperException(
                f'--only: "{name}" is not a column; the columns are {", ".join(Column)}'
            )
    return frozenset(map(Column, names))


@application.command("schema")
def _schema(
    *,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of every member as Markdown instead.")
    ] = False,
) -> int:
    """Print the JSON Schema of manifests, for editors."""
    from trellis_codegen.cli import schema  # noqa: PLC0415 - as the module says

    return schema.run(as_markdown=as_markdown)


@application.command("explain")
def _explain(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            show_default=False,
            help="A member of a manifest, such as jobs.ackWaitMs, the id of a rule, or an error of the runtime. Without one, all are listed.",
        ),
    ] = None,
) -> int:
    """Print what a member of a manifest, a rule or an error of the runtime means."""
    from trellis_codegen.cli import explain  # noqa: PLC0415 - as the module says

    return explain.run(names or [])


def _refuse_more_than_one(flags: dict[str, bool]) -> None:
    given = [name for name, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise typer.TyperException(f"{' and '.join(given)} exclude each other; choose one")


def _choose_format(output_format: Format | None, *, as_json: bool) -> Format:
    if not as_json:
        return output_format or Format.TEXT
    if output_format not in (None, Format.JSON):
        raise typer.TyperException(f"--json and --format {output_format} exclude each other; choose one")
    return Format.JSON
