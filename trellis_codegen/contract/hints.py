"""The way out of names that collide, as a hint."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trellis_codegen.naming import pascal, snake, suggest_name
from trellis_codegen.problems import Pointer, json_pointer

__all__ = ["hint_at_names"]


def hint_at_names(names: Sequence[tuple[Pointer, str]], taken: str) -> str | None:
    """Return what to write into pyproject.toml for one of some names, each with its place; it is not `taken`."""
    named = [(place, name.rpartition(".")[2] or name) for place, name in names if place != ("id",)]
    for place, name in named:
        suggestion = suggest_name(name)
        if pascal(suggestion).casefold() != pascal(taken).casefold():
            return _write_hint(place, suggestion)
    return _write_hint(named[0][0], f"other_{snake(taken)}") if named else None


def _write_hint(place: Pointer, name: str) -> str:
    # A basic string of TOML may be written like one of JSON.
    key = json.dumps(json_pointer(place), ensure_ascii=False)
    return f'state a Python name in pyproject.toml, under [tool.trellis-gen.names]: {key} = "{name}"'
