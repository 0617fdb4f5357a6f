"""Finds the line and column of every value of a JSON text.

Positions are computed only when there is a problem to report, so that reading a valid contract costs a `json.loads`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trellis_codegen.problems import Pointer, Problem

__all__ = ["Position", "Positions", "find_lexemes", "find_position", "locate"]

_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text; both numbers count from 1, the column in characters."""

    line: int
    column: int


class Positions:
    """The positions of the values in one valid JSON text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._values: dict[Pointer, int] = {}
        self._keys: dict[Pointer, int] = {}
        self.duplicates: list[tuple[Pointer, int]] = []
        """Members whose name the same object had already, with the offset of the second one."""
        self._scan()

    def of(self, pointer: Pointer, *, on_key: bool = False) -> Position:
        """Return the place of the value at `pointer`, or of its name; of the nearest enclosing value if there is none."""
        if on_key and pointer in self._keys:
            return find_position(self._text, self._keys[pointer])
        while pointer not in self._values and pointer:
            pointer = pointer[:-1]
        return find_position(self._text, self._values.get(pointer, 0))

    def _scan(self) -> None:
        """Walk the lexemes with a stack of open containers: member names as strings, element numbers as integers."""
        path: list[str | int] = []
        in_object: list[bool] = []
        expects_key = False
        for offset, lexeme in find_lexemes(self._text):
            if lexeme == ",":
                expects_key = in_object[-1]
                if not expects_key:
                    path[-1] = int(path[-1]) + 1
            elif lexeme == ":":
                expects_key = False
            elif lexeme in "}]":
                path.pop()
                in_object.pop()
                expects_key = False
            elif expects_key:
                path[-1] = str(json.loads(lexeme))
                if tuple(path) in self._keys:
                    self.duplicates.append((tuple(path), offset))
                self._keys[tuple(path)] = offset
            else:
                self._values[tuple(path)] = offset
                if lexeme in "{[":
                    in_object.append(lexeme == "{")
                    path.append("" if lexeme == "{" else 0)
                    expects_key = lexeme == "{"


def locate(problems: list[Problem], text: str) -> list[Problem]:
    """Return the problems with their line and column in `text`, sorted as they stand there."""
    if any(problem.line is None for problem in problems):
        positions = Positions(text)
        problems = [_with_position(problem, positions) for problem in problems]
    return sorted(problems, key=_reading_order)


def find_position(text: str, offset: int) -> Position:
    """Return the line and column of the character at `offset`."""
    line_start = text.rfind("\n", 0, offset) + 1
    return Position(text.count("\n", 0, offset) + 1, offset - line_start + 1)


def _with_position(problem: Problem, positions: Positions) -> Problem:
    if problem.line is not None:
        return problem
    position = positions.of(problem.pointer, on_key=problem.on_key)
    return replace(problem, line=position.line, column=position.column)


def _reading_order(problem: Problem) -> tuple[int, int, str]:
    return (problem.line or 0, problem.column or 0, problem.what)


def find_lexemes(text: str) -> Iterator[tuple[int, str]]:
    """Yield the strings, numbers, words and punctuation of a valid JSON text, each with its offset."""
    for match in _LEXEME.finditer(text):
        yield match.start(), match.group()
