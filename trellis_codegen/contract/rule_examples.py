"""An example of each rule of `trellis-gen validate`: what it reports. Tests drive them, and the reference shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.limits import MAX_NUMBER_LENGTH, MAX_SIZE_BYTES
from trellis_codegen.rule_ids import Rule

__all__ = ["RULE_EXAMPLES", "RuleExample", "write_contract"]

JsonObject: TypeAlias = dict[str, JsonValue]

_TEXT: JsonValue = {"type": "string"}
_THING: JsonValue = {"schema": "Thing"}
_OBJECT: JsonValue = {
    "type": "object",
    "properties": {"thingId": _TEXT, "size": {"type": "number"}},
    "required": ["thingId", "size"],
}


def write_contract(sections: JsonObject, contract_id: str = "things@v1") -> bytes:
    """Return a whole contract with some sections; it has the schema `Thing`, which it exports."""
    whole: JsonObject = {
        "format": "trellis.contract.v1",
        "id": contract_id,
        "displayName": "Things",
        "description": "Keeps things.",
        "kind": "service",
        "schemas": {"Thing": _OBJECT},
        "exports": {"schemas": ["Thing"]},
    }
    schemas = sections.get("schemas")
    if isinstance(schemas, dict):
        whole["exports"] = {"schemas": ["Thing", *schemas]}
        sections = {**sections, "schemas": {"Thing": _OBJECT, **schemas}}
    return json.dumps({**whole, **sections}, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class RuleExample:
    """What a rule reports."""

    sections: JsonObject = field(default_factory=dict[str, JsonValue])
    """Members of a contract; the others are those of `write_contract`."""
    file: bytes | None = None
    """The whole file instead, where it is not a contract."""
    names: dict[str, str] = field(default_factory=dict[str, str])
    """`[tool.trellis-gen.names]`."""
    other: JsonObject | None = None
    """Members of the contract `other@v1`, which the example uses."""

    @property
    def data(self) -> bytes:
        """The bytes of the manifest."""
        return write_contract(self.sections) if self.file is None else self.file


def _job(**members: JsonValue) -> RuleExample:
    return RuleExample({"jobs": {"keep": {"payload": _THING, **members}}})


def _schema(**keywords: JsonValue) -> RuleExample:
    return RuleExample({"schemas": {"Other": {**keywords}}})


def _member(schema: JsonValue) -> RuleExample:
    return _schema(type="object", properties={"value": schema})


def _rpc(**members: JsonValue) -> JsonObject:
    return {"version": "v1", "subject": "rpc.v1.Things.Get", "input": _THING, "output": _THING, **members}


def _event(subject: str, *params: str) -> RuleExample:
    event: JsonObject = {"version": "v1", "subject": subject, "event": _THING}
    return RuleExample({"events": {"Things.Kept": {**event, **({"params": [*params]} if params else {})}}})


def _consumer(group: JsonObject, *subscribed: str) -> RuleExample:
    use: JsonObject = {"contract": "other@v1", "events": {"subscribe": [*subscribed]}}
    return RuleExample({"uses": {"required": {"other": use}}, "eventConsumers": {"audit": group}})


def _use(**selections: JsonValue) -> JsonObject:
    return {"uses": {"required": {"other": {"contract": "other@v1", **selections}}}}


_OTHER: Final[JsonObject] = {"rpc": {"Things.Get": _rpc(internal=True)}}

RULE_EXAMPLES: Final[dict[Rule, RuleExample]] = {
    Rule.NOT_JSON: RuleExample(file=b'{"id": "things@v1",}'),
    Rule.NOT_UTF_8: RuleExample(file=b'{"id": "\xe4@v1"}'),
    Rule.BYTE_ORDER_MARK: RuleExample(file=b'\xef\xbb\xbf{"id": "things@v1"}'),
    Rule.DUPLICATE_NAME: RuleExample(file=b'{"id": "things@v1", "id": "things@v2"}'),
    Rule.LONE_SURROGATE: RuleExample(file=b'{"id": "\\ud83d@v1"}'),
    Rule.NUMBER_TOO_LARGE: RuleExample(file=b'{"id": ' + b"9" * (MAX_NUMBER_LENGTH + 1) + b"}"),
    Rule.TOO_DEEP: RuleExample(file=b"[" * 200 + b"]" * 200),
    Rule.FILE_TOO_LARGE: RuleExample(file=b" " * (MAX_SIZE_BYTES + 1)),
    Rule.MISSING_FIELD: RuleExample({"jobs": {"keep": {"result": _THING}}}),
    Rule.UNKNOWN_FIELD: _job(maxDelivers=3),
    Rule.UNSUPPORTED_FIELD: RuleExample({"subjects": {"raw": "things.>"}}),
    Rule.WRONG_TYPE: _job(maxDeliver="5"),
    Rule.WRONG_VALUE: RuleExample({"kind": "servise"}),
    Rule.EMPTY_VALUE: RuleExample({"displayName": ""}),
    Rule.NULL_VALUE: _job(result=None),
    Rule.OUT_OF_RANGE: _job(maxDeliver=0),
    Rule.HISTORY_TOO_LONG: RuleExample(
        {"resources": {"kv": {"things": {"purpose": "Things.", "schema": _THING, "history": 65}}}}
    ),
    Rule.WITHOUT_EFFECT: RuleExample({"errors": {"Gone": {"type": "Gone"}, "Lost": {"type": "Gone"}}}),
    Rule.UNKNOWN_SCHEMA: RuleExample({"jobs": {"keep": {"payload": {"schema": "Thign"}}}}),
    Rule.UNKNOWN_ERROR: RuleExample({"rpc": {"Things.Get": _rpc(errors=[{"type": "NoThing"}])}}),
    Rule.UNKNOWN_STORE: RuleExample(
        {
            "operations": {
                "Things.Keep": {
                    "version": "v1",
                    "subject": "operations.v1.Things.Keep",
                    "input": _THING,
                    "output": _THING,
                    "transfer": {"direction": "send", "store": "things", "key": "/thingId"},
                }
            }
        }
    ),
    Rule.UNKNOWN_CAPABILITY: RuleExample(
        {"rpc": {"Things.Get": _rpc(capabilities={"call": ["things::read"]})}}
    ),
    Rule.UNKNOWN_EVENT: RuleExample({"eventConsumers": {"audit": {"self": ["Things.Kept"]}}}),
    Rule.UNKNOWN_ALIAS: RuleExample({"eventConsumers": {"audit": {"uses": {"other": ["Other.Done"]}}}}),
    Rule.UNLISTED_EVENT: _consumer({"uses": {"other": ["Other.Done"]}}, "Other.Begun"),
    Rule.EXPORTED_TWICE: RuleExample({"exports": {"schemas": ["Thing", "Thing"]}}),
    Rule.CONTRACT_NOT_FOUND: RuleExample(_use(rpc={"call": ["Things.Get"]})),
    Rule.UNKNOWN_USED_NAME: RuleExample(_use(rpc={"call": ["Things.Gte"]}), other=_OTHER),
    Rule.INTERNAL_RPC: RuleExample(_use(rpc={"call": ["Things.Get"]}), other=_OTHER),
    Rule.UNUSED_SCHEMA: RuleExample({"exports": {"schemas": []}}),
    Rule.ID_WITHOUT_VERSION: RuleExample({"id": "things"}),
    Rule.REPEATED_NAMESPACE: RuleExample(
        {"capabilities": {"things.read": {"displayName": "Read", "description": "Read things."}}}
    ),
    Rule.INVALID_NAME: RuleExample({"jobs": {"keep.things": {"payload": _THING}}}),
    Rule.INVALID_SUBJECT: RuleExample({"rpc": {"Things.Get": _rpc(subject="rpc.v1.Things.*")}}),
    Rule.UNCONVENTIONAL_SUBJECT: RuleExample({"rpc": {"Things.Get": _rpc(subject="things.get")}}),
    Rule.SUBJECT_OVERLAP: RuleExample({"rpc": {"Things.Get": _rpc(), "Things.Read": _rpc()}}),
    Rule.PARAMS_MISMATCH: _event("events.v1.Things.Kept.{/thingId}", "/size"),
    Rule.INVALID_POINTER: _event("events.v1.Things.Kept.{thingId}", "/thingId"),
    Rule.POINTER_TO_NOTHING: _job(keyConcurrency={"key": ["/name"]}),
    Rule.POINTER_OF_WRONG_TYPE: _job(keyConcurrency={"key": ["/size"]}),
    Rule.OPTIONAL_POINTER: RuleExample(
        {
            "schemas": {"Other": {"type": "object", "properties": {"name": _TEXT}}},
            "jobs": {"keep": {"payload": {"schema": "Other"}, "keyConcurrency": {"key": ["/name"]}}},
        }
    ),
    Rule.LITERAL_KEY: _job(keyConcurrency={"key": ["thingId"]}),
    Rule.QUEUE_WITHOUT_KEY: _job(queue={"maxQueuedPerKey": 1}),
    Rule.LEASE_TOO_SHORT: _job(
        keyConcurrency={"key": ["/thingId"], "heartbeatIntervalMs": 10_000, "heartbeatTtlMs": 5_000}
    ),
    Rule.UNREACHABLE_BACKOFF: _job(maxDeliver=2, backoffMs=[1_000, 5_000]),
    Rule.DLQ_NOT_ENFORCED: _job(dlq=False),
    Rule.IMPOSSIBLE_JOB: RuleExample(
        {"schemas": {"Other": False}, "jobs": {"keep": {"payload": _THING, "result": {"schema": "Other"}}}}
    ),
    Rule.IMPOSSIBLE_ERROR: RuleExample(
        {
            "schemas": {"GoneData": {"type": "object", "properties": {"type": {"const": "Lost"}}}},
            "errors": {"Gone": {"type": "Gone", "schema": {"schema": "GoneData"}}},
            "rpc": {"Things.Get": _rpc(errors=[{"type": "Gone"}])},
        }
    ),
    Rule.EMPTY_CONSUMER: RuleExample({"eventConsumers": {"audit": {"replay": "all"}}}),
    Rule.ORDERED_CONCURRENCY: RuleExample(
        {
            "events": {"Things.Kept": {"version": "v1", "subject": "events.v1.Things.Kept", "event": _THING}},
            "eventConsumers": {"audit": {"self": ["Things.Kept"], "concurrency": 2}},
        }
    ),
    Rule.MISPLACED_SURFACE: RuleExample({"kind": "app", "jobs": {"keep": {"payload": _THING}}}),
    Rule.STATE_OF_SERVICE: RuleExample({"state": {"things": {"kind": "value", "schema": _THING}}}),
    Rule.BUCKET_WITHOUT_SCHEMA: RuleExample({"resources": {"kv": {"things": {"purpose": "Things."}}}}),
    Rule.INVALID_SCHEMA: _member({"type": "strng"}),
    Rule.INVALID_REFERENCE: _member({"$ref": "#/schemas/Thing"}),
    Rule.INVALID_PATTERN: _member({"type": "string", "pattern": "["}),
    Rule.ENDLESS_SCHEMA: _schema(anyOf=[{"$ref": "#"}, {"type": "string"}]),
    Rule.SCHEMA_TOO_LARGE: _schema(anyOf=[{"const": number} for number in range(2_001)]),
    Rule.DOUBTFUL_SCHEMA: _member({"type": "integer", "minimum": 5, "maximum": 3}),
    Rule.UNENFORCED_KEYWORD: _member({"type": "string", "format": "hostname"}),
    Rule.IGNORED_DEFAULT: _member({"type": "string", "default": 5}),
    Rule.NO_PYTHON_NAME: _schema(type="object", properties={"名前": _TEXT}),
    Rule.NAME_COLLISION: _schema(type="object", properties={"thingId": _TEXT, "thing_id": _TEXT}),
    Rule.NAME_TOO_LONG: RuleExample({"schemas": {"Thing" * 60: _OBJECT}}),
    Rule.HIDDEN_CLASS: RuleExample(
        {
            "schemas": {
                "Order": {
                    "type": "object",
                    "properties": {"line": {"type": "object", "properties": {"count": _TEXT}}},
                },
                "OrderLine": {"type": "object", "properties": {"text": _TEXT}},
            }
        }
    ),
    Rule.UNKNOWN_STATED_NAME: RuleExample(names={"/schemas/Other": "other"}),
}
"""An example of every rule, but of those about pyproject.toml, and of `UNTRANSLATABLE_SCHEMA`, of which none is known."""
