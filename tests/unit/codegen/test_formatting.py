"""Laying out a package on one processor or on several."""

import pytest

from trellis_codegen.render.formatting import format_file, format_files

MANY = {f"m{number}.py": f"x = [ {number},'a' ]\n" + "# a comment\n" * 90 for number in range(60)}
"""More characters than are formatted in one process, in files that take black little time."""


def test_a_large_package_is_laid_out_as_its_files_are() -> None:
    assert format_files(MANY) == {name: format_file(name, text) for name, text in MANY.items()}
    assert list(format_files(MANY)) == list(MANY)


@pytest.mark.parametrize("files", [{"a.py": "x = ("}, {**MANY, "a.py": "x = ("}], ids=["small", "large"])
def test_invalid_python_is_named(files: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match=r"a\.py would not be Python"):
        format_files(files)
