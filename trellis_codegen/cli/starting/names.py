"""Which names a project may have: its contract's id, its package and its distribution are made of it."""

from __future__ import annotations

import keyword
import re
import sys
from typing import Final

from trellis_codegen import naming

__all__ = ["find_name_problem", "suggest_project_name"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST: Final = 50
_FALLBACK: Final = "my-service"
_INSTALLED: Final = frozenset(
    """
    black jinja2 nats nats-py nats-server pydantic pytest pytest-asyncio trellis trellis-admin trellis-codegen trellis-gen
    trellis-nats typer
    """.split()  # noqa: SIM905 - a word list reads better this way
)
"""What the project installs: a project of the same name could not."""


def find_name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a project, as the end of a sentence; None if nothing is."""
    if not _NAME.fullmatch(name):
        return "is not a valid name: use lower-case letters, digits and dashes, and begin with a letter"
    if len(name) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if keyword.iskeyword(naming.snake(name)):
        return "is a keyword of Python"
    if naming.snake(name) in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    if name.replace("_", "-") in _INSTALLED:
        return "is a package that the project installs"
    return None


def suggest_project_name(text: str) -> str:
    """Return a valid name that resembles a text."""
    words = naming.snake(text).replace("_", "-")[:_LONGEST].strip("-") or _FALLBACK
    return words if find_name_problem(words) is None else f"{words[: _LONGEST - len('-service')]}-service"
