"""The commands get the values that typer's own conversion returns."""

import pytest
from typer import BadParameter
from typer.core import TyperGroup
from typer.main import get_command

from trellis_codegen.cli import values
from trellis_codegen.cli.application import application


def parse(arguments: list[str]) -> dict[str, object]:
    group = get_command(application)
    assert isinstance(group, TyperGroup)
    return group.commands[arguments[0]].make_context(arguments[0], arguments[1:]).params


def leave_it_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(parameters: list[object]) -> list[object]:
        return parameters

    monkeypatch.setattr(values, "_convert_by_type", same)


@pytest.mark.parametrize(
    "arguments",
    [
        ["facade"],
        [
            "facade",
            "x.json",
            "--out",
            "folder",
            "--package",
            "name",
            "--no-strict",
            "--format",
            "sarif",
            "-q",
        ],
        ["facade", "", "--out=", "--package="],
        ["validate", "x.json", "y.json", "--strict", "--json"],
        ["digest", "x.json"],
    ],
)
def test_values_are_those_of_typer(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = parse(arguments)
    leave_it_to_typer(monkeypatch)
    theirs = parse(arguments)

    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("value", ["xml", "TEXT", ""])
def test_a_value_that_typer_refuses_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadParameter):
        parse(["facade", f"--format={value}"])
    leave_it_to_typer(monkeypatch)
    with pytest.raises(BadParameter):
        parse(["facade", f"--format={value}"])
