"""The members of the format as values, with all that the models say about them: for `explain` and the reference page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.contract.editor_schema import described_schema
from trellis_codegen.contract.rules.numbers import UNUSUAL_LIMITS

__all__ = ["ANY_NAME", "Member", "Section", "list_sections", "walk_members", "write_path"]

JsonObject: TypeAlias = dict[str, JsonValue]

ANY_NAME: Final = "<name>"
"""The step of a path that stands for a name of the author's choice."""
_REFERENCE: Final = "SchemaRef"
_UNITS: Final = {"Ms": "ms", "Bytes": "bytes"}
_TEXTS: Final = {
    r"^v[0-9]+$": "`v1`, `v2`, …",
    r"^/": "JSON pointer",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of an object of the format."""

    path: tuple[str, ...]
    """For example `("jobs", "<name>", "ackWaitMs")`."""
    kind: str
    """Its type, with the unit and the limits of a number."""
    is_required: bool
    absent: str
    """What it means to leave it out: the default as JSON, or words. Empty for a required one."""
    description: str
    python: str
    """What it becomes; empty where its object says it."""
    example: JsonValue
    """A value; of an object with all of its members."""
    object_name: str | None
    """The class of the object that it holds, directly or by name."""
    is_by_name: bool
    """Whether it holds values under names of the author's choice."""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One object of the format, at the first place that has it."""

    path: tuple[str, ...]
    """Empty for the contract itself."""
    object_name: str
    description: str
    members: tuple[Member, ...]
    example_name: str
    """What its example is called: its member, or for objects by name the name of one. Empty for an object of a list."""

    @property
    def title(self) -> str:
        """The title of its section in the reference: the path without the names of the author's choice."""
        return ".".join(step for step in self.path if step != ANY_NAME) or "The contract"

    @property
    def anchor(self) -> str:
        """The anchor of its section, as GitHub and Python-Markdown compute it from the title."""
        return re.sub(r"[^\w\s-]", "", self.title.lower()).replace(" ", "-")

    @property
    def example(self) -> JsonObject:
        """The object with all of its members, except the documentation, which looks the same everywhere."""
        return {member.name: member.example for member in self.members if member.name != "docs"}


def list_sections() -> list[Section]:
    """Return every object of the format once, in the order in which a contract has them."""
    sections: dict[str, Section] = {}
    for section in _walk(_Schemas(described_schema()), "", ()):
        sections.setdefault(section.object_name, section)
    return [*sections.values()]


def walk_members() -> Iterator[Member]:
    """Yield every member at every place that it may have."""
    for section in _walk(_Schemas(described_schema()), "", ()):
        yield from section.members


def write_path(path: tuple[str, ...]) -> str:
    """Return a path as the reference writes it: `jobs.<name>.ackWaitMs`."""
    return ".".join(path)


class _Schemas:
    """The schemas of the objects by class name; the contract's own has the name ""."""

    def __init__(self, schema: JsonObject) -> None:
        self.objects: Mapping[str, JsonObject] = {
            "": schema,
            **cast("Mapping[str, JsonObject]", schema["$defs"]),
        }

    def compose(self, name: str) -> JsonObject:
        """Return an example of an object with every member."""
        properties = cast("Mapping[str, JsonObject]", self.objects[name]["properties"])
        return {member: self.find_example(node) for member, node in properties.items() if member != "docs"}

    def find_example(self, node: JsonObject) -> JsonValue:
        """Return the example of a member."""
        examples = node.get("examples")
        example = examples[0] if isinstance(examples, list) else None
        held, is_by_name = _find_object(node)
        if held is None or not (example is None or is_by_name):
            return example
        return {str(example): self.compose(held)} if is_by_name else self.compose(held)

    def find_name(self, member: str, node: JsonObject) -> str:
        """Return what the example of an object is called."""
        examples = node.get("examples")
        is_by_name = _find_object(node)[1]
        return (
            str(examples[0])
            if is_by_name and isinstance(examples, list)
            else ""
            if "items" in node
            else member
        )


def _walk(schemas: _Schemas, name: str, path: tuple[str, ...], example_name: str = "") -> Iterator[Section]:
    """Yield an object, then those in it."""
    node = schemas.objects[name]
    properties = cast("Mapping[str, JsonObject]", node["properties"])
    required = cast("list[str]", node.get("required", []))
    members = [
        _describe((*path, member), each, schemas, is_required=member in required)
        for member, each in properties.items()
    ]
    yield Section(
        path=path,
        object_name=name,
        description=str(node.get("description", "")),
        members=tuple(members),
        example_name=example_name,
    )
    for member, each in zip(members, properties.values(), strict=True):
        held, is_by_name = _find_object(each)
        if held is not None and held != _REFERENCE:
            step = (ANY_NAME,) if is_by_name else ()
            yield from _walk(schemas, held, (*member.path, *step), schemas.find_name(member.name, each))


def _describe(path: tuple[str, ...], node: JsonObject, schemas: _Schemas, *, is_required: bool) -> Member:
    absent = "" if is_required else node.get("absent") or f"`{_write_json(node.get('default'))}`"
    return Member(
        path=path,
        kind=_describe_kind(path[-1], node),
        is_required=is_required,
        absent=str(absent),
        description=str(node["description"]),
        python=str(node.get("python", "")),
        example=schemas.find_example(node),
        object_name=_find_object(node)[0],
        is_by_name=isinstance(node.get("additionalProperties"), dict),
    )


def _find_object(node: JsonObject) -> tuple[str | None, bool]:
    """Return the class of the object that a member holds, and whether it holds several by name."""
    values = node.get("additionalProperties")
    if isinstance(values, dict) and "$ref" in values:
        return _last(values), True
    items = node.get("items")
    if isinstance(items, dict) and "$ref" in items:
        return _last(items), False
    return (_last(node), False) if "$ref" in node else (None, False)


def _last(node: JsonObject) -> str:
    return str(node["$ref"]).rpartition("/")[2]


def _describe_kind(name: str, node: JsonObject) -> str:
    if "$ref" in node:
        return "schema reference" if _last(node) == _REFERENCE else "object"
    match node.get("type"):
        case "integer":
            return _describe_number(name, node)
        case "boolean":
            return "`true`, `false`"
        case "array":
            return f"list: {_describe_kind(name, cast('JsonObject', node['items']))}"
        case "object":
            return f"by name: {_describe_values(cast('JsonObject', node['additionalProperties']))}"
        case _:
            values = cast("list[JsonValue]", node.get("enum", [node["const"]] if "const" in node else []))
            pattern = _TEXTS.get(str(node.get("pattern")), "text")
            return ", ".join(f"`{_write_json(value)}`" for value in values) or pattern


def _describe_values(node: JsonObject) -> str:
    return "JSON Schema" if node.get("description") == "A JSON Schema." else _describe_kind("", node)


def _describe_number(name: str, node: JsonObject) -> str:
    unit = next((f" {unit}" for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    most = UNUSUAL_LIMITS.get(name)
    least = node["minimum"]
    limits = f"{least} to {most}" if most else f"from {least}"
    return f"integer{unit}, {limits}"


def _write_json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
