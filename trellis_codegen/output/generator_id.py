"""A hash of the source that decides the output of the generator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["TEMPLATES", "find_versions", "hash_generator"]

_PACKAGE = Path(__file__).parent.parent
_SOURCES = (
    "contract",
    "schemas",
    "plan",
    "render",
    "cli/building.py",
    "naming.py",
    "problems.py",
    "rule_ids.py",
)
TEMPLATES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""In an installed wheel, in a checkout."""
_DISTRIBUTIONS: Final = ("black", "datamodel_code_generator")
"""Those whose version decides the output. They are pinned, but another version may be installed all the same."""
_LENGTH = 16


def hash_generator() -> str:
    """Return a hash of the modules, templates and distributions that decide the output; a wheel and its checkout have the same."""
    total = hashlib.sha256()
    for name in _SOURCES:
        root = _PACKAGE / name
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            total.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode() + _source(path) + b"\0")
    templates = next(folder for folder in TEMPLATES if folder.is_dir())
    for path in sorted(templates.glob("*.j2")):
        total.update(f"{path.name}\0".encode() + _source(path) + b"\0")
    for version in find_versions():
        total.update(version.encode())
    return total.hexdigest()[:_LENGTH]


def find_versions() -> Iterator[str]:
    """Yield the name and version of each distribution, without the 10 ms that importing `importlib.metadata` takes."""
    for name in _DISTRIBUTIONS:
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            found = os.listdir(Path(folder).parent)  # noqa: PTH208 - Path.iterdir takes ten times as long
            yield from sorted(
                entry for entry in found if entry.startswith(f"{name}-") and entry.endswith(".dist-info")
            )


def _source(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")
