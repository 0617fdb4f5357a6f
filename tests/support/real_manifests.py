"""The packages of the real manifests, written once for all workers of a test run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue
from pydantic_core import SchemaError

from tests.conformance.folders import SHARED
from tests.support.build_once import build_once
from tests.support.generated import adapter, generated
from tests.support.stub_contracts import stub_contracts

__all__ = ["MANIFESTS", "NAMES", "build_real_packages"]

MANIFESTS: Final = SHARED / "manifests"
NAMES: Final = sorted(path.name for path in MANIFESTS.glob("*.json"))
"""None where shared/conformance is not next to the repository."""


def build_real_packages(factory: pytest.TempPathFactory, worker: str) -> Path:
    """Return the folder with the packages, and with `written.json`, which says which manifest became which one."""
    return build_once(factory, worker, "real_manifests", _generate)


def _generate(folder: Path) -> None:
    """Write a package for each real manifest, import it, build every model, and keep what was remarked.

    Contracts that they use and that are not among them have stand-ins.
    """
    documents: dict[str, dict[str, JsonValue]] = {
        name: json.loads((MANIFESTS / name).read_text()) for name in NAMES
    }
    others = [*documents.values(), *stub_contracts(documents.values()).values()]
    written: dict[str, JsonValue] = {}
    for name, document in documents.items():
        package, remarks = generated(document, folder, *others)
        written[name] = [package.__name__, [remark.what for remark in remarks]]
        schemas = document.get("schemas", {})
        for schema in schemas if isinstance(schemas, dict) else ():
            try:
                adapter(package, schema).rebuild()
            except SchemaError as error:
                pytest.fail(f"{name}: {schema}: {error}")
    (folder / "written.json").write_text(json.dumps(written))
