"""The differences between a package on disk and the one that would be generated."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trellis_codegen.output.files import Files, read_files
from trellis_codegen.output.index import INDEX_NAME, Index, hash_text, read_index
from trellis_codegen.output.pruning import find_stale_files

__all__ = ["Change", "Drift", "find_drift", "render_diff"]


class Change(StrEnum):
    """What a run would do to a file."""

    MISSING = "missing"
    """It would be written."""
    CHANGED = "changed"
    """It would be written again."""
    STALE = "stale"
    """It would be deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """One file that differs from what would be generated."""

    name: str
    change: Change
    old: str
    new: str
    edited: bool = False
    """Whether the file was changed since it was generated."""


def find_drift(folder: Path, files: Files) -> list[Drift]:
    """Return the files that differ, sorted by name with the index last; nothing is written.

    The index differs only if `Index.substance` does.

    Raises:
        OutputRefused: the folder has something that must not be overwritten.
    """
    on_disk = read_files(folder, [*files, INDEX_NAME])
    index = read_index(on_disk.get(INDEX_NAME))
    drift = [
        Drift(
            name=name,
            change=Change.CHANGED if name in on_disk else Change.MISSING,
            old=on_disk.get(name, ""),
            new=text,
            edited=_is_edited(index, name, on_disk.get(name)),
        )
        for name, text in files.items()
        if _differs(name, on_disk.get(name), text)
    ]
    drift += [
        Drift(name=name, change=Change.STALE, old=text, new="", edited=_is_edited(index, name, text))
        for name, text in find_stale_files(folder, index, files).items()
    ]
    return sorted(drift, key=lambda found: (found.name == INDEX_NAME, found.name))


def render_diff(folder: Path, drift: list[Drift]) -> Iterator[str]:
    """Yield the lines of a diff from what is on disk to what would be generated; paths begin with `folder`.

    Of the index, which holds hashes and versions, it is one line.
    """
    for found in drift:
        path = (folder / found.name).as_posix()
        if found.name == INDEX_NAME:
            yield f"{path} {'is missing' if found.change is Change.MISSING else 'differs'}: hashes and versions"
            continue
        before = "/dev/null" if found.change is Change.MISSING else path
        after = "/dev/null" if found.change is Change.STALE else path
        old, new = found.old.splitlines(), found.new.splitlines()
        lines = [*difflib.unified_diff(old, new, before, after, lineterm="")]
        yield from lines or [f"--- {before}", f"+++ {after}"]


def _differs(name: str, old: str | None, new: str) -> bool:
    if name == INDEX_NAME and old is not None:
        return read_index(old).substance != read_index(new).substance
    return old != new


def _is_edited(index: Index, name: str, text: str | None) -> bool:
    written = index.files.get(name)
    return written is not None and text is not None and hash_text(text) != written
