"""Changes of what a contract is called, declares and uses, between two versions of it."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue
from trellis_nats.testing import NatsServer

from tests.support.rolling.contract_cases import RECORD, ContractCase, Seen, deliver
from tests.support.rolling.contract_jobs import create_next_to_old, work
from tests.support.rolling.deliveries import IMPATIENT
from tests.support.rolling.versions import Versions, member
from tests.support.rule_contracts import JsonObject
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["IDENTITY_CASES", "NOT_DRIVEN"]

_RECORD: Final[JsonObject] = {"schema": "R"}


async def rename(it: Versions) -> Seen:
    """Use the queue as all its parties do, and let the new version look for an old value."""
    async with (
        NatsServer() as server,
        it.old.service.connect(server.url, options=IMPATIENT) as old,
        it.new.service.connect(server.url, options=IMPATIENT) as new,
    ):
        await member(old, "kv", "k").put("key", it.old.read("R", RECORD))
        found = await member(new, "kv", "k").get("key")
    seen = await work(it)
    return {**seen, Column.OLD_WORKERS: None, Column.STORED: None if found else "the value is not found"}


async def add(it: Versions) -> Seen:
    """Use what was there as all its parties do, and what is new next to old instances."""
    there = await deliver(create_next_to_old, it.new, it.old, "r")
    seen = await work(it)
    return {**seen, Column.OLD_WORKERS: seen[Column.OLD_WORKERS] or there}


async def reword(it: Versions) -> Seen:
    """Compare the digests, and use the queue as all its parties do."""
    assert it.old.service.contract.digest == it.new.service.contract.digest
    return await work(it)


async def import_classes(it: Versions) -> Seen:
    """Import a class of the old package from the new one."""
    names = {"R", "Q"}
    gone = sorted(
        name for name in names if hasattr(it.old.package, name) and not hasattr(it.new.package, name)
    )
    return {Column.IMPORTERS: f"cannot import {', '.join(gone)}" if gone else None}


def _with_queue(**more: JsonValue) -> JsonObject:
    return {"jobs": {"q": {"payload": _RECORD}}, **more}


def _using(group: str) -> JsonObject:
    return {"uses": {group: {"pay": {"contract": "pay@v1", "rpc": {"call": ["X"]}}}}}


def _called(contract_id: str) -> JsonObject:
    bucket: JsonObject = {"k": {"purpose": "Values.", "schema": _RECORD}}
    return _with_queue(id=contract_id, resources={"kv": bucket})


def _everything() -> JsonObject:
    call: JsonObject = {"version": "v1", "input": _RECORD, "output": _RECORD}
    event: JsonObject = {"version": "v1", "subject": "events.v1.A", "event": _RECORD}
    feed: JsonObject = {"version": "v1", "subject": "feeds.v1.Live", "input": _RECORD, "event": _RECORD}
    return {
        "jobs": {"q": {"payload": _RECORD}, "r": {"payload": _RECORD}},
        "rpc": {"Get": {**call, "subject": "rpc.v1.Get"}},
        "operations": {"Run": {**call, "subject": "operations.v1.Run"}},
        "events": {"A": event},
        "feeds": {"Live": feed},
        "resources": {
            "kv": {"k": {"purpose": "Values.", "schema": _RECORD}},
            "store": {"s": {"purpose": "Files."}},
        },
    }


def _rights(*names: str) -> JsonObject:
    rights: JsonObject = {name: {"displayName": name, "description": "A right."} for name in names}
    return {"capabilities": rights}


_BY_RIGHTS: Final = (
    "subjects do not name the contract; rights and uses do, which no server of an open deployment checks"
)

IDENTITY_CASES: Final = (
    ContractCase(
        rule="CONTRACT_ID_CHANGED",
        scenario=rename,
        pair=(_called("orders@v1"), _called("purchases@v1")),
        unseen={Column.LISTENERS: _BY_RIGHTS, Column.OPERATORS: _BY_RIGHTS},
    ),
    ContractCase(
        rule="EXPORT_REMOVED",
        scenario=import_classes,
        unseen={
            Column.IMPORTERS: "a Python package has a class for every schema; other generators export those listed"
        },
    ),
    ContractCase(rule="SCHEMA_RENAMED", scenario=import_classes),
    ContractCase(rule="SURFACE_ADDED", scenario=add, pair=(_with_queue(), _everything())),
    ContractCase(
        rule="DOCS_CHANGED", scenario=reword, pair=(_with_queue(), _with_queue(displayName="The orders"))
    ),
    ContractCase(
        rule="CAPABILITY_ADDED",
        scenario=work,
        pair=(_with_queue(**_rights("o.read")), _with_queue(**_rights("o.read", "o.write"))),
    ),
    ContractCase(
        rule="USES_OPTIONAL_ADDED", scenario=work, pair=(_with_queue(), _with_queue(**_using("optional")))
    ),
    ContractCase(rule="USES_REMOVED", scenario=work, pair=(_with_queue(**_using("required")), _with_queue())),
)
"""What is driven of the rules about a contract as a whole."""

_RIGHTS: Final = "rights are checked by a control plane, which an open deployment does not have"
_ACTIVE: Final = (
    "which contracts are active is known to a control plane, which an open deployment does not have"
)

NOT_DRIVEN: Final = {
    "CONTRACT_KIND_CHANGED": "installing a contract is the work of a control plane",
    "CAPABILITY_REMOVED": _RIGHTS,
    "CALL_CAPABILITY_ADDED": _RIGHTS,
    "CALL_CAPABILITY_REMOVED": _RIGHTS,
    "PUBLISH_CAPABILITY_ADDED": _RIGHTS,
    "SUBSCRIBE_CAPABILITY_ADDED": _RIGHTS,
    "KV_BECAME_REQUIRED": "without the binding of a control plane every bucket is required, before and after",
    "USES_REQUIRED_ADDED": _ACTIVE,
    "USES_ITEM_ADDED": _RIGHTS,
    "USES_CONTRACT_CHANGED": _ACTIVE,
}
"""The rules that no run shows, with the reason."""
