"""The reference of the command line names every command, every check of `doctor` and every kind of JSON."""

import re
from importlib import import_module

import typer
from trellis_admin.commands.lazy import COMMANDS
from trellis_admin.exits import ExitCode

from tests.house.sources import ROOT

REFERENCE = (ROOT / "docs/reference/cli.md").read_text()
JSON_REFERENCE = (ROOT / "docs/reference/cli-json.md").read_text()
ADMIN = ROOT / "admin/trellis_admin"


def test_every_command_is_in_the_reference() -> None:
    names: list[str] = []
    for command in COMMANDS:
        app: typer.Typer = import_module(f"trellis_admin.commands.{command.module}").app
        is_group = len(app.registered_commands) > 1
        inner = [f" {one.name}" for one in app.registered_commands if one.name] if is_group else [""]
        names += [f"trellis {command.name}{name}" for name in inner]

    assert "trellis dead replay" in names
    assert [name for name in names if f"`{name}" not in REFERENCE] == []


def test_every_check_of_doctor_is_in_the_reference() -> None:
    written = "\n".join(path.read_text() for path in (ADMIN / "doctor").glob("*.py"))
    checks = set(re.findall(r'check="([a-z-]+)"', written)) | set(
        re.findall(r'"(stream-drops|ack-wait-drifted)"', written)
    )

    assert len(checks) >= 30
    assert {check for check in checks if f"`{check}`" not in REFERENCE} == set()


def test_every_kind_of_json_is_in_the_reference() -> None:
    written = "\n".join(path.read_text() for path in (ADMIN / "commands").glob("*.py"))
    kinds = set(re.findall(r'print_json\(\s*"([a-z-]+)"', written))

    assert {"jobs", "bulk", "audit-log"} <= kinds
    assert {kind for kind in kinds if f"`{kind}`" not in JSON_REFERENCE} == set()


def test_every_exit_code_is_in_the_reference() -> None:
    assert [code for code in ExitCode if f"| {code.value} |" not in REFERENCE] == []
