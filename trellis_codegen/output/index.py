"""The list of our files, kept beside them: what may be deleted when it is no longer generated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TypeGuard

from trellis_codegen.output.files import Files

__all__ = ["INDEX_NAME", "Index", "index_text", "read_index"]

INDEX_NAME = ".trellis-gen.json"
"""The name of the index, in the package."""


@dataclass(frozen=True, slots=True)
class Index:
    """What an earlier run wrote."""

    files: dict[str, str]
    """File name → SHA-256 of its text."""


def index_text(files: Files, *, generator: str, digest: str) -> str:
    """Return the index of `files`."""
    hashes = {name: text_hash(text) for name, text in sorted(files.items())}
    return json.dumps({"generator": generator, "digest": digest, "files": hashes}, indent=2) + "\n"


def read_index(text: str | None) -> Index:
    """Return the index with that text; an empty one when there is none or somebody broke it."""
    try:
        value: object = json.loads(text or "{}")
    except ValueError:
        return Index({})
    files = value.get("files") if _is_object(value) else None
    if not _is_object(files):
        return Index({})
    return Index({name: each for name, each in files.items() if isinstance(each, str)})


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
