"""Text of a contract → text of a Python file. These filters are the only way."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from typing import Final

__all__ = ["LINE_LENGTH", "comment", "docstring", "expression", "inline", "literal", "summary", "wrapped"]

LINE_LENGTH: Final = 110
_WIDTH: Final = LINE_LENGTH - 4
_DANGEROUS_QUOTES = re.compile(r'"{2,}|"$')
"""Those that could end a docstring: more than one in a row, or one at the end."""
_STRINGS = re.compile(r""""(?:[^"\\]|\\.)*"|'((?:[^'"\\]|\\[^'"])*)'|'(?:[^'\\]|\\.)*'""")
"""String literals of an expression; the group is one that can take the other quotes as it is."""
_KEEP_AS_IS = re.compile(r"\s|[-*+>|#`]|\d+[.)] ")
"""Lines of Markdown that mean something by how they start: never re-wrapped."""


def comment(text: str) -> str:
    """Return a text as a part of a comment: nothing in it ends the line."""
    return "".join(_visible(character) for character in text)


def literal(value: str) -> str:
    """Return a string literal in double quotes that holds nothing but printable ASCII and letters of any script."""
    escaped = "".join(_visible(character) for character in value.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"'


def docstring(text: str, indent: int = 0) -> str:
    """Return a docstring: one line where it fits, else its lines wrapped and indented by `indent` spaces.

    No text can end it early: quotes and backslashes are escaped, and what can't be seen is spelled out.
    """
    lines = [wrapped for line in _lines(text) for wrapped in _wrap(line, _WIDTH - indent)]
    margin = " " * indent
    if len(lines) == 1:
        return f'"""{lines[0]}"""'
    body = "\n".join(f"{margin}{line}" if line else "" for line in lines[1:])
    return f'"""{lines[0]}\n{body}\n{margin}"""'


def summary(text: str) -> str:
    """Return the first paragraph of a text, on one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def expression(text: str) -> str:
    """Return an expression quoted as black quotes: where black finds nothing to do, it takes half the time."""
    return _STRINGS.sub(lambda match: match[0] if match[1] is None else f'"{match[1]}"', text)


def wrapped(statement: str) -> str:
    """Return an import or a list of names as black wraps it: on one line where it fits, else a line for each name."""
    if len(statement) <= LINE_LENGTH:
        return statement
    start, opening, items = statement.removesuffix("]").partition("[")
    if not opening:
        start, _, items = statement.partition(" import ")
        start = f"{start} import "
    lines = "".join(f"    {item},\n" for item in items.split(", "))
    return f"{start}[\n{lines}]" if opening else f"{start}(\n{lines})"


def inline(text: str) -> str:
    """Return a text as a part of a one-line docstring."""
    return _escaped(summary(text).replace('"', "'")) or "the participant"


def _lines(text: str) -> list[str]:
    lines = [_escaped(line.rstrip()) for line in text.strip().expandtabs(4).splitlines()]
    return lines or ["-"]


def _wrap(line: str, width: int) -> list[str]:
    if len(line) <= width or _KEEP_AS_IS.match(line):
        return [line]
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _escaped(line: str) -> str:
    spelled = "".join(_visible(character) for character in line.replace("\\", "\\\\"))
    return _DANGEROUS_QUOTES.sub(lambda quotes: '\\"' * len(quotes.group()), spelled)


def _visible(character: str) -> str:
    """Spell out control characters, invisible ones and those that reorder text; keep letters of any script."""
    if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - widths of escapes
