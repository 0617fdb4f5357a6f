"""Two generated versions of a contract with closed schemas: neither reads what the other writes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from pydantic import JsonValue

from tests.support.generated import generated

__all__ = ["LetterVersions", "generate_letters"]


class LetterVersions(NamedTuple):
    """The packages: `LettersService`, `LettersClient`, and the models `Letter` and `Answer`."""

    old: ModuleType
    """A letter has a `number`."""
    new: ModuleType
    """It has `grams` as well, and an answer has a `cost`."""


def generate_letters(folder: Path) -> LetterVersions:
    """Generate both versions."""
    old = _document(letter={"number": "integer"}, answer={"ok": "boolean"})
    new = _document(
        letter={"number": "integer", "grams": "integer"}, answer={"ok": "boolean", "cost": "integer"}
    )
    return LetterVersions(generated(old, folder)[0], generated(new, folder)[0])


def _document(**shapes: dict[str, str]) -> dict[str, JsonValue]:
    schemas: dict[str, JsonValue] = {name.capitalize(): _closed(members) for name, members in shapes.items()}
    schemas["Ask"] = _closed({})
    letter: JsonValue = {"schema": "Letter"}
    answer: JsonValue = {"schema": "Answer"}
    return {
        "format": "trellis.contract.v1",
        "id": "letters@v1",
        "displayName": "Letters",
        "description": "Letters.",
        "kind": "service",
        "schemas": schemas,
        "rpc": {
            "Letters.Weigh": {
                "version": "v1",
                "subject": "rpc.v1.Letters.Weigh",
                "input": letter,
                "output": answer,
            }
        },
        "operations": {
            "Letters.Deliver": {
                "version": "v1",
                "subject": "operations.v1.Letters.Deliver",
                "input": letter,
                "output": answer,
            }
        },
        "feeds": {
            "Letters.Watch": {
                "version": "v1",
                "subject": "feeds.v1.Letters.Watch",
                "input": {"schema": "Ask"},
                "event": letter,
            }
        },
        "events": {
            "Letters.Sent": {"version": "v1", "subject": "events.v1.Letters.Sent", "event": letter},
        },
        "eventConsumers": {
            "archive": {"self": ["Letters.Sent"], "replay": "all", "maxDeliver": 2, "backoffMs": [20]},
        },
    }


def _closed(members: dict[str, str]) -> JsonValue:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in members.items()},
        "required": list(members),
        "additionalProperties": False,
    }
