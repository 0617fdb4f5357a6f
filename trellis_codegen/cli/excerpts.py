"""The line of a document that a problem is about, with a caret below it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["Excerpt", "excerpt", "printable", "token_length"]

_WIDTH = 100
_BEFORE = 40
"""How much of a long line is shown, and how much of that stands before the caret."""
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Two lines of equal reading: what stands there, and where to look."""

    line: str
    caret: str


def excerpt(text: str, line: int, column: int) -> Excerpt | None:
    """Return the excerpt at a position of `text`, both numbers counted from 1; None when there is nothing to see."""
    source = _line(text, line)
    start = column - 1
    if not source.strip() or start > len(source):
        return None
    length = token_length(text, line, column)
    first = max(0, start - _BEFORE) if len(source) > _WIDTH else 0
    last = min(len(source), first + _WIDTH)
    before = source[first:start]
    marked = source[start : min(start + length, last)] or " "
    opening = "…" if first else ""
    closing = "…" if last < len(source) else ""
    shown = f"{opening}{before}{source[start:last]}{closing}"
    caret = " " * (_width(before) + len(opening)) + "^" * max(1, _width(marked))
    return Excerpt(_one_for_one(shown), caret)


def token_length(text: str, line: int, column: int) -> int:
    """Return how many characters the name, text or number at a position has; 1 for anything else."""
    match = _TOKEN.match(_line(text, line), column - 1)
    return len(match.group()) if match else 1


def printable(text: str) -> str:
    """Spell out what could move the cursor or start a line of its own."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _line(text: str, line: int) -> str:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
        if not start:
            return ""
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)].rstrip("\r")


def _one_for_one(text: str) -> str:
    """Replace what can't be printed, a character by a character, so that the caret stays below its token."""
    return "".join(
        " " if character == "\t" else character if character.isprintable() else "?" for character in text
    )


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
