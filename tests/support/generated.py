"""Packages generated in a test, imported and ready to read and write values."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from types import ModuleType

from pydantic import JsonValue, TypeAdapter

from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.contract.uses import OtherContract, OtherContracts
from trellis_codegen.naming import class_name
from trellis_codegen.plan.uses import plan_participant
from trellis_codegen.problems import Problem
from trellis_codegen.render.package import render_unformatted

_NUMBERS = count()


def generated(document: JsonValue, folder: Path, *others: JsonValue) -> tuple[ModuleType, list[Problem]]:
    """Generate the package of a contract into `folder` under a name of its own, and import it.

    `others` are the contracts that it may use.
    """
    # Another worker of the tests may import what this one has written.
    package = f"generated{os.getpid()}_{next(_NUMBERS)}"
    reading = read_manifest(json.dumps(document).encode())
    plan, remarks = plan_participant(
        reading.manifest, read_others(others), source="x.json", package=package, generator="0"
    )
    # Formatting takes half of the time and changes no meaning; tests/golden and the examples have it.
    files = {**render_unformatted(plan), "contract.json": plan.contract_json, "py.typed": ""}
    for name, text in files.items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        return importlib.import_module(package), [*reading.warnings, *remarks]
    finally:
        sys.path.remove(str(folder))


def read_others(documents: Iterable[JsonValue]) -> OtherContracts:
    """Return contracts as those that others may use."""
    manifests = [read_manifest(json.dumps(document).encode()).manifest for document in documents]
    by_id = {each.id: OtherContract(manifest=each, file=f"{each.id}.json") for each in manifests}
    return OtherContracts(by_id=by_id, known_ids=tuple(by_id), places=("others",))


def adapter(package: ModuleType, schema: str) -> TypeAdapter[object]:
    """Return what reads and writes the values of a named schema."""
    return TypeAdapter(getattr(package, class_name(schema)))
