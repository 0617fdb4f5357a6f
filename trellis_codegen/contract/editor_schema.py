"""The JSON Schema of manifests, for editors: completion, hover texts, and a mark at what the format does not have."""

from __future__ import annotations

from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.contract.manifest import Manifest

__all__ = ["SCHEMA_ID", "described_schema", "editor_schema"]

JsonObject: TypeAlias = dict[str, JsonValue]

SCHEMA_ID = "https://trellis.dev/schemas/trellis.contract.v1.editor.schema.json"
"""Names the schema; nothing is fetched from there."""
_EMBEDDED: JsonObject = {"type": ["object", "boolean"], "description": "A JSON Schema."}


def editor_schema() -> JsonObject:
    """Return the schema: draft 2020-12, closed, so that an editor marks misspelt fields."""
    schema = cast("JsonObject", _write_for_editors(described_schema()))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Trellis contract",
        **schema,
        "description": "A trellis.contract.v1 manifest: what a participant offers and uses.",
    }


def described_schema() -> JsonObject:
    """Return the schema of the models, with what each member says in addition: `python`, and `absent` or a default."""
    written: JsonObject = Manifest.model_json_schema(by_alias=True, mode="validation")
    schema = cast("JsonObject", _plain(written))
    properties = cast("JsonObject", schema["properties"])
    properties["schemas"] = {**cast("JsonObject", properties["schemas"]), "additionalProperties": _EMBEDDED}
    del cast("JsonObject", schema["$defs"])["JsonValue"]
    return schema


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
        rest = {key: each for key, each in result.items() if key != "anyOf"}
        return {**cast("JsonObject", inner), **rest}
    return result


def _is_noise(key: str, value: JsonValue) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


def _write_for_editors(node: JsonValue) -> JsonValue:
    """Put everything that a member says into its description, and drop the names that are examples of objects by name."""
    if isinstance(node, list):
        return [_write_for_editors(member) for member in node]
    if not isinstance(node, dict):
        return node
    result = {key: _write_for_editors(each) for key, each in node.items()}
    if not isinstance(result.get("python"), str):
        return result
    absent, python = result.pop("absent", None), result.pop("python")
    sentences = [
        result["description"],
        f"If absent: {absent}." if absent else "",
        f"In Python: {python}." if python else "",
    ]
    result["description"] = "\n\n".join(str(sentence) for sentence in sentences if sentence)
    if result.get("type") == "object" and isinstance(result.get("examples"), list):
        result["examples"] = [
            each for each in cast("list[JsonValue]", result["examples"]) if isinstance(each, dict)
        ]
        if not result["examples"]:
            del result["examples"]
    return result
