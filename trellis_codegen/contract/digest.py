"""The digest of a contract: a hash of what it means on the wire.

Descriptions, unreachable schemas and unlisted errors do not count. The profile is that of Trellis' Rust tool.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.contract.exchange import Operation, Rpc
from trellis_codegen.contract.manifest import Manifest

__all__ = ["compute_digest", "project_contract"]

JsonObject: TypeAlias = dict[str, JsonValue]

_SURFACES = ("rpc", "operations", "events", "feeds")
_WITHOUT_DOCS = ("state", "jobs", "eventConsumers", *_SURFACES)
_CONSUMER_DEFAULTS: JsonObject = {"replay": "new", "ordering": "strict", "concurrency": 1}
_DROPPED_WHEN_EMPTY = {"uses", "self", "signals", "acceptedVersions"}


def compute_digest(manifest: Manifest) -> str:
    """Return the digest: base64url without padding of the SHA-256 of the canonical projection, 43 characters."""
    text = canonical_json(project_contract(manifest))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def project_contract(manifest: Manifest) -> JsonObject:
    """Return the projection that the digest is computed from."""
    document = _document(manifest)
    result: JsonObject = {key: document[key] for key in ("format", "id", "kind")}
    sections: JsonObject = {"capabilities": document.get("capabilities", {})}
    for section in _WITHOUT_DOCS:
        sections[section] = {name: _entry(each) for name, each in _members(document.get(section))}
    calls: tuple[Rpc | Operation, ...] = (
        *(manifest.rpc or {}).values(),
        *(manifest.operations or {}).values(),
    )
    listed = {error.error_type for call in calls for error in call.errors or []}
    errors = [(name, each) for name, each in _members(document.get("errors")) if each["type"] in listed]
    sections["errors"] = dict(errors)
    sections["uses"] = _uses(_object(document.get("uses")))
    sections["resources"] = _without_empty(
        {
            kind: {
                name: _without_docs(each)
                for name, each in _members(_object(document.get("resources")).get(kind))
            }
            for kind in ("kv", "store")
        },
    )
    reachable = _reachable(sections, errors)
    sections["schemas"] = {
        name: each for name, each in _object(document.get("schemas")).items() if name in reachable
    }
    return result | _without_empty(sections)


def _document(manifest: Manifest) -> JsonObject:
    """Return the manifest as it was written, without what the format does not have."""
    dumped: JsonObject = manifest.model_dump(by_alias=True, exclude_unset=True)
    return dumped


def _entry(entry: JsonObject) -> JsonObject:
    """Return one declaration without its docs, with its sets sorted and its consumer defaults written out."""
    result = _without_docs(entry)
    if isinstance(capabilities := result.get("capabilities"), dict):
        result["capabilities"] = {role: _sorted_names(names) for role, names in capabilities.items()}
    if isinstance(errors := result.get("errors"), list):
        types = {str(error["type"]) for error in errors if isinstance(error, dict)}
        result["errors"] = [{"type": kind} for kind in sorted(types)]
    if isinstance(signals := result.get("signals"), dict):
        result["signals"] = {name: _without_docs(each) for name, each in _members(signals)}
    if not result.keys() & {"subject", "payload", "kind"}:
        result = _CONSUMER_DEFAULTS | result
    return {key: each for key, each in result.items() if each or key not in _DROPPED_WHEN_EMPTY}


def _uses(uses: JsonObject) -> JsonObject:
    required, optional = _object(uses.get("required")), _object(uses.get("optional"))
    groups: JsonObject = {
        "required": {alias: _use(each) for alias, each in _members(required)},
        "optional": {alias: _use(each) for alias, each in _members(optional) if alias not in required},
    }
    return _without_empty(groups)


def _use(use: JsonObject) -> JsonObject:
    return {
        key: {verb: _sorted_names(names) for verb, names in each.items()} if isinstance(each, dict) else each
        for key, each in use.items()
    }


def _reachable(sections: JsonObject, errors: list[tuple[str, JsonObject]]) -> set[str]:
    """Return the schemas that a surface, a listed error, a job, a state store or a bucket refers to."""
    names: set[str] = set()
    for section in ("state", "rpc", "operations", "events", "feeds", "jobs"):
        names.update(_refs(sections[section]))
    first_of_type: dict[JsonValue, JsonObject] = {}
    for _, error in sorted(errors):
        first_of_type.setdefault(error["type"], error)
    for error in first_of_type.values():
        names.update(_refs(error))
    names.update(_refs(_object(sections["resources"]).get("kv")))
    return names


def _refs(value: JsonValue) -> Iterator[str]:
    """Yield the names in all schema references: objects whose only member is `schema`, a string."""
    if isinstance(value, dict):
        if isinstance(name := value.get("schema"), str):
            yield name
        for member in value.values():
            yield from _refs(member)


def _sorted_names(names: JsonValue) -> JsonValue:
    return list[JsonValue](sorted({str(name) for name in names})) if isinstance(names, list) else names


def _without_docs(entry: JsonObject) -> JsonObject:
    return {key: each for key, each in entry.items() if key != "docs"}


def _without_empty(sections: JsonObject) -> JsonObject:
    return {key: each for key, each in sections.items() if each}


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _members(value: JsonValue) -> list[tuple[str, JsonObject]]:
    return [(name, _object(each)) for name, each in _object(value).items()]
