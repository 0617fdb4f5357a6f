"""When two classes are one type: when each has the same members with the same types.

Names, descriptions, titles, examples and the order of members make no other type; limits and defaults do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from pydantic import JsonValue

from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.schemas.class_specs import ClassDraft

__all__ = ["identify_classes"]

_KEY = re.compile(r"\bS\d+Class\d+(?:Part\d+)?\b")
"""A placeholder, of a class or of a part."""


def identify_classes(drafts: Iterable[ClassDraft]) -> dict[str, str]:
    """Return the identity of each class by its key: equal for two classes that are one type.

    What a class is depends on the classes it refers to, which may lead back to it. So all classes start out as equal, and
    each round tells those apart that refer to different ones, until a round finds no new difference.
    """
    texts = {draft.key: _text(draft) for draft in drafts}
    result = dict.fromkeys(texts, "")
    known = 0
    while known < (different := len(set(result.values()))):
        known = different
        result = {
            key: _digest("".join(result.get(piece, piece) for piece in pieces))
            for key, pieces in texts.items()
        }
    return result


def _text(draft: ClassDraft) -> list[str]:
    """Return everything that makes a class, in pieces: each reference to a class is a piece of its own."""
    fields: dict[str, JsonValue] = {
        field.wire_name: [field.schema, field.required, field.default] for field in draft.fields
    }
    whole: list[JsonValue] = [fields, draft.closed, draft.is_alias, draft.more]
    pieces = _pieces(canonical_json(whole))
    for key, part in reversed(draft.parts.items()):
        inside = _pieces(part if isinstance(part, str) else canonical_json(part))
        pieces = [piece for each in pieces for piece in (inside if each == key else [each])]
    return pieces


def _pieces(text: str) -> list[str]:
    """Split a text at its placeholders, and keep them."""
    pieces: list[str] = []
    end = 0
    for match in _KEY.finditer(text):
        pieces += [text[end : match.start()], match.group()]
        end = match.end()
    return [*pieces, text[end:]]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
