"""Builds the whole new package beside the old one.

What stays the same is not copied: it is a second name of the same file, so that it keeps its time and its place on disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["carry_late", "stage"]

_FILE_MODE = 0o644
_CACHE = "__pycache__"


def stage(staging: Path, folder: Path, *, write: Mapping[str, str], leave: frozenset[str]) -> None:
    """Make `staging` what `folder` shall be: the files of `write`, and all of `folder` but those of `leave`.

    Foreign files come along, links as links. Bytecode caches don't: Python makes them again.
    """
    staging.mkdir()
    if folder.exists():
        shutil.copymode(folder, staging)
    for name, text in write.items():
        _write(staging / name, text)
    for path in _entries(folder):
        name = path.relative_to(folder).as_posix()
        if name not in write and name not in leave:
            _carry(path, staging / name)
    _sync(staging, write)


def carry_late(old: Path, folder: Path, *, leave: frozenset[str]) -> None:
    """Move what somebody saved into the old package while the new one was built."""
    for path in _entries(old):
        name = path.relative_to(old).as_posix()
        if name not in leave and not path.is_dir() and not _is_same(path, folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(folder / name)


def _entries(folder: Path) -> Iterator[Path]:
    """Yield every file and link below a folder, and every folder that is empty; none of the caches."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield path
        elif path.name != _CACHE:
            inside = [*_entries(path)]
            yield from inside or ([] if any(path.iterdir()) else [path])


def _carry(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        return
    try:
        target.hardlink_to(source) if not source.is_symlink() else target.symlink_to(source.readlink())
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())


def _sync(staging: Path, written: Mapping[str, str]) -> None:
    """Wait until everything is on disk: all is written first, so that the disk is asked once and not for each file."""
    folders = {staging, *((staging / name).parent for name in written)}
    for path in (*(staging / name for name in written), *sorted(folders)):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_same(one: Path, other: Path) -> bool:
    if not os.path.lexists(other):
        return False
    first, second = one.lstat(), other.lstat()
    if (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino):
        return True
    if one.is_symlink() and other.is_symlink():
        return one.readlink() == other.readlink()
    return (first.st_mtime_ns, first.st_size) == (second.st_mtime_ns, second.st_size)
