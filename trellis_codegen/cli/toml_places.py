"""Finds where a key of a sound TOML document stands, for documents laid out as people lay them out.

A header and its keys on lines of their own are found exactly; of what is written inline, the line it starts on.
"""

from __future__ import annotations

import re

from trellis_codegen.problems import Pointer

__all__ = ["place_of"]

_HEADER = re.compile(r"\s*(\[\[?)\s*(.*?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*([A-Za-z0-9_\-."' ]+?)\s*=""")


def place_of(text: str, pointer: Pointer) -> tuple[int, int]:
    """Return line and column of the key at `pointer`, or of the nearest table around it; both count from 1."""
    places = _places(text)
    while pointer and pointer not in places:
        pointer = pointer[:-1]
    return places.get(pointer, (1, 1))


def _places(text: str) -> dict[Pointer, tuple[int, int]]:
    places: dict[Pointer, tuple[int, int]] = {}
    counts: dict[Pointer, int] = {}
    table: Pointer = ()
    for number, line in enumerate(text.splitlines(), start=1):
        column = len(line) - len(line.lstrip()) + 1
        if header := _HEADER.match(line):
            table = _steps(header[2])
            if header[1] == "[[":
                index = counts.get(table, 0)
                counts[table] = index + 1
                places.setdefault(table, (number, column))
                table = (*table, index)
            places.setdefault(table, (number, column))
        elif key := _KEY.match(line):
            pointer = table
            for step in _steps(key[1]):
                pointer = (*pointer, step)
                places.setdefault(pointer, (number, column))
    return places


def _steps(name: str) -> Pointer:
    return tuple(step.strip().strip("\"'") for step in name.split("."))
