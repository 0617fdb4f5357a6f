"""A change that each contract rule reports, and its nearest neighbour that it does not, as fragments of manifests.

Fragments refer to the schemas `R` and `Q`, objects of texts, and to the capabilities `o.read` and `o.write`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from pydantic import JsonValue

__all__ = ["CONTRACT_EXAMPLES", "ContractExample"]

JsonObject: TypeAlias = dict[str, JsonValue]

_TEXT: Final[JsonObject] = {"type": "string"}
_MEMBERS: Final = ("id", "origin", "account", "kind", "file")
_RECORD: Final[JsonObject] = {
    "type": "object",
    "properties": dict.fromkeys(_MEMBERS, _TEXT),
    "required": list[JsonValue](_MEMBERS),
}
_R: Final[JsonObject] = {"schema": "R"}
_Q: Final[JsonObject] = {"schema": "Q"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractExample:
    """Two pairs of fragments, each old and new."""

    fails: tuple[JsonObject, JsonObject]
    passes: tuple[JsonObject, JsonObject]
    also: tuple[str, ...] = ()
    """What is reported next to the rule."""


def _example(
    old: JsonObject, new: JsonObject, before: JsonObject, after: JsonObject, *also: str
) -> ContractExample:
    return ContractExample(fails=(old, new), passes=(before, after), also=also)


def _contract(**fields: JsonValue) -> JsonObject:
    return fields


def _rights(*names: str) -> JsonObject:
    return {"capabilities": {name: {"displayName": name, "description": "A right."} for name in names}}


def _job(**fields: JsonValue) -> JsonObject:
    return {"jobs": {"q": {"payload": _R, **fields}}}


def _keyed(queue: JsonObject | None = None, **fields: JsonValue) -> JsonObject:
    key: JsonObject = {"key": ["/origin"], **fields}
    return _job(keyConcurrency=key) if queue is None else _job(keyConcurrency=key, queue=queue)


def _rpc(name: str = "Get", version: str = "v1", **fields: JsonValue) -> JsonObject:
    call: JsonObject = {
        "version": version,
        "subject": f"rpc.{version}.{name}",
        "input": _R,
        "output": _R,
        **fields,
    }
    return {"rpc": {name: call}}


def _operation(version: str = "v1", **fields: JsonValue) -> JsonObject:
    call: JsonObject = {
        "version": version,
        "subject": f"operations.{version}.Run",
        "input": _R,
        "output": _R,
        **fields,
    }
    store: JsonObject = {"purpose": "Files."}
    return {"operations": {"Run": call}, "resources": {"store": {"a": store, "b": store}}}


def _transfer(**fields: JsonValue) -> JsonObject:
    return _operation(transfer={"direction": "send", "store": "a", "key": "/file", **fields})


def _event(version: str = "v1", *, params: tuple[str, ...] = (), **fields: JsonValue) -> JsonObject:
    subject = ".".join([f"events.{version}.A", *(f"{{{param}}}" for param in params)])
    event: JsonObject = {"version": version, "subject": subject, "event": _R, **fields}
    if params:
        event["params"] = list[JsonValue](params)
    return {"events": {"A": event}}


def _events(*names: str) -> JsonObject:
    return {
        "events": {name: {"version": "v1", "subject": f"events.v1.{name}", "event": _R} for name in names}
    }


def _group(name: str = "audit", *, events: tuple[str, ...] = ("A",), **fields: JsonValue) -> JsonObject:
    group: JsonObject = {"self": list[JsonValue](events), **fields}
    return {**_events("A", "B"), "eventConsumers": {name: group}}


def _feed(version: str = "v1", **fields: JsonValue) -> JsonObject:
    feed: JsonObject = {
        "version": version,
        "subject": f"feeds.{version}.Live",
        "input": _R,
        "event": _R,
        **fields,
    }
    return {"feeds": {"Live": feed}}


def _bucket(**fields: JsonValue) -> JsonObject:
    return {"resources": {"kv": {"k": {"purpose": "Values.", "schema": _R, **fields}}}}


def _store(**fields: JsonValue) -> JsonObject:
    return {"resources": {"store": {"s": {"purpose": "Files.", **fields}}}}


def _state(**fields: JsonValue) -> JsonObject:
    return {"kind": "app", "state": {"view": {"kind": "value", "schema": _R, **fields}}}


def _uses(group: str, contract: str = "pay@v1", *calls: str) -> JsonObject:
    return {"uses": {group: {"pay": {"contract": contract, "rpc": {"call": [*(calls or ("X",))]}}}}}


def _error(error_type: str = "NotFound", *, has_data: bool = False) -> JsonObject:
    error: JsonObject = {"type": error_type}
    return {**_rpc(errors=[error]), "errors": {"NotFound": {**error, "schema": _R} if has_data else error}}


def _with_origin(schema: JsonObject) -> JsonObject:
    """Return the schemas with another type of one member."""
    properties: JsonObject = {**dict.fromkeys(_MEMBERS, _TEXT), "origin": schema}
    return {"R": {**_RECORD, "properties": properties}, "Q": {**_RECORD, "title": "Q"}}


def _two_calls() -> JsonObject:
    one, other = _rpc()["rpc"], _rpc("Put")["rpc"]
    return {"rpc": {**one, **other}} if isinstance(one, dict) and isinstance(other, dict) else {}


_NONE: Final[JsonObject] = {}
_STORES: Final[JsonObject] = {"resources": _operation()["resources"]}
_TWO_QUEUES: Final[JsonObject] = {"jobs": {"q": {"payload": _R}, "r": {"payload": _Q}}}

_CONTRACT: Final[dict[str, ContractExample]] = {
    "CONTRACT_ID_CHANGED": _example(
        _contract(id="orders@v1"), _contract(id="orders@v2"),
        _NONE, _contract(displayName="The orders"),
    ),
    "CONTRACT_KIND_CHANGED": _example(
        _contract(kind="service"), _contract(kind="device"),
        _NONE, _contract(displayName="The orders"),
    ),
    "CAPABILITY_REMOVED": _example(
        _rights("o.read", "o.write"), _rights("o.read"),
        _rights("o.read"), _rights("o.read", "o.write"),
    ),
    "CAPABILITY_ADDED": _example(
        _rights("o.read"), _rights("o.read", "o.write"),
        _rights("o.read"), _rights("o.read"),
    ),
    "EXPORT_REMOVED": _example(
        {"exports": {"schemas": ["R", "Q"]}}, {"exports": {"schemas": ["R"]}},
        {"exports": {"schemas": ["R"]}}, {"exports": {"schemas": ["R", "Q"]}},
    ),
    "SCHEMA_RENAMED": _example(
        {"schemas": {"R": _RECORD}, **_job(), "exports": {}},
        {"schemas": {"Record": _RECORD}, "jobs": {"q": {"payload": {"schema": "Record"}}}, "exports": {}},
        {"schemas": {"R": _RECORD}, "exports": {}}, {"schemas": {"R": _RECORD}, "exports": {"schemas": ["R"]}},
    ),
    "SURFACE_ADDED": _example(_NONE, _job(), _job(), _job()),
    "DOCS_CHANGED": _example(_NONE, _contract(displayName="The orders"), _NONE, _NONE),
}  # fmt: skip

_JOBS: Final[dict[str, ContractExample]] = {
    "QUEUE_REMOVED": _example(_job(), _NONE, _job(), _TWO_QUEUES),
    "QUEUE_RENAMED": _example(_job(), {"jobs": {"r": {"payload": _R}}}, _job(), _TWO_QUEUES),
    "JOB_RESULT_ADDED": _example(_job(), _job(result=_R), _job(result=_R), _job(result=_R)),
    "JOB_RESULT_REMOVED": _example(_job(result=_R), _job(), _job(result=_R), _job(result=_R)),
    "JOB_UPDATE_REMOVED": _example(
        _job(progress=True, update=_R), _job(progress=False),
        _job(progress=False), _job(progress=True),
    ),
    "JOB_DLQ_REMOVED": _example(_job(dlq=True), _job(dlq=False), _job(dlq=False), _job(dlq=True)),
    "QUEUE_KEY_CHANGED": _example(
        _keyed(), _keyed(key=["/account"]),
        _keyed(), _keyed(heartbeatIntervalMs=5_000),
    ),
    "QUEUE_KEY_TYPE_CHANGED": _example(
        _keyed(), {"schemas": _with_origin({"type": ["integer", "string"]}), **_keyed()},
        _keyed(), {"schemas": _with_origin({"type": "string", "maxLength": 9}), **_keyed()},
        "JOB_PAYLOAD_UNION_MEMBER_ADDED",
    ),
    "QUEUE_KEY_ADDED": _example(_job(), _keyed(), _keyed(), _keyed()),
    "QUEUE_KEY_REMOVED": _example(_keyed(), _job(), _keyed(), _keyed()),
    "QUEUE_MAX_ACTIVE_LOWERED": _example(_keyed(maxActive=4), _keyed(maxActive=2), _keyed(maxActive=2), _keyed(maxActive=4)),
    "QUEUE_MAX_ACTIVE_RAISED": _example(_keyed(maxActive=1), _keyed(maxActive=2), _keyed(maxActive=2), _keyed(maxActive=4)),
    "QUEUE_MAX_QUEUED_LOWERED": _example(
        _keyed({"maxQueuedPerKey": 5}), _keyed({"maxQueuedPerKey": 1}),
        _keyed({"maxQueuedPerKey": 1}), _keyed({"maxQueuedPerKey": 5}),
    ),
    "QUEUE_WHEN_FULL_CHANGED": _example(
        _keyed({"whenFull": "reject"}), _keyed({"whenFull": "replace-oldest"}),
        _keyed(), _keyed({"whenFull": "reject"}),
    ),
    "QUEUE_STALE_POLICY_CHANGED": _example(
        _keyed(stalePolicy="fail-stale"), _keyed(stalePolicy="block"),
        _keyed(), _keyed(stalePolicy="fail-stale"),
    ),
    "QUEUE_LEASE_SHORTENED": _example(
        _keyed(heartbeatTtlMs=30_000, heartbeatIntervalMs=10_000),
        _keyed(heartbeatTtlMs=9_000, heartbeatIntervalMs=3_000),
        _keyed(heartbeatTtlMs=30_000, heartbeatIntervalMs=10_000),
        _keyed(heartbeatTtlMs=60_000, heartbeatIntervalMs=10_000),
    ),
    "QUEUE_DEADLINE_LOWERED": _example(
        _job(), _job(defaultDeadlineMs=60_000),
        _job(defaultDeadlineMs=1_000), _job(defaultDeadlineMs=60_000),
    ),
    "QUEUE_MAX_DELIVER_LOWERED": _example(_job(maxDeliver=5), _job(maxDeliver=3), _job(), _job(maxDeliver=5)),
    "QUEUE_RETRY_CHANGED": _example(
        _job(backoffMs=[5_000]), _job(backoffMs=[1_000, 5_000]),
        _job(backoffMs=[5_000]), _job(backoffMs=[5_000]),
    ),
    "QUEUE_ACK_WAIT_CHANGED": _example(_job(), _job(ackWaitMs=60_000), _job(), _job(ackWaitMs=30_000)),
    "QUEUE_CONCURRENCY_RAISED_FROM_ONE": _example(
        _job(concurrency=1), _job(concurrency=4),
        _job(concurrency=2), _job(concurrency=4),
    ),
    "QUEUE_CONCURRENCY_LOWERED": _example(
        _job(concurrency=4), _job(concurrency=1),
        _job(concurrency=1), _job(),
    ),
}  # fmt: skip

_CALLS: Final[dict[str, ContractExample]] = {
    "RPC_REMOVED": _example(_rpc(), _NONE, _rpc(), _two_calls()),
    "RPC_SUBJECT_CHANGED": _example(
        _rpc(), _rpc(version="v2"),
        _rpc(), _two_calls(),
    ),
    "RPC_BECAME_INTERNAL": _example(_rpc(), _rpc(internal=True), _rpc(), _rpc(internal=False)),
    "RPC_TRANSFER_CHANGED": _example(
        _rpc(), _rpc(transfer={"direction": "receive"}),
        _rpc(transfer={"direction": "receive"}), _rpc(transfer={"direction": "receive"}),
    ),
    "RPC_ERROR_ADDED": _example(
        _rpc(errors=[]), _rpc(errors=[{"type": "ValidationError"}]),
        _rpc(errors=[{"type": "ValidationError"}]), _rpc(errors=[]),
    ),
    "RPC_ERROR_REMOVED": _example(
        _rpc(errors=[{"type": "ValidationError"}]), _rpc(errors=[]),
        _rpc(errors=[]), _rpc(errors=[{"type": "ValidationError"}]),
    ),
    "ERROR_TYPE_CHANGED": _example(
        _error(), _error("Missing"),
        _error(), {**_error(), "errors": {"NotFound": {"type": "NotFound"}, "Other": {"type": "Other"}}},
        "RPC_ERROR_ADDED", "RPC_ERROR_REMOVED",
    ),
    "ERROR_SCHEMA_ADDED": _example(_error(), _error(has_data=True), _error(), _error()),
    "ERROR_SCHEMA_REMOVED": _example(_error(has_data=True), _error(), _error(), _error(has_data=True)),
    "CALL_CAPABILITY_ADDED": _example(
        _rpc(capabilities={"call": []}), _rpc(capabilities={"call": ["o.write"]}),
        _rights("o.read"), _rights("o.read", "o.write"),
    ),
    "CALL_CAPABILITY_REMOVED": _example(
        _rpc(capabilities={"call": ["o.write"]}), _rpc(capabilities={"call": []}),
        _rpc(capabilities={"call": ["o.read"]}), _rpc(capabilities={"call": ["o.read"]}),
    ),
    "OPERATION_REMOVED": _example(
        _operation(), _STORES,
        _STORES, _operation(),
    ),
    "OPERATION_SUBJECT_CHANGED": _example(_operation(), _operation("v2"), _operation(), _operation(cancel=True)),
    "OPERATION_CANCEL_REMOVED": _example(
        _operation(cancel=True), _operation(cancel=False),
        _operation(cancel=False), _operation(cancel=True),
    ),
    "OPERATION_SIGNAL_REMOVED": _example(
        _operation(signals={"pause": {"input": _R}}), _operation(signals={}),
        _operation(signals={"pause": {"input": _R}}),
        _operation(signals={"pause": {"input": _R}, "go": {"input": _R}}),
    ),
    "OPERATION_PROGRESS_REMOVED": _example(_operation(progress=_R), _operation(), _operation(), _operation(progress=_R)),
    "OPERATION_TRANSFER_CHANGED": _example(
        _transfer(), _transfer(store="b"),
        _transfer(maxBytes=500), _transfer(maxBytes=1_000),
    ),
}  # fmt: skip

_EVENTS: Final[dict[str, ContractExample]] = {
    "EVENT_REMOVED": _example(_events("A"), _NONE, _events("A"), _events("A", "B")),
    "EVENT_SUBJECT_CHANGED": _example(_event(), _event("v2"), _events("A"), _events("A", "B")),
    "EVENT_PARAMS_CHANGED": _example(
        _event(params=("/id",)), _event(params=("/id", "/kind")),
        _events("A"), _events("A", "B"),
        "EVENT_SUBJECT_CHANGED",
    ),
    "PUBLISH_CAPABILITY_ADDED": _example(
        _event(capabilities={"publish": []}), _event(capabilities={"publish": ["o.write"]}),
        _event(capabilities={"publish": ["o.read", "o.write"]}), _event(capabilities={"publish": ["o.read"]}),
    ),
    "SUBSCRIBE_CAPABILITY_ADDED": _example(
        _event(capabilities={"subscribe": []}), _event(capabilities={"subscribe": ["o.read"]}),
        _events("A"), _events("A", "B"),
    ),
    "GROUP_REMOVED": _example(_group(), _events("A", "B"), _events("A", "B"), _group()),
    "GROUP_RENAMED": _example(_group(), _group("ledger"), _group(), _group(ackWaitMs=60_000)),
    "GROUP_EVENT_ADDED": _example(_group(), _group(events=("A", "B")), _group(), _group(ackWaitMs=60_000)),
    "GROUP_EVENT_REMOVED": _example(_group(events=("A", "B")), _group(), _group(), _group(ackWaitMs=60_000)),
    "GROUP_REPLAY_CHANGED": _example(_group(replay="new"), _group(replay="all"), _group(), _group(replay="new")),
    "FEED_REMOVED": _example(_feed(), _NONE, _NONE, _feed()),
    "FEED_SUBJECT_CHANGED": _example(_feed(), _feed("v2"), _feed(), _feed(docs={"markdown": "Live."})),
}  # fmt: skip

_RESOURCES: Final[dict[str, ContractExample]] = {
    "KV_REMOVED": _example(_bucket(), _NONE, _NONE, _bucket()),
    "KV_HISTORY_LOWERED": _example(_bucket(history=5), _bucket(history=1), _bucket(), _bucket(history=5)),
    "KV_TTL_LOWERED": _example(
        _bucket(ttlMs=0), _bucket(ttlMs=3_600_000),
        _bucket(ttlMs=3_600_000), _bucket(ttlMs=0),
    ),
    "KV_MAX_VALUE_LOWERED": _example(
        _bucket(maxValueBytes=1_048_576), _bucket(maxValueBytes=1_024),
        _bucket(maxValueBytes=1_024), _bucket(maxValueBytes=1_048_576),
    ),
    "KV_BECAME_REQUIRED": _example(_bucket(required=False), _bucket(required=True), _bucket(required=True), _bucket()),
    "KV_LIMIT_RAISED": _example(_bucket(history=1), _bucket(history=5), _bucket(), _bucket(history=1)),
    "STORE_REMOVED": _example(_store(), _NONE, _NONE, _store()),
    "STORE_TTL_LOWERED": _example(_store(), _store(ttlMs=1_000), _store(ttlMs=1_000), _store(ttlMs=2_000)),
    "STORE_LIMIT_LOWERED": _example(
        _store(maxObjectBytes=1_000), _store(maxObjectBytes=10),
        _store(maxObjectBytes=10), _store(maxObjectBytes=1_000),
    ),
    "STATE_REMOVED": _example(_state(), {"kind": "app"}, {"kind": "app"}, _state()),
    "STATE_KIND_CHANGED": _example(_state(), _state(kind="map"), _state(), _state()),
    "STATE_VERSION_NOT_ACCEPTED": _example(
        _state(stateVersion="v1"), _state(stateVersion="v2"),
        _state(stateVersion="v1"), _state(stateVersion="v2", acceptedVersions={"v1": _R}),
    ),
    "STATE_ACCEPTED_REMOVED": _example(
        _state(stateVersion="v2", acceptedVersions={"v1": _R}), _state(stateVersion="v2"),
        _state(stateVersion="v2"), _state(stateVersion="v2", acceptedVersions={"v1": _R}),
    ),
}  # fmt: skip

_USES: Final[dict[str, ContractExample]] = {
    "USES_REQUIRED_ADDED": _example(_NONE, _uses("required"), _NONE, _uses("optional")),
    "USES_OPTIONAL_ADDED": _example(_NONE, _uses("optional"), _uses("optional"), _uses("optional")),
    "USES_ITEM_ADDED": _example(
        _uses("required", "pay@v1", "X"), _uses("required", "pay@v1", "X", "Y"),
        _uses("required"), _NONE,
    ),
    "USES_CONTRACT_CHANGED": _example(
        _uses("required"), _uses("required", "bank@v1"),
        _uses("required"), _NONE,
    ),
    "USES_REMOVED": _example(_uses("required"), _NONE, _NONE, _uses("optional")),
}  # fmt: skip

CONTRACT_EXAMPLES: Final = {**_CONTRACT, **_JOBS, **_CALLS, **_EVENTS, **_RESOURCES, **_USES}
"""The examples by the id of the rule."""
