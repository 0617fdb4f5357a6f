"""The JSON Schema of manifests, for editors: completion, hover texts, and a mark at what the format does not have."""

from __future__ import annotations

from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.contract.manifest import Manifest

__all__ = ["SCHEMA_ID", "editor_schema"]

JsonObject: TypeAlias = dict[str, JsonValue]

SCHEMA_ID = "https://trellis.dev/schemas/trellis.contract.v1.editor.schema.json"
"""Names the schema; nothing is fetched from there."""
_EMBEDDED: JsonObject = {"type": ["object", "boolean"], "description": "A JSON Schema."}


def editor_schema() -> JsonObject:
    """Return the schema: draft 2020-12, closed, so that an editor marks misspelt fields."""
    written: JsonObject = Manifest.model_json_schema(by_alias=True, mode="validation")
    schema = cast("JsonObject", _plain(written))
    properties = cast("JsonObject", schema["properties"])
    properties["schemas"] = {**cast("JsonObject", properties["schemas"]), "additionalProperties": _EMBEDDED}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Trellis contract",
        **schema,
        "description": "A trellis.contract.v1 manifest: what a participant offers and uses.",
    }


def _plain(node: JsonValue) -> JsonValue:
    """Drop pydantic's titles, and the nulls for absent members: the format has no null."""
    if isinstance(node, list):
        return [_plain(member) for member in node]
    if not isinstance(node, dict):
        return node
    result = {key: _plain(each) for key, each in node.items() if not _is_noise(key, each)}
    members = result.get("anyOf")
    if isinstance(members, list) and {"type": "null"} in members:
        (inner,) = (member for member in members if member != {"type": "null"})
        rest = {key: each for key, each in result.items() if key not in ("anyOf", "default")}
        return {**cast("JsonObject", inner), **rest}
    return result


def _is_noise(key: str, value: JsonValue) -> bool:
    return key == "title" and isinstance(value, str)
