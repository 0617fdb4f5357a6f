"""Schemas of unusual shapes, each with values that it accepts and values that it refuses."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import JsonValue

from tests.unit.codegen.contracts import TEXT, JsonObject

__all__ = ["SHAPES", "Shape"]


class Shape(NamedTuple):
    """One schema."""

    schema: JsonValue
    right: list[JsonValue]
    wrong: list[JsonValue]


NULL: JsonValue = {"type": "null"}
NUMBER: JsonValue = {"type": "number"}
WHOLE: JsonValue = {"type": "integer"}


def record(*required: str, **properties: JsonValue) -> JsonObject:
    return {"type": "object", "properties": properties, "required": list[JsonValue](required)}


def listed(schema: JsonValue) -> JsonObject:
    return {"type": "array", "items": schema}


def single(schema: JsonValue) -> JsonObject:
    return {"type": "array", "prefixItems": [schema], "minItems": 1, "items": False}


def mapped(schema: JsonValue) -> JsonObject:
    return {"type": "object", "additionalProperties": schema}


def either(*schemas: JsonValue) -> JsonObject:
    return {"anyOf": list(schemas)}


def to(name: str) -> JsonObject:
    return {"$ref": f"#/$defs/{name}"}


def having(schema: JsonObject, **definitions: JsonValue) -> JsonObject:
    return {**schema, "$defs": definitions}


ROOT: JsonObject = {"$ref": "#"}
NODE = record("value", value=WHOLE, next=either(to("Node"), NULL))
PYDANTIC_TREE: JsonObject = {
    "$defs": {
        "Tree": {
            "properties": {
                "name": {"title": "Name", "type": "string"},
                "children": {"items": to("Tree"), "title": "Children", "type": "array", "default": []},
                "parent": {"anyOf": [to("Tree"), NULL], "default": None},
            },
            "required": ["name"],
            "title": "Tree",
            "type": "object",
        }
    },
    "$ref": "#/$defs/Tree",
}
"""What pydantic's `model_json_schema()` returns for a model that contains itself."""
PYDANTIC_PAIR: JsonObject = {
    "$defs": {
        "Folder": record("files", files=listed(to("File"))),
        "File": record("name", name=TEXT, folder=either(to("Folder"), NULL)),
    },
    "$ref": "#/$defs/Folder",
}
JSON: JsonObject = {"type": ["string", "number", "boolean", "null", "array", "object"], "items": ROOT, "additionalProperties": ROOT}  # fmt: skip

SHAPES: dict[str, Shape] = {
    # Recursion at the root, as pydantic writes it and in other forms.
    "PydanticTree": Shape(PYDANTIC_TREE, [{"name": "a"}, {"name": "a", "parent": None, "children": [{"name": "b"}]}], [{}, {"name": "a", "children": [{}]}, {"name": "a", "parent": {}}]),
    "PydanticPair": Shape(PYDANTIC_PAIR, [{"files": []}, {"files": [{"name": "f", "folder": {"files": []}}]}], [{"files": [{"name": "f", "folder": {}}]}]),
    "ListOfNodes": Shape(having(listed(to("Node")), Node=NODE), [[], [{"value": 1, "next": {"value": 2}}]], [[{}], [{"value": 1, "next": {}}]]),
    "MapOfNodes": Shape(having(mapped(to("Node")), Node=NODE), [{}, {"a": {"value": 1, "next": None}}], [{"a": {}}, {"a": None}]),
    "NodeOrNull": Shape(having(either(to("Node"), NULL), Node=NODE), [None, {"value": 1, "next": {"value": 2}}], [{}, 1]),
    "PairOfNodes": Shape(having({"type": "array", "prefixItems": [to("Node"), WHOLE], "minItems": 2, "items": False}, Node=NODE), [[{"value": 1}, 2]], [[{}, 2], [{"value": 1}]]),
    "ChainOfReferences": Shape(having(to("A"), A=to("B"), B=to("Node"), Node=NODE), [{"value": 1}], [{}]),
    "RootReference": Shape(record("value", value=WHOLE, children=listed(ROOT)), [{"value": 1, "children": [{"value": 2}]}], [{"value": 1, "children": [{}]}]),
    "RootList": Shape(listed(ROOT), [[], [[], [[]]]], [[1], {}, [None]]),
    "RootMap": Shape(mapped(ROOT), [{}, {"a": {"b": {}}}], [{"a": 1}, []]),
    "RootObjectOrNull": Shape(either(record("value", value=WHOLE, next=ROOT), NULL), [None, {"value": 1, "next": None}, {"value": 1, "next": {"value": 2}}], [{}, {"value": 1, "next": {}}]),
    "RootTypeList": Shape({"type": ["object", "null"], "properties": {"next": ROOT}}, [None, {}, {"next": {"next": None}}], [{"next": 1}, 1]),
    "RootTextOrList": Shape(either(TEXT, listed(ROOT)), ["a", ["a", ["b"]]], [1, [1], {}]),
    "AnyJson": Shape(JSON, [1, "a", None, [1, {"a": [None]}], {"a": {"b": True}}], []),
    "Mutual": Shape(having(to("A"), A=record(b=to("B")), B=record("a", a=either(to("A"), NULL))), [{}, {"b": {"a": None}}, {"b": {"a": {"b": {"a": {}}}}}], [{"b": {}}, {"b": {"a": 1}}]),
    "MutualMapAndList": Shape(having(to("M"), M=mapped(to("L")), L=listed(to("M"))), [{}, {"a": [{}, {"b": []}]}], [{"a": {}}, {"a": [[]]}]),
    # Recursion through something that is not an object.
    "RecursiveMap": Shape(having(record(t=to("T")), T=mapped(to("T"))), [{}, {"t": {"a": {"b": {}}}}], [{"t": {"a": 1}}, {"t": None}]),
    "RecursiveNullableMap": Shape(having(record(t=to("T")), T={"type": ["object", "null"], "additionalProperties": to("T")}), [{}, {"t": None}, {"t": {"a": None, "b": {}}}], [{"t": 1}, {"t": {"a": 1}}]),
    "RecursiveList": Shape(having(record("t", t=to("T")), T=listed(either(to("T"), WHOLE))), [{"t": [1, [2, []]]}], [{"t": 1}, {"t": ["a"]}]),
    "RecursiveNullableObject": Shape(having(record(t=to("T")), T=either(record("v", v=WHOLE, next=to("T")), NULL)), [{}, {"t": None}, {"t": {"v": 1, "next": {"v": 2, "next": None}}}], [{"t": {}}, {"t": {"v": 1, "next": {}}}]),
    "RecursiveObjectOrText": Shape(having(listed(to("T")), T=either(record("inner", inner=listed(to("T"))), TEXT)), [["a", {"inner": ["b", {"inner": []}]}]], [[{"inner": [1]}], [{}]]),
    "RecursiveVariants": Shape(having(to("Expr"), Expr={"oneOf": [record("kind", "value", kind={"const": "number"}, value=NUMBER), record("kind", "left", "right", kind={"const": "sum"}, left=to("Expr"), right=to("Expr")), record("kind", "of", kind={"const": "not"}, of=to("Expr"))]}), [{"kind": "number", "value": 1}, {"kind": "sum", "left": {"kind": "number", "value": 1}, "right": {"kind": "not", "of": {"kind": "number", "value": 2}}}], [{"kind": "sum", "left": {"kind": "number", "value": 1}}, {"kind": "sum", "left": {}, "right": {}}]),
    "RecursiveUnionOfTwo": Shape(having(record(a=to("T"), b=listed(to("T"))), T=either(record("x", x=to("T")), record("y", y=listed(to("T"))), NULL)), [{}, {"a": {"x": {"y": []}}, "b": [None, {"x": None}]}], [{"a": {}}, {"a": {"x": 1}}]),
    "RecursiveTuple": Shape(having(record("t", t=to("T")), T=either(NULL, {"type": "array", "prefixItems": [WHOLE, to("T")], "minItems": 2, "items": False})), [{"t": None}, {"t": [1, [2, None]]}], [{"t": [1]}, {"t": [1, [2]]}]),
    "RecursivePatternMap": Shape(having(to("T"), T={"type": "object", "patternProperties": {"^x": to("T")}, "additionalProperties": False}), [{}, {"x": {"xy": {}}}], [{"y": {}}, {"x": {"y": {}}}]),
    "RecursiveClosedMapValue": Shape(having(record(t=to("T")), T=record(name=TEXT, more=mapped(to("T")))), [{"t": {"more": {"a": {"more": {}}}}}], [{"t": {"more": {"a": {"name": 1}}}}]),
    "RecursiveFurtherMembers": Shape({**record(name=TEXT), "additionalProperties": ROOT}, [{}, {"name": "a", "x": {"y": {}}}], [{"x": 1}, {"x": {"name": 1}}]),
    "TwoOfOneTail": Shape({**record(a={"$ref": "#/$defs/x/$defs/T"}, b={"$ref": "#/$defs/y/$defs/T"}), "$defs": {"x": {"$defs": {"T": mapped({"$ref": "#/$defs/x/$defs/T"})}}, "y": {"$defs": {"T": listed({"$ref": "#/$defs/y/$defs/T"})}}}}, [{"a": {"k": {}}, "b": [[]]}], [{"a": []}, {"b": {}}]),
    # Types at the root that are not classes.
    "ObjectOrNull": Shape(either(record(a=TEXT), NULL), [None, {}, {"a": "x"}], [1, {"a": 1}]),
    "NullOrObject": Shape(either(NULL, record(a=TEXT)), [None, {"a": "x"}], [[]]),
    "ObjectOrNullByType": Shape({"type": ["object", "null"], "properties": {"a": TEXT}}, [None, {}], [{"a": None}]),
    "OnlyNull": Shape(NULL, [None], [0, {}]),
    "NullTwice": Shape(either(NULL, NULL), [None], [0, "", {}]),
    "NullAndConstantNull": Shape(either({"const": None}, NULL), [None], [0]),
    "NullInAnEnumeration": Shape(record(it=either(TEXT, {"enum": [None, 1]})), [{}, {"it": None}, {"it": 1}, {"it": "a"}], [{"it": 2}, {"it": True}]),
    "NullInTwoEnumerations": Shape(record(it=either({"enum": [None, 1]}, {"enum": ["a", None]})), [{}, {"it": None}, {"it": "a"}], [{"it": 2}]),
    "NullInNestedUnions": Shape(record(it=either(either(TEXT, NULL), either(WHOLE, NULL))), [{}, {"it": None}, {"it": 1}, {"it": "a"}], [{"it": 1.5}]),
    # Objects that need names.
    "TwoLists": Shape(record(m=either(listed(record("a", a=TEXT)), listed(record("b", b=TEXT)))), [{}, {"m": [{"a": "x"}]}, {"m": [{"b": "x"}]}], [{"m": [{}]}, {"m": [{"a": "x"}, {"b": "x"}]}]),
    "TwoMaps": Shape(record(m=either(mapped(record("a", a=TEXT)), mapped(record("b", b=TEXT)))), [{"m": {"k": {"a": "x"}}}, {"m": {"k": {"b": "x"}}}], [{"m": {"k": {}}}]),
    "TwoTuples": Shape(record(m=either(single(record("a", a=TEXT)), single(record("b", b=TEXT)))), [{"m": [{"a": "x"}]}, {"m": [{"b": "x"}]}], [{"m": [{}]}]),
    "ListMapAndObject": Shape(record(m=either(record("item", item=record("x", x=TEXT)), listed(record("y", y=TEXT)), mapped(record("z", z=TEXT)))), [{"m": {"item": {"x": "a"}}}, {"m": [{"y": "a"}]}, {"m": {"k": {"z": "a"}}}], [{"m": [{}]}, {"m": {"k": {}}}]),
    "ListsOfListsAndObjects": Shape(record(items=either(listed(listed(record("a", a=TEXT))), listed(record("items", items=listed(record("b", b=TEXT)))))), [{"items": [[{"a": "x"}]]}, {"items": [{"items": [{"b": "x"}]}]}], [{"items": [[{"b": "x"}]]}]),
    "UnionsInLists": Shape(record(m=either(listed(either(record("a", a=TEXT), record("b", b=TEXT))), listed(either(record("c", c=TEXT), WHOLE)))), [{"m": [{"a": "x"}, {"b": "x"}]}, {"m": [1, {"c": "x"}]}], [{"m": [{"a": "x"}, 1]}]),
    "AlternativesOfRequired": Shape({"type": "object", "properties": {"a": TEXT, "b": TEXT}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": "x"}, {"b": "x"}, {"a": "x", "b": "y"}], [{}, {"a": 1}, {"a": "x", "b": 1}]),
    "NullableAlternativesOfRequired": Shape(record(m={"type": ["object", "null"], "properties": {"a": TEXT, "b": TEXT}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}, NULL]}), [{"m": None}, {"m": {"a": "x"}}, {"m": {"b": "x"}}], [{"m": {}}, {"m": {"a": 1}}]),
    "NullableUnionOfUnions": Shape(record(m=either(NULL, either(record("a", a=TEXT), NULL), either(record("b", b=TEXT), record("c", c=TEXT)))), [{"m": None}, {"m": {"c": "x"}}], [{"m": {}}]),
    "MapOfUnions": Shape(mapped(either(record("a", a=TEXT), listed(record("b", b=TEXT)), NULL)), [{"k": {"a": "x"}, "l": [{"b": "x"}], "m": None}], [{"k": {}}, {"k": [{}]}]),
    "ValueAndFurtherMembers": Shape({**record(value=record("a", a=TEXT)), "additionalProperties": record("b", b=TEXT)}, [{"value": {"a": "x"}, "k": {"b": "x"}}], [{"value": {"b": "x"}}, {"k": {"a": "x"}}]),
    "TitledTwins": Shape(record(aB=record(c={**record(x=TEXT), "title": "First"}), a=record(bC={**record(y=TEXT), "title": "Second"})), [{"aB": {"c": {"x": "a"}}, "a": {"bC": {"y": "b"}}}], [{"aB": {"c": {"x": 1}}}]),
    # Members that only another part of the schema declares.
    "TwoOpenObjects": Shape(either(record("bar", bar=WHOLE), record("foo", foo=TEXT)), [{"bar": 1, "foo": "a"}, {"bar": 1, "more": 1}, {"foo": "a"}], [{}]),
    "TwoOpenObjectsOrNull": Shape(record(it=either(record("bar", bar=WHOLE), record("foo", foo=TEXT), NULL)), [{"it": {"bar": 1, "foo": "a"}}, {"it": None}], [{"it": {}}]),
    "ObjectOrMap": Shape(either(record("bar", bar=WHOLE), mapped({})), [{"bar": 1, "foo": "a"}, {"foo": "a"}], []),
    "TwoListsOfOpenObjects": Shape(either(listed(record("a", a=TEXT)), listed(record("b", b=TEXT))), [[{"a": "x", "b": "y"}], [{"b": "y", "a": "x", "c": 1}]], [[{}]]),
    "TwoMapsOfOpenObjects": Shape(either(mapped(record("a", a=TEXT)), mapped(record("b", b=TEXT)), NULL), [{"k": {"a": "x", "b": "y"}}], [{"k": {}}]),
    "OpenObjectsInMembers": Shape(either(record("it", it=record("a", a=TEXT)), record("it", it=record("b", b=TEXT))), [{"it": {"a": "x", "b": "y"}}], [{"it": {}}]),
    "OpenObjectsInListsOfMembers": Shape(either(record("it", it=listed(record("a", a=TEXT))), record("it", it=listed(either(record("b", b=TEXT), NULL)))), [{"it": [{"a": "x", "b": "y"}]}, {"it": [None]}], [{"it": [{}]}]),
    "ObjectOrMapOfObjects": Shape(either(record("it", it=record("a", a=TEXT)), mapped(record("b", b=TEXT))), [{"it": {"a": "x", "b": "y"}, "k": {"b": "x", "a": "y"}}], [{"it": {}}]),
    "TwoTuplesOfOpenObjects": Shape(either(single(record("a", a=TEXT)), single(record("b", b=TEXT)), listed(record("c", c=TEXT))), [[{"a": "x", "b": "y", "c": "z"}]], [[{}]]),
    "ReferencedOpenObjects": Shape(having(listed(either(to("A"), to("B"))), A=record("a", a=TEXT, next=to("A")), B=record("b", b=TEXT, next=to("B"))), [[{"a": "x", "b": "y"}]], [[{}]]),
    "AdditionalTrue": Shape({**record(a=TEXT), "additionalProperties": True}, [{"a": "x", "b": [1, {"c": None}]}], [{"a": 1}]),
    "AdditionalEmpty": Shape({**record(a=TEXT), "additionalProperties": {}}, [{"a": "x", "b": [1, {"c": None}]}], [{"a": 1}]),
    "AdditionalTrueInParts": Shape({"allOf": [{**record(a=TEXT), "additionalProperties": True}, record(b=TEXT)]}, [{"a": "x", "b": "y", "c": 1}], [{"b": 1}]),
}  # fmt: skip
