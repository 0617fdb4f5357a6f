"""The last gate of every Python file: laid out by black, and parsed back."""

from __future__ import annotations

import ast

from black import format_str
from black.mode import Mode, TargetVersion
from black.parsing import InvalidInput

__all__ = ["formatted"]

_MODE = Mode(target_versions={TargetVersion.PY311}, line_length=110)


def formatted(name: str, text: str) -> str:
    """Return the text of the file `name`, laid out.

    Raises:
        RuntimeError: it is not Python; a bug of the templates, never the contract's fault.
    """
    try:
        result = format_str(text, mode=_MODE)
        ast.parse(result, filename=name)
    except (InvalidInput, SyntaxError) as error:
        raise RuntimeError(f"{name} would not be Python: {error}\n{text}") from error
    return result
