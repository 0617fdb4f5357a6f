"""The verbs and their options; the module of a verb is imported when it runs, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from trellis_codegen.cli.findings import Format
from trellis_codegen.cli.guard import guarded
from trellis_codegen.cli.requests import Mode, Request
from trellis_codegen.cli.targets import Choices

__all__ = ["FormatOption", "QuietOption", "application"]

FormatOption: TypeAlias = Annotated[
    Format, typer.Option("--format", help="How problems and results are printed.")
]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors and results only, no warnings.")
]

application = typer.Typer(
    name="trellis-gen",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:
    if value:
        import importlib.metadata  # noqa: PLC0415 - 30 ms that only this needs

        typer.echo(f"trellis-gen {importlib.metadata.version('trellis-codegen')}")
        raise typer.Exit


@application.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Generate a typed Python package from a Trellis contract.

    Exit codes: 0 fine, 1 drift found, 2 usage, 3 invalid contract, 5 output refused, 130 interrupted.
    """


@application.command("facade")
def _facade(
    manifest: Annotated[
        Path | None,
        typer.Argument(
            help="The contract: a trellis.contract.v1 manifest.",
            show_default="those of [tool.trellis-gen] in pyproject.toml",
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder that the package is written into.", show_default="the current one"),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(help="The package's name.", show_default="the contract's id, as in orders_participant"),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option("--strict/--no-strict", help="Treat fields that the format does not have as errors."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; print what would change, and exit with 1 if anything would."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing; name the files that would be written or deleted."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: generate again whenever a manifest is saved.")
    ] = False,
    form: FormatOption = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Generate the packages of contracts, or check that they are up to date."""
    if check + dry_run + watch > 1:
        raise typer.BadParameter("--check, --dry-run and --watch exclude each other")
    if watch and (as_json or form is not Format.TEXT):
        raise typer.BadParameter("--watch prints text only")
    choices = Choices(manifest=manifest, out=out, package=package, strict=strict)
    if watch:
        from trellis_codegen.cli.watch import watch as watch_saves  # noqa: PLC0415 - keeps --help quick

        raise typer.Exit(guarded(lambda: watch_saves(choices, quiet=quiet)))
    from trellis_codegen.cli import facade  # noqa: PLC0415 - likewise

    mode = Mode.CHECK if check else Mode.PREVIEW if dry_run else Mode.WRITE
    request = Request(choices=choices, mode=mode, form=Format.JSON if as_json else form, quiet=quiet)
    raise typer.Exit(guarded(lambda: facade.run(request)))


ManifestsArgument: TypeAlias = Annotated[
    list[Path], typer.Argument(help="The contracts: trellis.contract.v1 manifests.", show_default=False)
]


@application.command("validate")
def _validate(
    manifests: ManifestsArgument,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Treat fields that the format does not have as errors.")
    ] = False,
    form: FormatOption = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Say everything that is wrong with contracts; write nothing."""
    from trellis_codegen.cli import validate  # noqa: PLC0415 - keeps --help quick

    form = Format.JSON if as_json else form
    raise typer.Exit(guarded(lambda: validate.run(manifests, strict=strict, form=form, quiet=quiet)))


@application.command("digest")
def _digest(
    manifests: ManifestsArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print file, id and digest as JSON.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Print the digest of contracts: what they mean on the wire, whatever words and order they have."""
    from trellis_codegen.cli import digest  # noqa: PLC0415 - keeps --help quick

    raise typer.Exit(guarded(lambda: digest.run(manifests, as_json=as_json, quiet=quiet)))


@application.command("schema")
def _schema() -> None:
    """Print the JSON Schema of manifests, for editors."""
    from trellis_codegen.cli import schema  # noqa: PLC0415 - keeps --help quick

    raise typer.Exit(guarded(schema.run))
