"""The generator makes of every golden manifest what its folder says."""

import ast
from pathlib import Path

import pytest

from tests.golden.folders import EXPECTED, expected_text, folders, generate, tree
from trellis_codegen.cli.exits import ExitCode


@pytest.mark.parametrize("case", folders("cases"), ids=lambda case: case.name)
def test_a_manifest_becomes_its_expected_package(case: Path, tmp_path: Path) -> None:
    code, said = generate(case, tmp_path)

    assert code == ExitCode.OK
    assert said == expected_text(case)
    assert tree(tmp_path) == tree(case / EXPECTED)


@pytest.mark.parametrize("case", folders("rejects"), ids=lambda case: case.name)
def test_a_broken_manifest_is_rejected_with_its_expected_words(case: Path, tmp_path: Path) -> None:
    code, said = generate(case, tmp_path)

    assert f"{said}exit {code}\n" == expected_text(case)
    assert tree(tmp_path) == {}


def test_hostile_words_stay_words() -> None:
    for name, data in tree(Path(__file__).parent / "cases" / "hostile_words" / EXPECTED).items():
        if name.endswith(".py"):
            called = [node.func for node in ast.walk(ast.parse(data)) if isinstance(node, ast.Call)]
            assert {node.id for node in called if isinstance(node, ast.Name)} & {
                "print",
                "exec",
                "eval",
                "open",
            } == set()
