"""Contracts of any size, made up: every schema has names of its own, as those of a real contract have."""

from __future__ import annotations

from pydantic import JsonValue

__all__ = ["Object", "many_queues", "many_schemas", "many_values"]

Object = dict[str, JsonValue]


def many_schemas(count: int) -> Object:
    """Return a contract with `count` schemas, each an object with two or three objects inside; half are RPCs."""
    names = [f"{_word(index)}Record" for index in range(count)]
    rpc: Object = {
        f"{_word(index)}.Get": {
            "version": "v1",
            "subject": f"rpc.v1.{_word(index)}.Get",
            "input": {"schema": name},
            "output": {"schema": names[index + 1]},
        }
        for index, name in enumerate(names[:-1:2])
    }
    return {**_contract(), "schemas": {name: _record(index) for index, name in enumerate(names)}, "rpc": rpc}


def many_queues(count: int) -> Object:
    """Return a contract with `count` queues that share sixteen schemas."""
    shared = many_schemas(16)["schemas"]
    names = list(shared) if isinstance(shared, dict) else []
    jobs: Object = {
        f"do-{_word(index).lower()}": {
            "payload": {"schema": names[index % 16]},
            "result": {"schema": names[(index + 7) % 16]},
            "maxDeliver": 4,
            "backoffMs": [1000, 5000, 60000],
            "docs": {
                "summary": f"Do {_word(index)}.",
                "markdown": f"Does {_word(index)} for the `{index}`th time.",
            },
        }
        for index in range(count)
    }
    return {**_contract(), "schemas": shared, "jobs": jobs}


def many_values(count: int) -> Object:
    """Return a contract with an enumeration of `count` texts."""
    status: Object = {"type": "string", "enum": [f"value-{number}" for number in range(count)]}
    return {**_contract(), "schemas": {"Thing": _object({"status": status})}}


def _contract() -> Object:
    return {
        "format": "trellis.contract.v1",
        "id": "large-service@v1",
        "displayName": "Large",
        "description": "As large as wanted.",
        "kind": "service",
    }


def _word(index: int) -> str:
    """Return a name without digits: `Wa`, `Wb`, …, `Wba`."""
    letters = ""
    while True:
        index, rest = divmod(index, 26)
        letters = chr(ord("a") + rest) + letters
        if not index:
            return f"W{letters}"


def _record(index: int) -> JsonValue:
    word = _word(index).lower()
    text: Object = {"type": "string", "minLength": 1, "description": f"The text of {word}."}
    properties: Object = {
        f"{word}Id": {"type": "string", "pattern": "^[A-Z0-9]{26}$"},
        f"{word}At": {"type": "string", "format": "date-time"},
        f"{word}Kind": {"type": "string", "enum": [f"{word}-new", f"{word}-old"]},
        f"{word}Count": {"type": "integer", "minimum": 0, "maximum": 1000 + index},
        f"{word}Tags": {"type": "array", "items": {"type": "string"}, "maxItems": 16},
        f"{word}Labels": {"type": "object", "additionalProperties": {"type": "string"}},
        f"{word}Note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        f"{word}Owner": _object({f"{word}Name": text, f"{word}Mail": {"type": "string", "format": "email"}}),
        f"{word}Lines": {
            "type": "array",
            "items": _object({f"{word}Sku": text, f"{word}Amount": {"type": "number"}}),
        },
    }
    if index % 2:
        properties[f"{word}Place"] = _object({f"{word}City": text, f"{word}Street": text})
    return {**_object(properties), "description": f"A record of {word}."}


def _object(properties: Object) -> Object:
    return {"type": "object", "properties": properties, "required": list[JsonValue](properties)}
