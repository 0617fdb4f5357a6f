"""Packages generated in a test, imported and ready to read and write values."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import count
from pathlib import Path
from types import ModuleType

from pydantic import JsonValue, TypeAdapter

from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.naming import class_name
from trellis_codegen.plan.package import plan_package
from trellis_codegen.problems import Problem
from trellis_codegen.render.package import render_package

_NUMBERS = count()


def generated(document: JsonValue, folder: Path) -> tuple[ModuleType, list[Problem]]:
    """Generate the package of a contract into `folder` under a name of its own, and import it."""
    package = f"generated{next(_NUMBERS)}"
    reading = read_manifest(json.dumps(document).encode())
    plan, remarks = plan_package(reading.manifest, source="x.json", package=package, generator="0")
    for name, text in render_package(plan).items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        return importlib.import_module(package), [*reading.warnings, *remarks]
    finally:
        sys.path.remove(str(folder))


def adapter(package: ModuleType, schema: str) -> TypeAdapter[object]:
    """Return what reads and writes the values of a named schema."""
    return TypeAdapter(getattr(package, class_name(schema)))
