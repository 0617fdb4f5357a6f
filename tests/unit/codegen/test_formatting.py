"""Laying out a package on one processor or on several."""

import time
from pathlib import Path

import pytest
from black import format_str
from black.mode import Mode, TargetVersion

from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.plan.package import plan_package
from trellis_codegen.render.filters import LINE_LENGTH, wrapped
from trellis_codegen.render.formatting import format_file, format_files
from trellis_codegen.render.package import render_unformatted

CONTRACTS = Path(__file__).parents[3] / "contracts"

MANY = {f"m{number}.py": f"x = [ {number},'a' ]\n" + "# a comment\n" * 90 for number in range(60)}
"""More characters than are formatted in one process, in files that take black little time."""


def test_a_large_package_is_laid_out_as_its_files_are() -> None:
    assert format_files(MANY) == {name: format_file(name, text) for name, text in MANY.items()}
    assert list(format_files(MANY)) == list(MANY)


@pytest.mark.parametrize("files", [{"a.py": "x = ("}, {**MANY, "a.py": "x = ("}], ids=["small", "large"])
def test_invalid_python_is_named(files: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match=r"a\.py would not be Python"):
        format_files(files)


LISTS = [
    ", ".join(f'"value {number}"' for number in range(500)),
    ", ".join(str(number - 9) for number in range(500)),
    ", ".join(["None", "1.5", "True", "-3"] * 100),
]
PLACES = [
    "Status: TypeAlias = Literal[{}]\n",
    "class It:\n    one: Annotated[Literal[{0}] | None, Exact] = None\n    two: list[Literal[{0}] | int]\n",
    "class It:\n    one: Annotated[JsonValue, OneOf(({},))]\n",
    '"""Words ({0})."""\nStatus: TypeAlias = Literal[{0}]\n',
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("items", LISTS, ids=["texts", "numbers", "others"])
def test_a_long_list_is_laid_out_as_black_does(items: str, place: str) -> None:
    text = place.format(items)

    mode = Mode(target_versions={TargetVersion.PY311}, line_length=110)
    assert format_file("a.py", text) == format_str(text, mode=mode)


def test_a_list_of_ten_thousand_constants_takes_no_time() -> None:
    text = PLACES[0].format(", ".join(f'"value {number}"' for number in range(10_000)))
    started = time.process_time()

    format_file("a.py", text)

    assert time.process_time() - started < 2  # black alone takes about 4 s


@pytest.mark.parametrize("name", ["notifications", "trellis_jobs"])
def test_the_templates_write_what_black_would_write(name: str) -> None:
    """Where black has something to do, it formats the file twice. It wraps long lines."""
    manifest = read_manifest((CONTRACTS / f"{name}.manifest.json").read_bytes()).manifest
    plan, _ = plan_package(manifest, source="x.json", package=None, generator="1.0.0")
    files = render_unformatted(plan)

    short = {path: text for path, text in files.items() if max(map(len, text.splitlines())) <= LINE_LENGTH}

    assert len(short) > len(files) / 2
    assert [path for path, text in short.items() if format_file(path, text) != text] == []


@pytest.mark.parametrize("count", [1, 9, 99])
@pytest.mark.parametrize("statement", ["from .models import {}", "__all__ = [{}]"])
def test_a_list_of_names_is_wrapped_as_black_does(statement: str, count: int) -> None:
    names = ", ".join(f"AClass{number}" for number in range(count))
    text = wrapped(statement.format(names))

    assert format_file("a.py", f"{text}\n") == f"{text}\n"
