"""Help and completion import neither the runtime nor pydantic nor what a command works with: they take less than 0.15 s on an idle machine."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from trellis_admin.commands.lazy import COMMANDS, Command
from trellis_admin.projection import Database

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
        "trellis_admin.commands.lazy",
        "trellis_admin.commands.values",
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_of_the_table_exists(command: Command) -> None:
    app = import_module(f"trellis_admin.commands.{command.module}").app

    assert isinstance(app, typer.Typer)


def test_the_help_of_a_command_imports_nothing_heavy() -> None:
    commands = [
        *(command.name for command in COMMANDS),
        "jobs list",
        "dead replay",
        "provision plan",
        "audit export",
    ]

    heavy = {
        command: HEAVY & modules for command, modules in zip(commands, imported_by(*commands), strict=True)
    }

    # The audit itself runs before the command below it is known, and typer converts its options by means of pydantic.
    assert heavy.pop("audit export") <= {"pydantic"}
    assert heavy == {command: set() for command in commands[:-1]}


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("jobs li", "list"),
        ("dead replay 01M8PRXMT1V6EVAZNGEAQ1BY9M --dry", "--dry-run"),
        ("jobs list --limit 5 -q pack -q ship state:dead --state ex", "expired"),
        ("queues pause pa", "pack"),
    ],
)
def test_completion_imports_nothing_heavy(line: str, completed: str, tmp_path: Path) -> None:
    words = f"trellis {line}"
    (tmp_path / "trellis").mkdir()
    database = Database.open(tmp_path / "trellis/jobs-1.sqlite")
    for name in ("charge", "pack"):
        database.connection.execute(
            "INSERT INTO queue (prefix, service, name) VALUES (?, 'shop', ?)", (name, name)
        )
    database.close()
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, ""],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "admin",
        env={
            **os.environ,
            "_TRELLIS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
            "XDG_CACHE_HOME": str(tmp_path),
        },
    )

    assert ended.stdout.split() == [completed]
    assert (HEAVY - {"sqlite3"}) & set(ended.stderr.split()) == set()


def test_no_command_is_listed_twice() -> None:
    names = [command.name for command in COMMANDS]

    assert sorted(names) == sorted(set(names))
