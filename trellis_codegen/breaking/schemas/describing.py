"""Kinds and values in words, for messages."""

from __future__ import annotations

import json
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.kinds import (
    Kind,
    ListOf,
    Number,
    Object,
    Text,
    Tuple,
    Values,
    follow,
    list_members,
)
from trellis_codegen.breaking.proof.numbers import write_number
from trellis_codegen.breaking.proof.partners import name_type

__all__ = ["describe_kind", "describe_length", "show_value", "show_witness"]

_WIDTH: Final = 200
_MOST: Final = 4


def show_value(value: JsonValue) -> str:
    """Return a value as JSON, at most 200 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def show_witness(value: JsonValue, path: str | None) -> str:
    """Return an example as JSON: if it is long, the part that a finding is about, with its place."""
    whole = show_value(value)
    if not whole.endswith("…"):
        return whole
    part, way = value, ""
    for step in (path or "").split("/")[1:]:
        if isinstance(part, dict) and step in part:
            part = part[step]
        elif isinstance(part, list) and step == "[]" and part:
            part = part[0]
        else:
            break
        way += f"/{step}"
    return f"{show_value(part)} at {way}" if way else whole


def describe_kind(kind: Kind) -> str:
    """Return a kind in words: `a text or null`."""
    found = [*dict.fromkeys(_describe(member) for member in list_members(kind))]
    if len(found) > _MOST:
        found = [*found[:_MOST], "…"]
    return " or ".join(found) or "nothing"


def _describe(kind: Kind) -> str:
    match kind:
        case Values(values=values):
            shown = [show_value(value) for value in values[:_MOST]]
            return " or ".join([*shown, "…"] if len(values) > _MOST else shown)
        case Text(format=str(form)):
            return f"a {form}"
        case Number():
            return _describe_number(kind)
        case ListOf(item=item):
            return f"a list of {name_type(item).removeprefix('a ').removeprefix('an ')} values"
        case Tuple(positions=positions):
            return f"a list of {len(positions)} positions"
        case Object(members=members) if not members:
            return "a map"
        case _:
            return name_type(kind)


def _describe_number(kind: Number) -> str:
    word = "an integer" if kind.whole else "a number"
    if kind.low is not None:
        word += f" {'above' if kind.low_open else 'from'} {write_number(kind.low)}"
    if kind.high is not None:
        word += f" {'below' if kind.high_open else 'up to'} {write_number(kind.high)}"
    return word


def describe_length(kind: Kind) -> str:
    """Return how long a text or a list may be: `at most 5`."""
    found = follow(kind)
    if isinstance(found, Tuple):
        return f"{len(found.positions)}"
    if not isinstance(found, Text | ListOf):
        return "free"
    low, high = found.shortest, found.longest
    if high is None:
        return f"at least {low}" if low else "free"
    return f"{low} to {high}" if low else f"at most {high}"
