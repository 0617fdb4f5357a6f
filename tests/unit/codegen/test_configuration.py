"""`[tool.trellis-gen]` names the contracts of a project; the command line wins."""

import json
from pathlib import Path

import pytest

from tests.unit.codegen.contracts import contract, job
from trellis_codegen.cli import facade, fmt, validate
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.targets import Choices

TWO = """
[project]
name = "shop"

[[tool.trellis-gen.contracts]]
manifest = "contracts/things.json"
out = "src"

[[tool.trellis-gen.contracts]]
manifest = "contracts/parts.json"
out = "src"
package = "spare_parts"
strict = true
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "contracts").mkdir()
    for name in ("things", "parts"):
        text = json.dumps(contract(id=f"{name}@v1", jobs={"keep": job()}))
        (tmp_path / "contracts" / f"{name}.json").write_text(text)
    (tmp_path / "pyproject.toml").write_text(TWO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(mode: Mode = Mode.WRITE, **choices: object) -> ExitCode:
    return facade.run(Request(choices=Choices(**choices), mode=mode))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - the tests pass what Choices takes


def packages(folder: Path) -> set[str]:
    return {path.parent.relative_to(folder).as_posix() for path in folder.rglob("service.py")}


def test_every_contract_of_the_project_is_generated(project: Path) -> None:
    assert run() == ExitCode.OK

    assert packages(project) == {"src/things_participant", "src/spare_parts"}
    assert run(Mode.CHECK) == ExitCode.OK


def test_every_contract_of_the_project_is_validated(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate.run((), strict=False, output_format=Format.TEXT, quiet=False) == ExitCode.OK

    lines = capsys.readouterr().err.splitlines()
    assert lines == ["contracts/things.json: valid", "contracts/parts.json: valid"]
    assert packages(project) == set()


@pytest.mark.parametrize("named", [(), (Path("contracts/parts.json"),)])
def test_strict_of_the_configuration_counts_for_validate_too(project: Path, named: tuple[Path, ...]) -> None:
    text = json.dumps(contract(id="parts@v1", jobs={"keep": job(maxDelivers=3)}))
    (project / "contracts/parts.json").write_text(text)

    assert validate.run(named, strict=False, output_format=Format.TEXT, quiet=False) == ExitCode.INVALID


def test_every_contract_of_the_project_is_formatted(project: Path) -> None:
    assert fmt.run((), check=False, quiet=True) == ExitCode.OK

    for name in ("things", "parts"):
        assert (project / f"contracts/{name}.json").read_text().startswith('{\n  "format"')
    (project / "pyproject.toml").unlink()
    assert fmt.run((), check=True, quiet=True) == ExitCode.USAGE


def test_the_configuration_is_found_from_a_subfolder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "contracts")

    assert run() == ExitCode.OK
    assert packages(project) == {"src/things_participant", "src/spare_parts"}


def test_a_pyproject_without_the_table_is_ignored(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "inner").mkdir()
    (project / "inner" / "pyproject.toml").write_text('[tool.other]\nname = "trellis-gen"\n')
    monkeypatch.chdir(project / "inner")

    assert run() == ExitCode.OK
    assert packages(project) == {"src/things_participant", "src/spare_parts"}


def test_a_manifest_on_the_command_line_takes_its_settings_from_the_configuration(project: Path) -> None:
    assert run(manifest=project / "contracts" / "parts.json") == ExitCode.OK

    assert packages(project) == {"src/spare_parts"}


def test_the_command_line_wins(project: Path) -> None:
    manifest = project / "contracts" / "parts.json"
    manifest.write_text(json.dumps(contract(id="parts@v1", future=1)))

    assert run(manifest=manifest) == ExitCode.INVALID
    assert run(manifest=manifest, package="pieces", out=Path("lib"), strict=False) == ExitCode.OK
    assert packages(project) == {"lib/pieces"}


def test_one_broken_contract_does_not_stop_the_others(project: Path) -> None:
    (project / "contracts" / "things.json").write_text("{")

    assert run() == ExitCode.INVALID
    assert packages(project) == {"src/spare_parts"}


def test_two_contracts_cannot_have_one_package(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "pyproject.toml").write_text(TWO.replace("spare_parts", "things_participant"))

    assert run() == ExitCode.USAGE
    assert (
        "would be the package of contracts/things.json and of contracts/parts.json" in capsys.readouterr().err
    )


def test_a_package_name_for_several_contracts_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(package="one") == ExitCode.USAGE
    assert '"one" names one package, and pyproject.toml has 2 contracts' in capsys.readouterr().err
    assert packages(project) == set()


def test_without_a_manifest_the_error_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run() == ExitCode.USAGE
    assert "no contract is named, and no pyproject.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            '[[tool.trellis-gen.contracts]]\nmanifest = "a.json"\npakage = "x"\n',
            '3:1: error[configuration]: tool/trellis-gen/contracts/0/pakage: unknown key|hint: did you mean "package"?',
        ),
        (
            '[[tool.trellis-gen.contracts]]\nmanifest = "a"\n[[tool.trellis-gen.contracts]]\nout = "x"\n',
            '3:1: error[configuration]: tool/trellis-gen/contracts/1: missing key "manifest"',
        ),
        (
            '[tool.trellis-gen]\nmanifest = "a.json"\ncontracts = []\n',
            '2:1: error[configuration]: tool/trellis-gen/manifest: unknown key|move "manifest" into a [[tool.trellis-gen.contracts]]',
        ),
        (
            '[[tool.trellis-gen.contract]]\nmanifest = "a"\n',
            '1:1: error[configuration]: tool/trellis-gen/contract: unknown key|did you mean "contracts"?',
        ),
        (
            '[[tool.trellis-gen.contracts]]\nmanifest = 1\n  strict = "yes"\n',
            "2:1: error[configuration]: tool/trellis-gen/contracts/0/manifest: expected a string|3:3: error[configuration]: tool/trellis-gen/contracts/0/strict",
        ),
        (
            '[tool.trellis-gen]\ncontracts = "a.json"\n',
            "2:1: error[configuration]: tool/trellis-gen/contracts: expected a list",
        ),
        ("[tool]\ntrellis-gen = 1\n", "2:1: error[configuration]: tool/trellis-gen: expected a table"),
        ("[tool.trellis-gen\n", "1:18: error[configuration]: not TOML: "),
    ],
)
def test_a_mistake_in_the_table_is_an_error_with_its_position(
    project: Path, capsys: pytest.CaptureFixture[str], table: str, expected: str
) -> None:
    (project / "pyproject.toml").write_text(table)

    assert run() == ExitCode.USAGE

    said = capsys.readouterr().err
    assert said.startswith("pyproject.toml:")
    for part in expected.split("|"):
        assert part in said
    assert packages(project) == set()
