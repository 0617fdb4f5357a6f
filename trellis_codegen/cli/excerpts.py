"""The line of a document that has a problem, with a caret below it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Excerpt", "cut_excerpt", "escape_unprintable", "measure_token"]

_WIDTH = 100
_BEFORE = 40
"""How many characters of a long line are shown, and how many of them before the caret."""
_LITERAL: Final = r'"(?:[^"\\\n]|\\.)*"?|[^\s{}\[\],:"]+'
"""Compiled when the first problem is printed."""


class Excerpt(NamedTuple):
    """Two lines of the same width: the text, and the caret below it."""

    line: str
    caret: str


def cut_excerpt(text: str, line: int, column: int) -> Excerpt | None:
    """Return the excerpt at a position of `text`, both numbers counted from 1; None if the line is blank or too short."""
    source = _find_line(text, line)
    start = column - 1
    if not source.strip() or start > len(source):
        return None
    length = measure_token(text, line, column)
    first = max(0, start - _BEFORE) if len(source) > _WIDTH else 0
    last = min(len(source), first + _WIDTH)
    before = source[first:start]
    marked = source[start : min(start + length, last)] or " "
    opening = "…" if first else ""
    closing = "…" if last < len(source) else ""
    shown = f"{opening}{before}{source[start:last]}{closing}"
    caret = " " * (_measure_width(before) + len(opening)) + "^" * max(1, _measure_width(marked))
    return Excerpt(_replace_unprintable(shown), caret)


def measure_token(text: str, line: int, column: int) -> int:
    """Return how many characters the name, string or number at a position has; 1 for anything else."""
    match = re.compile(_LITERAL).match(_find_line(text, line), column - 1)
    return len(match.group()) if match else 1


def escape_unprintable(text: str) -> str:
    """Return the text with escapes for what could move the cursor or start a new line."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _find_line(text: str, line: int) -> str:
    lines = _split_lines(text)
    return lines[line - 1].rstrip("\r") if line <= len(lines) else ""


@lru_cache(maxsize=1)
def _split_lines(text: str) -> list[str]:
    """Return the lines of a document, which is split once for all its problems."""
    return text.split("\n")


def _replace_unprintable(text: str) -> str:
    """Replace each character that cannot be printed by one that can, so that the caret stays below its token."""
    return "".join(
        " " if character == "\t" else character if character.isprintable() else "?" for character in text
    )


def _measure_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - few texts need it

    return sum(
        0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1 for character in text
    )
