"""Writes the pages of the commands and their options, from the commands themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum, EnumMeta
from importlib import import_module
from typing import Final

from trellis_admin.commands.lazy import COMMANDS
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from trellis_codegen.cli.commands.lazy import COMMANDS as GENERATOR_COMMANDS
from trellis_codegen.cli.commands.lazy import load_command

__all__ = ["command_page", "command_pages"]

_SHARED: Final = 9
"""An option of so many commands is listed once."""
_HEAD: Final = ("| | what | default |", "|---|---|---|")
_GENERATOR: Final = (
    "Generates packages from contracts, and checks contracts. [Generating packages](../../guides/generating.md) "
    "says how it is used, and lists its exit codes."
)
_OPERATORS: Final = (
    "Shows and steers jobs, and looks after servers. [The command `trellis`](../cli.md) says what its commands have in "
    "common."
)


def command_pages() -> dict[str, str]:
    """Return the text of each page by its path in the site."""
    return {
        "reference/commands/trellis-gen.md": command_page(
            "trellis-gen",
            _GENERATOR,
            {f"trellis-gen {command.name}": load_command(command.name) for command in GENERATOR_COMMANDS},
        ),
        "reference/commands/trellis.md": command_page(
            "trellis",
            _OPERATORS,
            {
                f"trellis {command.name}": get_command(
                    import_module(f"trellis_admin.commands.{command.module}").app
                )
                for command in COMMANDS
            },
        ),
    }


def command_page(name: str, about: str, commands: dict[str, object]) -> str:
    """Return the page of a program, a section for each command and each command of a group."""
    leaves = [leaf for called, command in commands.items() for leaf in _leaves(called, command)]
    counted = Counter(_row(option) for _, command in leaves for option in _options(command))
    shared = [row for row, times in counted.items() if times >= _SHARED]
    lines = [f"# `{name}`: commands and options", "", about]
    if shared:
        lines += ["", "## In many commands", "", "These are not repeated below.", "", *_HEAD, *shared]
    for path, command in leaves:
        lines += ["", f"## `{path}`", "", *_section(path, command, shared)]
    return "\n".join(lines) + "\n"


def _leaves(path: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    match command:
        case TyperGroup():
            for name, inner in command.commands.items():
                yield from _leaves(f"{path} {name}", inner)
        case TyperCommand() if not command.hidden:
            yield path, command
        case _:
            pass


def _section(path: str, command: TyperCommand, shared: list[str]) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = _options(command)
    usage = " ".join([path, *(_placeholder(one) for one in arguments), *(["[OPTIONS]"] if options else [])])
    yield from [f"```text\n{usage}\n```", "", _paragraphs(command.help or "")]
    rows = [
        f"| `{_cell(_placeholder(one))}` | {_cell(one.help or '')} | {_default(one)} |" for one in arguments
    ]
    rows += [row for option in options if (row := _row(option)) not in shared]
    if rows:
        yield from ["", *_HEAD, *rows]


def _options(command: TyperCommand) -> list[TyperOption]:
    return [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]


def _row(option: TyperOption) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    kind = getattr(option.type_descriptor, "annotation", None)
    choices = "|".join(map(str, kind)) if isinstance(kind, EnumMeta) else ""
    value = "" if option.is_flag else option.metavar or choices
    return f"| `{_cell(f'{names} {value}'.strip())}` | {_cell(option.help or '')} | {_default(option)} |"


def _placeholder(argument: TyperArgument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    many = "…" if not name.endswith("...") and (argument.nargs != 1 or argument.multiple) else ""
    return (name if argument.required or name.startswith("[") else f"[{name}]") + many


def _default(parameter: TyperArgument | TyperOption) -> str:
    value = parameter.default
    if value is None or value is False or value == () or callable(value) or not parameter.show_default:
        return ""
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _paragraphs(text: str) -> str:
    return "\n\n".join(_cell(part.replace("\b", "")).replace("\\|", "|") for part in text.split("\n\n"))
