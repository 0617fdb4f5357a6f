"""Contracts around the examples of the rules: one use of a schema for each surface, and what fragments refer to."""

from __future__ import annotations

from typing import Final, TypeAlias

from pydantic import JsonValue

__all__ = ["USES", "JsonObject", "complete"]

JsonObject: TypeAlias = dict[str, JsonValue]

_VALUE: Final[JsonObject] = {"schema": "Value"}
_ANY: Final[JsonObject] = {"schema": "Any"}
_CALL: Final[JsonObject] = {"version": "v1", "input": _ANY, "output": _ANY}


def _call(subject: str, **fields: JsonValue) -> JsonObject:
    return {**_CALL, "subject": f"{subject}.v1.X", **fields}


USES: Final[dict[str, JsonObject]] = {
    "JOB_PAYLOAD": {"jobs": {"q": {"payload": _VALUE}}},
    "JOB_RESULT": {"jobs": {"q": {"payload": _ANY, "result": _VALUE}}},
    "JOB_UPDATE": {"jobs": {"q": {"payload": _ANY, "update": _VALUE}}},
    "RPC_INPUT": {"rpc": {"X": _call("rpc", input=_VALUE)}},
    "RPC_OUTPUT": {"rpc": {"X": _call("rpc", output=_VALUE)}},
    "ERROR_DATA": {"errors": {"E": {"type": "E", "schema": _VALUE}}, "rpc": {"X": _call("rpc", errors=[{"type": "E"}])}},
    "OPERATION_INPUT": {"operations": {"X": _call("operations", input=_VALUE)}},
    "OPERATION_OUTPUT": {"operations": {"X": _call("operations", output=_VALUE)}},
    "OPERATION_PROGRESS": {"operations": {"X": _call("operations", progress=_VALUE)}},
    "SIGNAL_INPUT": {"operations": {"X": _call("operations", signals={"go": {"input": _VALUE}})}},
    "EVENT": {"events": {"X": {"version": "v1", "subject": "events.v1.X", "event": _VALUE}}},
    "FEED_INPUT": {"feeds": {"X": {"version": "v1", "subject": "feeds.v1.X", "input": _VALUE, "event": _ANY}}},
    "FEED_EVENT": {"feeds": {"X": {"version": "v1", "subject": "feeds.v1.X", "input": _ANY, "event": _VALUE}}},
    "KV_VALUE": {"resources": {"kv": {"k": {"purpose": "Values.", "schema": _VALUE}}}},
    "STATE_VALUE": {"kind": "app", "state": {"view": {"kind": "value", "schema": _VALUE}}},
}  # fmt: skip
"""A use of the schema `Value` for each surface, next to uses of the schema `Any`."""


def complete(fragment: JsonObject) -> JsonObject:
    """Return a valid contract with the sections of a fragment, and what examples refer to."""
    members = ("id", "origin", "account", "kind", "file")
    text: JsonValue = {"type": "string"}
    record: JsonObject = {
        "type": "object",
        "properties": dict.fromkeys(members, text),
        "required": list[JsonValue](members),
    }
    rights: JsonObject = {
        name: {"displayName": name, "description": f"The right {name}."} for name in ("o.read", "o.write")
    }
    return {
        "format": "trellis.contract.v1",
        "id": "orders@v1",
        "displayName": "Orders",
        "description": "Takes orders.",
        "kind": "service",
        "capabilities": rights,
        "schemas": {"R": record, "Q": {**record, "title": "Q"}},
        "exports": {"schemas": ["R", "Q"]},
        **fragment,
    }
