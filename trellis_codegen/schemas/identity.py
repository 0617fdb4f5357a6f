"""Decides when two classes are one type: when they have the same members with the same types.

Names of classes, descriptions, titles, examples and the order of members make no other type; limits and defaults do.
"""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from trellis_codegen.schemas.class_specs import ClassDraft

__all__ = ["identify_classes"]

_REFERENCE = "#/$defs/"


@dataclass(frozen=True, slots=True)
class _Reference:
    """A reference to a class. It is never confused with text of the contract that reads like the class's placeholder."""

    key: str


def identify_classes(drafts: Iterable[ClassDraft]) -> dict[str, str]:
    """Return the identity of each class by its key: equal for two classes that are one type.

    What a class is depends on the classes it refers to, which may lead back to it. So all classes start out as equal, and
    each round tells those apart that refer to different ones, until a round finds no new difference.
    """
    contents = {draft.key: list(_content(draft)) for draft in drafts}
    result = dict.fromkeys(contents, "")
    known = 0
    while known < (different := len(set(result.values()))):
        known = different
        result = {
            key: _digest("".join(piece if isinstance(piece, str) else result[piece.key] for piece in pieces))
            for key, pieces in contents.items()
        }
    return result


def _content(draft: ClassDraft) -> Iterator[str | _Reference]:
    """Yield everything that makes a class: JSON text, and the references in it."""
    yield json.dumps([draft.closed, draft.is_alias])
    for field in sorted(draft.fields, key=lambda field: field.wire_name):
        yield json.dumps([field.wire_name, field.name, field.required])
        yield from _json(field.schema, draft)
        yield from _json(field.default, draft, is_schema=False)
    if draft.more is not None:
        yield "more"
        yield from _type(draft.more, draft)


def _json(value: JsonValue, draft: ClassDraft, *, is_schema: bool = True) -> Iterator[str | _Reference]:
    match value:
        case {"$ref": str(reference)} if is_schema:
            yield from _type(reference.removeprefix(_REFERENCE), draft)
        case dict():
            yield "{"
            for name in sorted(value):
                yield json.dumps(name)
                yield from _json(value[name], draft, is_schema=is_schema)
            yield "}"
        case list():
            yield "["
            for item in value:
                yield from _json(item, draft, is_schema=is_schema)
                yield ","
            yield "]"
        case _:
            yield json.dumps(value)


def _type(name: str, draft: ClassDraft) -> Iterator[str | _Reference]:
    """Yield what a name in a type stands for: a class, a part of the draft, or itself."""
    part = draft.parts.get(name)
    if name in draft.references:
        yield _Reference(name)
    elif isinstance(part, str):
        for token in tokenize.generate_tokens(io.StringIO(part).readline):
            if token.type == tokenize.NAME:
                yield from _type(token.string, draft)
            else:
                yield token.string
            yield " "
    elif name in draft.parts:
        yield from _json(part, draft)
    else:
        yield name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
