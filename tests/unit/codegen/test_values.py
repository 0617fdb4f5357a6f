"""The commands get the values that typer's own conversion returns."""

from types import SimpleNamespace

import pytest
from typer.core import TyperCommand

from trellis_codegen.cli.commands import values
from trellis_codegen.cli.commands.lazy import load_command

LINES = (
    "facade",
    "facade x.json --out folder --package name --no-strict --format sarif -q --with a --with b",
    "facade --out= --package= --strict --check",
    "validate",
    "validate x.json y.json --strict --json",
    "digest x.json -",
    "breaking a b --fail-on never --deploy stop --show safe --only callers --samples dir --format junit",
    "init name --template rpc --out here --contract x.json --yes --dry-run",
    "explain jobs.ackWaitMs UNKNOWN",
    "schema --markdown",
)


def parse(line: str) -> dict[str, object]:
    name, *arguments = line.split()
    params: dict[str, object] = load_command(name).make_context(name, arguments).params
    return params


def leave_it_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(parameters: list[object]) -> list[object]:
        return parameters

    monkeypatch.setattr(values, "_convert_plain_values", same)


@pytest.mark.parametrize("line", LINES)
def test_values_are_those_of_typer(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = parse(line)
    leave_it_to_typer(monkeypatch)
    theirs = parse(line)

    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    "line", ["facade --format=xml", "facade --format=TEXT", "facade --format=", "digest"]
)
def test_a_mistake_is_reported_as_typer_does(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match=r".") as ours:
        parse(line)
    leave_it_to_typer(monkeypatch)
    with pytest.raises(Exception, match=r".") as theirs:
        parse(line)

    assert repr(ours.value) == repr(theirs.value)
    assert str(ours.value) == str(theirs.value)


def test_a_typer_that_works_otherwise_converts_everything_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def process_value(_context: object, value: object) -> object:
        return f"typer's {value}"

    unknown = SimpleNamespace()
    option = SimpleNamespace(
        process_value=process_value, required=False, multiple=False, nargs=1, callback=None
    )

    def get_params(_command: TyperCommand, _context: object) -> list[object]:
        return [unknown, option]

    monkeypatch.setattr(TyperCommand, "get_params", get_params)
    values.PlainCommand("x").get_params(None)

    assert vars(unknown) == {}
    assert option.process_value(None, "text") == "typer's text"
