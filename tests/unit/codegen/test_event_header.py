"""An event whose schema declares the `header` that the runtime writes can be built without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue, TypeAdapter, ValidationError

from tests.support.generated import adapter, generated

HEADER: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "time": {"type": "string", "format": "date-time"}},
    "required": ["id", "time"],
}
PLAIN: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"header": HEADER, "orderId": {"type": "string"}},
    "required": ["header", "orderId"],
}
SPELLINGS: dict[str, dict[str, JsonValue]] = {
    "plain": PLAIN,
    "closed": {**PLAIN, "additionalProperties": False},
    "in a part": {
        "allOf": [
            {"type": "object", "properties": {"header": HEADER}, "required": ["header"]},
            {"type": "object", "properties": {"orderId": {"type": "string"}}, "required": ["orderId"]},
        ]
    },
    "in an alternative": {
        "oneOf": [PLAIN, {"type": "object", "properties": {"other": HEADER}, "required": ["other"]}]
    },
    "behind a reference": {"$ref": "#/definitions/Event", "definitions": {"Event": PLAIN}},
}
WHOLE = b'{"orderId":"1","header":{"id":"e","time":"2026-01-01T00:00:00.000Z"}}'


def contract(schema: JsonValue, *, is_event: bool) -> JsonValue:
    used: dict[str, JsonValue] = {"schema": "Shipped"}
    surface: JsonValue = (
        {
            "events": {
                "Orders.Shipped": {"version": "v1", "subject": "events.v1.Orders.Shipped", "event": used}
            }
        }
        if is_event
        else {"resources": {"kv": {"orders": {"purpose": "orders", "schema": used}}}}
    )
    assert isinstance(surface, dict)
    return {
        "format": "trellis.contract.v1",
        "id": "orders@v1",
        "displayName": "Orders",
        "description": "Orders.",
        "kind": "service",
        "schemas": {"Shipped": schema},
        **surface,
    }


def read(model: TypeAdapter[object], data: bytes) -> object:
    return model.validate_json(data)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_event_is_built_without_its_header(spelling: str, tmp_path: Path) -> None:
    package, _ = generated(contract(SPELLINGS[spelling], is_event=True), tmp_path)
    model = adapter(package, "Shipped")

    assert (
        model.dump_json(read(model, b'{"orderId":"1"}'), by_alias=True, exclude_unset=True)
        == b'{"orderId":"1"}'
    )
    assert b'"id":"e"' in model.dump_json(read(model, WHOLE), by_alias=True, exclude_unset=True)
    with pytest.raises(ValidationError):
        read(model, b'{"header":{"id":"e","time":"2026-01-01T00:00:00.000Z"}}')
    with pytest.raises(ValidationError):
        read(model, b'{"orderId":"1","header":{"id":1}}')


def test_a_schema_without_an_event_keeps_its_required_header(tmp_path: Path) -> None:
    package, _ = generated(contract(PLAIN, is_event=False), tmp_path)

    with pytest.raises(ValidationError):
        read(adapter(package, "Shipped"), b'{"orderId":"1"}')
