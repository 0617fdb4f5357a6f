"""The commands and their options: one parser, of the standard library, because it loads in a hundredth of a second.

The module of a command is imported when the command runs, so that `--help` and a run with nothing to do stay fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from trellis_codegen import __version__
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.targets import Choices

__all__ = ["run_command"]

_SHELLS = ("bash", "zsh", "fish", "powershell")
_EXIT_CODES = (
    "exit codes: 0 success, 1 drift found, 2 usage, 3 invalid contract, 5 output refused, 130 interrupted"
)


class _Arguments(argparse.Namespace):
    """What was parsed; a command has those that its parser declares."""

    command: str | None = None
    version: bool
    show_completion: str | None
    manifest: Path | None
    manifests: list[Path]
    out: Path | None
    package: str | None
    strict: bool | None
    check: bool
    dry_run: bool
    watch: bool
    format: str
    json: bool
    quiet: bool

    @property
    def chosen_format(self) -> Format:
        """The format of the output; `--json` wins."""
        return Format.JSON if self.json else Format(self.format)


class _Parser(argparse.ArgumentParser):
    """A parser that ends with one sentence, and with the option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f'error: {message}\nrun "{self.prog} --help" for what it takes\n')

    def refuse_unknown(self, unknown: Sequence[str]) -> NoReturn:
        """End the run because of arguments that the command does not have."""
        from trellis_codegen.problems import did_you_mean  # noqa: PLC0415 - only a mistake needs it

        first = unknown[0]
        if not first.startswith("-"):
            self.error(f'unexpected argument "{first}"')
        options = [name for name in self._option_string_actions if name.startswith("--")]
        hint = did_you_mean(first.partition("=")[0], options)
        self.error(f'no option "{first}"{f"; {hint}" if hint else ""}')


def run_command(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name, and return its exit code.

    Raises:
        SystemExit: for `--help`, and for arguments that no command has; the reason has been printed.
    """
    parser, commands = _build_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # noqa: PLC0415 - only a shell that completes needs it

        argcomplete.autocomplete(parser)
    parsed, unknown = parser.parse_known_args(arguments, _Arguments())
    if unknown:
        commands.get(parsed.command or "", parser).refuse_unknown(unknown)
    if parsed.version:
        return _print_version()
    if parsed.show_completion:
        return _print_completion(parsed.show_completion)
    if parsed.command is None:
        parser.print_help(sys.stderr)
        return ExitCode.USAGE
    return _RUN[parsed.command](parsed, commands[parsed.command])


def _build_parser() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="trellis-gen",
        description="Generate a typed Python package from a Trellis contract.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "--show-completion",
        choices=_SHELLS,
        metavar="SHELL",
        help=f"print the completion for {', '.join(_SHELLS)}",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    return parser, {
        name: add(
            commands.add_parser(
                name, help=words, description=f"{words[:1].upper()}{words[1:]}.", allow_abbrev=False
            )
        )
        for name, (words, add) in _COMMANDS.items()
    }


def _add_facade(parser: _Parser) -> _Parser:
    parser.add_argument(
        "manifest",
        type=Path,
        nargs="?",
        help="the contract, a trellis.contract.v1 manifest (default: those of [tool.trellis-gen] in pyproject.toml)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="the folder that gets the package (default: the current folder)",
    )
    parser.add_argument(
        "--package", metavar="NAME", help="the name of the package (default: from the contract's id)"
    )
    parser.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        help="treat fields that the format does not have as errors",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check",
        action="store_true",
        help="write nothing, print what would change, and exit with 1 if anything would",
    )
    mode.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing, name the files that would be written or deleted",
    )
    mode.add_argument("--watch", action="store_true", help="generate again whenever a manifest is saved")
    return _add_output_options(parser)


def _add_validate(parser: _Parser) -> _Parser:
    _add_manifests(parser)
    parser.add_argument(
        "--strict", action="store_true", help="treat fields that the format does not have as errors"
    )
    return _add_output_options(parser)


def _add_digest(parser: _Parser) -> _Parser:
    _add_manifests(parser)
    parser.add_argument("--json", action="store_true", help="print file, id and digest as JSON")
    return _add_quiet(parser)


def _add_nothing(parser: _Parser) -> _Parser:
    return parser


def _add_manifests(parser: _Parser) -> None:
    parser.add_argument(
        "manifests",
        type=Path,
        nargs="+",
        metavar="manifest",
        help="the contracts, trellis.contract.v1 manifests",
    )


def _add_output_options(parser: _Parser) -> _Parser:
    parser.add_argument(
        "--format",
        choices=[form.value for form in Format],
        default=Format.TEXT.value,
        help="how problems and results are printed (default: text)",
    )
    parser.add_argument("--json", action="store_true", help="short for --format json")
    return _add_quiet(parser)


def _add_quiet(parser: _Parser) -> _Parser:
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors and results only")
    return parser


def _run_facade(arguments: _Arguments, parser: _Parser) -> int:
    choices = Choices(
        manifest=arguments.manifest, out=arguments.out, package=arguments.package, strict=arguments.strict
    )
    if arguments.watch:
        if arguments.chosen_format is not Format.TEXT:
            parser.error("--watch prints text only")
        from trellis_codegen.cli.watch import watch  # noqa: PLC0415 - as the module says

        return watch(choices, quiet=arguments.quiet)
    from trellis_codegen.cli import facade  # noqa: PLC0415 - as the module says

    mode = Mode.CHECK if arguments.check else Mode.PREVIEW if arguments.dry_run else Mode.WRITE
    return facade.run(
        Request(choices=choices, mode=mode, format=arguments.chosen_format, quiet=arguments.quiet)
    )


def _run_validate(arguments: _Arguments, _parser: _Parser) -> int:
    from trellis_codegen.cli import validate  # noqa: PLC0415 - as the module says

    return validate.run(
        arguments.manifests,
        strict=bool(arguments.strict),
        output_format=arguments.chosen_format,
        quiet=arguments.quiet,
    )


def _run_digest(arguments: _Arguments, _parser: _Parser) -> int:
    from trellis_codegen.cli import digest  # noqa: PLC0415 - as the module says

    return digest.run(arguments.manifests, as_json=arguments.json, quiet=arguments.quiet)


def _run_schema(_arguments: _Arguments, _parser: _Parser) -> int:
    from trellis_codegen.cli import schema  # noqa: PLC0415 - as the module says

    return schema.run()


def _print_version() -> int:
    sys.stdout.write(f"trellis-gen {__version__}\n")
    return ExitCode.OK


def _print_completion(shell: str) -> int:
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415 - only this needs it

    sys.stdout.write(shellcode(["trellis-gen"], shell=shell))
    return ExitCode.OK


_COMMANDS: dict[str, tuple[str, Callable[[_Parser], _Parser]]] = {
    "facade": ("generate the packages of contracts, or check that they are up to date", _add_facade),
    "validate": ("report every problem of contracts; write nothing", _add_validate),
    "digest": ("print the digest of contracts: their meaning on the wire, in 43 characters", _add_digest),
    "schema": ("print the JSON Schema of manifests, for editors", _add_nothing),
}
_RUN: dict[str, Callable[[_Arguments, _Parser], int]] = {
    "facade": _run_facade,
    "validate": _run_validate,
    "digest": _run_digest,
    "schema": _run_schema,
}
