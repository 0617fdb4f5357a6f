"""Contracts that real manifests use and that are not among them: each with the names that are listed of it, and one schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, cast

from pydantic import JsonValue

__all__ = ["stub_contracts", "write_stubs"]

Document = dict[str, JsonValue]

_REF: Final[JsonValue] = {"schema": "Stub"}
_MEMBERS: Final[Mapping[str, Mapping[str, JsonValue]]] = {
    "rpc": {"input": _REF, "output": _REF},
    "operations": {"input": _REF, "output": _REF},
    "events": {"event": _REF},
    "feeds": {"input": _REF, "event": _REF},
}


def stub_contracts(documents: Iterable[Document]) -> dict[str, Document]:
    """Return a contract for each one that the documents use and that is not among them, by id."""
    known = [*documents]
    ids = {str(document["id"]) for document in known}
    stubs: dict[str, Document] = {}
    for contract_id, section, name in (item for document in known for item in _listed(document)):
        if contract_id not in ids:
            stub = stubs.setdefault(contract_id, _empty(contract_id))
            entry: Document = {"version": "v1", "subject": f"{section}.v1.{name}", **_MEMBERS[section]}
            cast("Document", stub.setdefault(section, {}))[name] = entry
    return stubs


def write_stubs(folder: Path, manifests: Iterable[Path]) -> Path:
    """Write those contracts into a folder, and return it."""
    folder.mkdir(exist_ok=True)
    documents = [cast("Document", json.loads(path.read_text())) for path in manifests]
    for contract_id, stub in stub_contracts(documents).items():
        (folder / f"{contract_id}.json").write_text(json.dumps(stub))
    return folder


def _listed(document: Document) -> Iterator[tuple[str, str, str]]:
    groups = cast("dict[str, dict[str, dict[str, dict[str, list[str]]]]]", document.get("uses") or {})
    for uses in groups.values():
        for use in uses.values():
            for section in _MEMBERS.keys() & use.keys():
                for names in use[section].values():
                    yield from ((str(use["contract"]), section, name) for name in names)


def _empty(contract_id: str) -> Document:
    return {
        "format": "trellis.contract.v1",
        "id": contract_id,
        "displayName": contract_id,
        "description": "A stand-in for tests.",
        "kind": "service",
        "schemas": {"Stub": {"type": "object", "properties": {"name": {"type": "string"}}}},
    }
