"""Finds out that a package is up to date, without generating it."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.output.files import OutputRefused, locate_file, read_text
from trellis_codegen.output.index import INDEX_NAME, Index, Inputs, hash_text, read_index

__all__ = ["find_fresh_index"]


def find_fresh_index(folder: Path, inputs: Inputs) -> Index | None:
    """Return the index of a package that these inputs would generate again unchanged, else None.

    Every file is hashed, so an edited, missing or incomplete file is detected.
    """
    try:
        index = read_index(read_text(locate_file(folder, INDEX_NAME)))
        if index.inputs != inputs or not index.files:
            return None
        for name, written in index.files.items():
            if hash_text(read_text(locate_file(folder, name))) != written:
                return None
    except (OSError, ValueError, OutputRefused):
        return None
    return index
