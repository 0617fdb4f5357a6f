"""Finds the files of an earlier run that are stale, and that trellis-gen may delete."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.output.files import Files, OutputRefused, locate_file, read_text
from trellis_codegen.output.index import INDEX_NAME, Index, hash_text
from trellis_codegen.render.header import HEADER_START

__all__ = ["find_stale_files"]


def find_stale_files(folder: Path, index: Index, files: Files) -> dict[str, str]:
    """Return the files that the index names, that are no longer generated, and that trellis-gen still owns.

    It owns a file that has its header, or that is unchanged since it was written.
    """
    stale: dict[str, str] = {}
    for name, written in sorted(index.files.items()):
        if name in files or name == INDEX_NAME:
            continue
        try:
            path = locate_file(folder, name)
        except OutputRefused:
            continue
        if not path.is_file():
            continue
        text = read_text(path)
        if text.startswith(HEADER_START) or hash_text(text) == written:
            stale[name] = text
    return stale
