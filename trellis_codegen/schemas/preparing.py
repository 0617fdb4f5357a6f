"""A valid schema in one spelling, so that what comes later need not know the others."""

from __future__ import annotations

from pydantic import JsonValue

from trellis_codegen.contract.pointers import canonical_reference
from trellis_codegen.schemas.checking import replace_subschemas
from trellis_codegen.schemas.wellformed import COUNTS

__all__ = ["prepare_schema"]


def prepare_schema(schema: JsonValue) -> JsonValue:
    """Return a schema with every reference in its canonical form, and with counts such as `2.0` as integers."""

    def prepare(node: JsonValue) -> JsonValue:
        if not isinstance(node, dict):
            return node
        result = replace_subschemas(node, lambda each, _: prepare(each))
        if isinstance(reference := node.get("$ref"), str):
            result["$ref"] = canonical_reference(schema, reference)
        for keyword in COUNTS & node.keys():
            if isinstance(count := node[keyword], float):
                result[keyword] = int(count)
        return result

    return prepare(schema)
