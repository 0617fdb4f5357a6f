"""Which files of an earlier run are stale, and which of those are ours to delete."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.output.files import Files, OutputRefused, path_of, read_text
from trellis_codegen.output.index import INDEX_NAME, Index, text_hash
from trellis_codegen.render.header import HEADER_START

__all__ = ["stale_files"]


def stale_files(folder: Path, index: Index, files: Files) -> dict[str, str]:
    """Return the files that the index names, that are no longer generated, and that are still ours.

    Ours is what bears our header, or what nobody has changed since we wrote it.
    """
    stale: dict[str, str] = {}
    for name, written in sorted(index.files.items()):
        if name in files or name == INDEX_NAME:
            continue
        try:
            path = path_of(folder, name)
        except OutputRefused:
            continue
        if not path.is_file():
            continue
        text = read_text(path)
        if text.startswith(HEADER_START) or text_hash(text) == written:
            stale[name] = text
    return stale
