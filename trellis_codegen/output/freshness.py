"""Knows when there is nothing to do, without generating anything."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.output.files import OutputRefused, path_of, read_text
from trellis_codegen.output.index import INDEX_NAME, Index, Inputs, read_index, text_hash

__all__ = ["fresh_index"]


def fresh_index(folder: Path, inputs: Inputs) -> Index | None:
    """Return the index of a package that these inputs would generate again byte for byte, else None.

    Every file is hashed, so that an edited, a missing or a half-written one is found out.
    """
    try:
        index = read_index(read_text(path_of(folder, INDEX_NAME)))
        if index.inputs != inputs or not index.files:
            return None
        for name, written in index.files.items():
            if text_hash(read_text(path_of(folder, name))) != written:
                return None
    except (OSError, ValueError, OutputRefused):
        return None
    return index
