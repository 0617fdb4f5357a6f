"""The environment of the templates: an undefined name is an error, and only the filters here escape text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trellis_codegen.naming import class_name
from trellis_codegen.plan.imports import Import, ImportGroups, find_imports, group_imports
from trellis_codegen.render.filters import docstring, expression, inline, literal, summary, wrapped

__all__ = ["find_environment"]

_PACKAGE = Path(__file__).parent.parent
_TEMPLATES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""In an installed wheel, in a checkout."""


@cache
def find_environment() -> Environment:
    """Return the environment that renders the templates. A template is compiled once in a process, for all packages."""
    result = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is Python; every text goes through `literal` or `docstring`
    )
    result.filters |= {
        "class_name": class_name,
        "docstring": docstring,
        "expression": expression,
        "inline": inline,
        "literal": literal,
        "statements": _join_statements,
        "summary": summary,
        "wrapped": wrapped,
    }
    template_globals: dict[str, Any] = result.globals  # pyright: ignore[reportAssignmentType] - jinja2 annotates it too narrowly
    template_globals["group_imports"] = _group_imports
    return result


def _group_imports(names: Iterable[str], needed: Iterable[Import] = ()) -> ImportGroups:
    """Return the imports for the names that a template has in its own text, and for those that the plan needs."""
    return group_imports([*find_imports(names), *needed])


def _join_statements(groups: ImportGroups) -> str:
    """Return import statements as black writes them, with an empty line between two groups."""
    return "\n\n".join("\n".join(map(wrapped, group)) for group in groups)
