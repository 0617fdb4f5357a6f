"""Contracts for tests: small, valid, and changed in one place."""

import copy
import json

from pydantic import JsonValue

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.problems import Problem, ProblemsFound

JsonObject = dict[str, JsonValue]

TEXT: JsonValue = {"type": "string"}
THING: JsonValue = {"type": "object", "properties": {"thingId": TEXT}, "required": ["thingId"]}


def contract(**sections: JsonValue) -> JsonObject:
    """Return a contract with one schema, `Thing`, and these sections; if they have no schemas, `Thing` is exported."""
    exports: JsonObject = (
        {} if sections.keys() & {"exports", "schemas"} else {"exports": {"schemas": ["Thing"]}}
    )
    return {
        "format": "trellis.contract.v1",
        "id": "things-service@v1",
        "displayName": "Things",
        "description": "Keeps things.",
        "kind": "service",
        "schemas": {"Thing": THING},
        **copy.deepcopy(sections),
        **exports,
    }


def job(schema: str = "Thing", **members: JsonValue) -> JsonObject:
    """Return a job with that payload."""
    return {"payload": {"schema": schema}, **members}


def rpc(name: str, **members: JsonValue) -> JsonObject:
    """Return an RPC from thing to thing."""
    thing: JsonValue = {"schema": "Thing"}
    return {"version": "v1", "subject": f"rpc.v1.{name}", "input": thing, "output": thing, **members}


def manifest(document: JsonValue) -> Manifest:
    """Read a contract that must be sound."""
    return read_manifest(json.dumps(document).encode()).manifest


def problems(document: JsonValue, *, strict: bool = False) -> list[Problem]:
    """Return what reading a contract has to say."""
    try:
        return list(read_manifest(json.dumps(document, indent=2).encode(), strict=strict).warnings)
    except ProblemsFound as error:
        return list(error.problems)
