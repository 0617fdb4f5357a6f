"""Finds the line and column of a key in a valid TOML document.

Headers and keys on lines of their own are found exactly; for what is inside an inline table, the line on which it starts.
"""

from __future__ import annotations

import re

from trellis_codegen.problems import Pointer

__all__ = ["find_place"]

_HEADER = re.compile(r"\s*(\[\[?)\s*(.*?)\s*\]\]?\s*(?:#.*)?$")
_STEP = r"""("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"\s*({_STEP}(?:\s*\.\s*{_STEP})*)\s*=")
_STEPS = re.compile(_STEP)


def find_place(text: str, pointer: Pointer) -> tuple[int, int]:
    """Return line and column of the key at `pointer`, or of the nearest table around it; both count from 1."""
    places = _find_places(text)
    while pointer and pointer not in places:
        pointer = pointer[:-1]
    return places.get(pointer, (1, 1))


def _find_places(text: str) -> dict[Pointer, tuple[int, int]]:
    places: dict[Pointer, tuple[int, int]] = {}
    counts: dict[Pointer, int] = {}
    table: Pointer = ()
    for number, line in enumerate(text.splitlines(), start=1):
        column = len(line) - len(line.lstrip()) + 1
        if header := _HEADER.match(line):
            table = _split_name(header[2])
            if header[1] == "[[":
                index = counts.get(table, 0)
                counts[table] = index + 1
                places.setdefault(table, (number, column))
                table = (*table, index)
            places.setdefault(table, (number, column))
        elif key := _KEY.match(line):
            pointer = table
            for step in _split_name(key[1]):
                pointer = (*pointer, step)
                places.setdefault(pointer, (number, column))
    return places


def _split_name(name: str) -> Pointer:
    return tuple(step.strip("\"'") for step in _STEPS.findall(name))
