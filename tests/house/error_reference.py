"""Writes docs/reference/errors.md and the texts of `trellis-gen explain` from the classes: `python -m tests.house.error_reference`, part of `make generate`."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from trellis_nats import errors
from trellis_nats.errors import TrellisError

from tests.house.sources import ROOT
from trellis_codegen.cli.explain import ERROR_TEXTS

__all__ = ["PAGE", "draw_tree", "error_texts", "list_classes", "reference_page", "split_docstring"]

PAGE: Final[Path] = ROOT / "docs/reference/errors.md"
_REMEDY: Final = "Remedy: "
_INTRODUCTION: Final = """\
# Errors

What the runtime raises on purpose is a `TrellisError`. Import the classes from `trellis_nats` or `trellis_nats.errors`. `error.docs` names the place of a class on this
page, `help(trellis_nats.JobNotFound)` prints the same. The traceback of a `ConfigurationError`, which is a mistake of the program or its settings, and of `CannotConnect` ends with the remedy.
Errors that a contract declares are generated, below `DeclaredError`. `make generate` writes this page from the classes.

"""


def list_classes() -> list[type[TrellisError]]:
    """Return the classes, each after its base class, in the order of their modules."""
    return [error for error, _ in _walk(TrellisError, 0)]


def _walk(error: type[TrellisError], depth: int) -> Iterator[tuple[type[TrellisError], int]]:
    yield error, depth
    for inner in error.__subclasses__():
        if inner.__name__ in errors.__all__ and inner.__module__.startswith(errors.__name__):
            yield from _walk(inner, depth + 1)


def draw_tree() -> str:
    """Return the tree of the classes, each with its first sentence."""
    rows = [*_walk(TrellisError, 0)]
    width = max(4 * depth + len(error.__name__) for error, depth in rows) + 2
    lines = list[str]()
    for number, (error, depth) in enumerate(rows):
        label = f"{_draw_branches([other for _, other in rows], number)}{error.__name__}"
        meaning = _first_sentence(split_docstring(error)[0]) if depth else ""
        lines.append(f"{label:<{width}}{meaning}".rstrip())
    return "\n".join(lines)


def _draw_branches(depths: list[int], number: int) -> str:
    """Return the lines in front of a name: a corner for the last of its siblings."""
    depth, later = depths[number], depths[number + 1 :]
    branches = ""
    for level in range(1, depth + 1):
        following = next((other for other in later if other <= level), 0)
        goes_on = following == level
        last = level == depth
        branches += ("├── " if goes_on else "└── ") if last else ("│   " if goes_on else "    ")
    return branches


def _first_sentence(text: str) -> str:
    return text.split("\n\n", 1)[0].replace("\n", " ").split(". ", 1)[0].rstrip(".")


def split_docstring(error: type[TrellisError]) -> tuple[str, str]:
    """Return what a class says about itself, and the remedy."""
    text = inspect.cleandoc(error.__doc__ or "").partition("\n\nRaises:")[0]
    meaning, _, remedy = text.partition(_REMEDY)
    return meaning.strip(), " ".join(remedy.split())


def reference_page() -> str:
    """Return the text of the page."""
    sections = [line for error in list_classes() for line in _write_class(error)]
    return "\n".join([_INTRODUCTION + "```text", draw_tree(), "```", "", *sections])


def _write_class(error: type[TrellisError]) -> Iterator[str]:
    meaning, remedy = split_docstring(error)
    yield f"## {error.__name__}"
    yield ""
    yield meaning
    yield ""
    yield f"**Remedy.** {remedy}"
    yield ""
    bases = [_link(base) for base in error.__bases__]
    yield f"Base class: {', '.join(bases)}."
    yield ""
    attributes = [*_find_attributes(error)]
    if attributes:
        yield "| attribute | value |"
        yield "|---|---|"
        yield from (f"| `{name}` | {text} |" for name, text in attributes)
        yield ""


def _link(base: type) -> str:
    name = base.__name__
    return f"[`{name}`](#{name.lower()})" if issubclass(base, TrellisError) else f"`{name}`"


def _find_attributes(error: type[TrellisError]) -> Iterator[tuple[str, str]]:
    """Yield the attributes that a class sets, with what their docstrings say."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(error))).body[0]
    assert isinstance(tree, ast.ClassDef)
    constructors = [
        node.body for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    for body in constructors:
        for statement, following in pairwise([*body, ast.Pass()]):
            match statement:
                case (
                    ast.Assign(targets=[ast.Attribute(attr=name)])
                    | ast.AnnAssign(target=ast.Attribute(attr=name))
                ):
                    if not name.startswith("_") and name != "args":
                        yield name, _read_text(following)
                case _:
                    pass


def _read_text(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
        case _:
            return ""


def error_texts() -> str:
    """Return what `trellis-gen explain` knows about the classes, as JSON."""
    texts = {
        error.__name__: dict(zip(("meaning", "remedy"), split_docstring(error), strict=True))
        for error in list_classes()
    }
    return json.dumps(texts, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
    ERROR_TEXTS.write_text(error_texts(), encoding="utf-8")
