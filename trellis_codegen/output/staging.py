"""Builds the whole new package next to the old one.

A file that stays the same is not copied: it is a hard link to the old one, and keeps its time and its inode.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["move_late_saves", "stage_package"]

_FILE_MODE = 0o644
_CACHE = "__pycache__"


def stage_package(
    staging: Path, folder: Path, *, write: Mapping[str, str], leave: frozenset[str] = frozenset()
) -> None:
    """Make `staging` what `folder` is to become: the files of `write`, and those of `folder` except `leave`.

    Files of others are included, links as links. Bytecode caches are not: Python makes them again.
    """
    staging.mkdir()
    if folder.exists():
        shutil.copymode(folder, staging)
    for name, text in write.items():
        _write(staging / name, text)
    for path in _entries(folder):
        name = path.relative_to(folder).as_posix()
        if name not in write and name not in leave:
            _link_or_copy(path, staging / name)
    _sync(staging, write)


def move_late_saves(old: Path, folder: Path, *, leave: frozenset[str]) -> None:
    """Move files that were saved into the old package while the new one was built."""
    for path in _entries(old):
        name = path.relative_to(old).as_posix()
        if name not in leave and not path.is_dir() and not _is_same(path, folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(folder / name)


def _entries(folder: Path) -> Iterator[Path]:
    """Yield every file, link and empty folder below a folder, without bytecode caches."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield path
        elif path.name != _CACHE:
            inside = [*_entries(path)]
            yield from inside or ([] if any(path.iterdir()) else [path])


def _link_or_copy(source: Path, target: Path) -> None:
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
    """Wait until everything is on disk. All files are written before the first sync, so the disk flushes once for all."""
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
