"""A hash of the source that decides the output of the generator."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["hash_generator"]

_PACKAGE = Path(__file__).parent.parent
_SOURCES = ("contract", "schemas", "plan", "render", "naming.py", "problems.py")
_TEMPLATES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""In an installed wheel, in a checkout."""
_LENGTH = 16


def hash_generator() -> str:
    """Return a hash of the modules and templates that decide the output; a wheel and its checkout have the same."""
    total = hashlib.sha256()
    for name in _SOURCES:
        root = _PACKAGE / name
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            total.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode() + _source(path) + b"\0")
    templates = next(folder for folder in _TEMPLATES if folder.is_dir())
    for path in sorted(templates.glob("*.j2")):
        total.update(f"{path.name}\0".encode() + _source(path) + b"\0")
    return total.hexdigest()[:_LENGTH]


def _source(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")
