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
_PACKAGES: Final = ("contract", "plan", "render", "schemas")
_MODULES: Final = ("cli/building.py", "naming.py", "problems.py", "rule_ids.py")
TEMPLATES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""In an installed wheel, in a checkout."""
_DISTRIBUTIONS: Final = ("black", "datamodel_code_generator")
"""Those whose version decides the output. They are pinned, but another version may be installed all the same."""
_LENGTH = 16


def hash_generator() -> str:
    """Return a hash of the modules, templates and distributions that decide the output; a wheel and its checkout have the same."""
    total = hashlib.sha256()
    templates = next(folder for folder in TEMPLATES if folder.is_dir())
    for name, path in (*_find_sources(), *_find_templates(templates)):
        total.update(f"{name}\0".encode() + _read(path) + b"\0")
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


def _find_sources() -> Iterator[tuple[str, str]]:
    """Yield the name and path of each module, in the order of names. Walking takes half the time of `Path.rglob`."""
    package = os.fspath(_PACKAGE)
    paths = [f"{package}/{name}" for name in _MODULES]
    for name in _PACKAGES:
        for folder, _, files in os.walk(f"{package}/{name}"):
            paths += [f"{folder}/{file}" for file in files if file.endswith(".py")]
    for path in sorted(path.replace(os.sep, "/") for path in paths):
        yield path[len(package) + 1 :], path


def _find_templates(folder: Path) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - as above
        if name.endswith(".j2"):
            yield name, f"{folder}/{name}"


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - a hundred files: Path.read_bytes takes longer
        return file.read().replace(b"\r\n", b"\n")
