"""`--help` imports neither the runtime nor what a command works with: it takes less than 0.15 s on an idle machine."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer
from trellis_admin.commands.lazy import COMMANDS, Command

from tests.house.sources import ROOT

HEAVY = {
    "trellis_nats",
    "pydantic",
    "nats",
    "asyncio",
    "sqlite3",
    "starlette",
    "jinja2",
    "uvicorn",
    "trellis_codegen",
}
PROGRAM = """
import sys
from trellis_admin.cli import main
for command in sys.argv[1].split(","):
    sys.argv = ["trellis", *command.split(), "--help"]
    try:
        main()
    except SystemExit:
        pass
    print(*sorted(sys.modules), file=sys.stderr)
"""


def imported_by(*commands: str) -> list[set[str]]:
    """Print the help of each command, one after the other; return what is imported then."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(commands)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "admin",
    )
    assert ended.stdout.count("Usage: trellis") == len(commands)
    return [set(line.split()) for line in ended.stderr.splitlines()]


def test_the_help_of_trellis_imports_no_command() -> None:
    (modules,) = imported_by("")

    assert HEAVY & modules == set()
    assert {name for name in modules if name.startswith("trellis_admin.commands.")} == {
        "trellis_admin.commands.lazy"
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_of_the_table_exists(command: Command) -> None:
    app = import_module(f"trellis_admin.commands.{command.module}").app

    assert isinstance(app, typer.Typer)


def test_the_help_of_a_command_imports_nothing_heavy() -> None:
    commands = [command.name for command in COMMANDS if command.name not in {"audit", "provision"}]

    # typer converts the options of a command with pydantic.
    heavy = {
        command: (HEAVY - {"pydantic"}) & modules
        for command, modules in zip(commands, imported_by(*commands), strict=True)
    }

    assert heavy == {command: set() for command in commands}


def test_no_command_is_listed_twice() -> None:
    names = [command.name for command in COMMANDS]

    assert sorted(names) == sorted(set(names))
