"""`trellis-gen fmt` changes white space and nothing else, and a second run changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.generator import run_generator
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.contract.layout import lay_out
from trellis_codegen.contract.positions import find_lexemes
from trellis_codegen.contract.reading import read_manifest

ROOT = Path(__file__).parents[3]
MANIFESTS = [*ROOT.glob("contracts/**/*.json"), *ROOT.glob("tests/golden/cases/*/manifest.json")]

SPACE = st.sampled_from(["", " ", "\n", "\r\n", "\t "])
NUMBERS = st.sampled_from(["1", "1.0", "-0", "1e5", "1.50E+05", str(10**30), "0.1000000000000000055"])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
STRINGS = st.tuples(NAMES, st.booleans()).map(lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1]))
TEXTS = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "null"]),
    lambda inner: (
        st.tuples(SPACE, st.lists(inner, max_size=5)).map(lambda drawn: write("[", drawn[0], drawn[1], "]"))
        | st.tuples(SPACE, st.dictionaries(STRINGS, inner, max_size=5)).map(
            lambda drawn: write("{", drawn[0], [f"{k}{drawn[0]}:{v}" for k, v in drawn[1].items()], "}")
        )
    ),
    max_leaves=25,
)


def write(start: str, space: str, inside: list[str], end: str) -> str:
    return f"{start}{space}{f'{space},{space}'.join(inside)}{end}"


def lexemes(text: str) -> list[str]:
    return [lexeme for _, lexeme in find_lexemes(text)]


@settings(max_examples=60)
@given(TEXTS)
def test_any_text_keeps_its_lexemes_and_is_stable(text: str) -> None:
    formatted = lay_out(text)

    assert lexemes(formatted) == lexemes(text)
    assert lay_out(formatted) == formatted
    assert formatted.endswith("\n")
    for line in formatted.splitlines():
        is_container = {"[", "{"} & {*lexemes(line)[:-1]} and line.rstrip(",\r\n")[-1:] in "]}"
        assert len(line) <= 100 or not is_container or line.rstrip(",\r\n").endswith(("[]", "{}"))


def test_what_is_short_is_the_choice_of_the_author() -> None:
    text = '{"a":[ 1,2.0 ],"b":\n{"c":{ \n}, "d":[\n3]},"e":{"f":"' + "x" * 90 + '"}}'

    assert lay_out(text).splitlines() == [
        "{",
        '  "a": [1, 2.0],',
        '  "b": {',
        '    "c": {},',
        '    "d": [',
        "      3",
        "    ]",
        "  },",
        '  "e": {',
        '    "f": "' + "x" * 90 + '"',
        "  }",
        "}",
    ]


def test_the_digest_stays() -> None:
    for path in MANIFESTS:
        text = path.read_text(encoding="utf-8")
        for spread in (text, json.dumps(json.loads(text))):
            before, after = (read_manifest(each.encode()).manifest for each in (text, lay_out(spread)))
            assert compute_digest(after) == compute_digest(before)


def test_our_own_contracts_are_formatted() -> None:
    ended = run_generator("fmt", "--check", *sorted(ROOT.glob("contracts/**/*.json")))

    count = len([*ROOT.glob("contracts/**/*.json")])
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", f"{count} manifests: unchanged\n")


def test_several_files_are_written_in_place(tmp_path: Path) -> None:
    real, link, fine = tmp_path / "real.json", tmp_path / "link.json", tmp_path / "fine.json"
    real.write_text('{"a": 1.0}')
    real.chmod(0o640)
    link.symlink_to(real)
    fine.write_text('{\n  "a": 1\n}\n')

    checked = run_generator("fmt", "--check", "link.json", "fine.json", folder=tmp_path)
    ended = run_generator("fmt", "link.json", "fine.json", folder=tmp_path)

    assert checked.exit_code == 1
    assert checked.stdout.splitlines()[:2] == ["--- link.json", "+++ link.json"]
    assert '+  "a": 1.0' in checked.stdout
    assert (ended.exit_code, ended.stdout, ended.stderr) == (
        0,
        "",
        "formatted link.json\nfine.json: unchanged\n",
    )
    assert (real.read_text(), link.is_symlink(), real.stat().st_mode & 0o777) == (
        '{\n  "a": 1.0\n}\n',
        True,
        0o640,
    )
    assert len([*tmp_path.iterdir()]) == 3


def test_a_write_that_fails_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1]")

    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
        ended = run_generator("fmt", path)

    assert (ended.exit_code, path.read_text()) == (5, "[1]")
    assert "cannot write the manifest: no space left on device" in ended.stderr
    assert [*tmp_path.iterdir()] == [path]


def test_standard_input_becomes_standard_output() -> None:
    assert run_generator("fmt", "-", text='{"a": "ä"}').stdout == '{\n  "a": "ä"\n}\n'
    assert run_generator("fmt", "--check", "-", text="{}").exit_code == 1
    assert run_generator("fmt", "--check", "-", text="{}\n").exit_code == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,}', ":1:8: error[not-json]"),
        ('{"a": 1,\n "a": 2}', ':2:2: error[duplicate-name]: a: duplicate name "a"'),
        ("", ":1:1: error[not-json]"),
    ],
)
def test_what_is_not_json_is_reported_and_not_written(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)

    ended = run_generator("fmt", path)

    assert (ended.exit_code, path.read_text(), ended.stdout) == (3, text, "")
    assert place in ended.stderr
