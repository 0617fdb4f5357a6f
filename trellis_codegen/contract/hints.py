"""The way out of names that collide, as a hint."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trellis_codegen.naming import GROUPED_SECTIONS, StatedName, pascal, snake, spell, suggest_name
from trellis_codegen.problems import Pointer, json_pointer

__all__ = ["hint_at_names"]


def hint_at_names(names: Sequence[tuple[Pointer, str]], taken: str) -> str | None:
    """Return what to write into pyproject.toml for one of some names, each with its place.

    `taken` is the Python name that they share, with what holds it: `rpc.orders.get`. It is empty if a name has no Python name.
    """
    choices = [(place, name) for place, name in names if place != ("id",)]
    if not choices:
        return None
    if not taken:
        place, name = choices[0]
        return _write_hint(place, ".".join(_word(part) for part in _parts(place, name)))
    is_group = taken.count(".") < 2  # noqa: PLR2004 - the section, the group and the name in it
    last = taken.rpartition(".")[2]
    for place, name in choices:
        *group, leaf = _parts(place, name)
        suggestion = suggest_name(leaf)
        is_stated = isinstance(name, StatedName)
        if not is_stated and not (group and is_group) and _key(suggestion) not in {_key(last), _key(leaf)}:
            return _write_hint(place, suggestion)
    place, name = min(choices, key=lambda choice: len(_parts(*choice)))
    first, *rest = _parts(place, spell(name)) if is_group else _parts(place, spell(name))[-1:]
    return _write_hint(place, ".".join([f"other_{snake(first) or snake(last)}", *map(_word, rest)]))


def _parts(place: Pointer, name: str) -> list[str]:
    """Return the group of a name, if it has one, and the name in it."""
    first, dot, rest = name.partition(".")
    return [first, rest] if dot and place[0] in GROUPED_SECTIONS else [name]


def _word(part: str) -> str:
    return snake(part) or suggest_name(part)


def _key(name: str) -> str:
    """Return what two names share if they give one attribute or one class."""
    return pascal(name).casefold()


def _write_hint(place: Pointer, name: str) -> str:
    # A basic string of TOML may be written like one of JSON.
    key = json.dumps(json_pointer(place), ensure_ascii=False)
    return f'state a Python name in pyproject.toml, under [tool.trellis-gen.names]: {key} = "{name}"'
