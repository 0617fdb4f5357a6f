"""Writes a package: all of it or nothing, and no file that is already up to date.

docs/decisions has the reasons, under "A package is swapped, not patched".
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trellis_codegen.output.drift import Change, Drift, find_drift
from trellis_codegen.output.files import Files, OutputRefused, locate_file, read_text
from trellis_codegen.output.index import INDEX_NAME, read_index
from trellis_codegen.output.locking import lock_folder
from trellis_codegen.output.overwrite_guard import refuse_downgrade, refuse_overwriting
from trellis_codegen.output.staging import move_late_saves, stage_package
from trellis_codegen.output.swapping import is_swap_impossible, swap

__all__ = ["check_changes", "write_package"]


def write_package(folder: Path, files: Files) -> list[Drift]:
    """Bring the package on disk up to date, and return what changed.

    Wherever the run is killed, a reader of the disk sees the old package or the new one.

    Raises:
        OutputRefused: the package cannot be written, or must not be overwritten; it is unchanged.
    """
    if folder.parent.exists() and not folder.parent.is_dir():
        raise OutputRefused(
            f"{folder.parent} is a file, and the package needs a folder; choose another --out"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder.parent):
            _recover(folder)
            drift = check_changes(folder, files)
            _write(folder, files, drift)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputRefused(
            f"{_choose_shown_path(error, folder)}: cannot write the package: {reason}"
        ) from error
    return drift


def check_changes(folder: Path, files: Files) -> list[Drift]:
    """Return what `write_package` would change.

    Raises:
        OutputRefused: the package must not be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputRefused(
            f"{folder} is a file, and the package needs a folder of that name; move the file away"
        )
    drift = find_drift(folder, files)
    path = locate_file(folder, INDEX_NAME)
    index = read_index(read_text(path) if path.is_file() else None)
    refuse_downgrade(folder, index, read_index(files.get(INDEX_NAME)).inputs.generator)
    refuse_overwriting(folder, index, drift)
    return drift


def _write(folder: Path, files: Files, drift: list[Drift]) -> None:
    write = {found.name: found.new for found in drift if found.change is not Change.STALE}
    stale = frozenset(found.name for found in drift if found.change is Change.STALE)
    index = folder / INDEX_NAME
    if INDEX_NAME in files and (not index.is_file() or read_text(index) != files[INDEX_NAME]):
        write[INDEX_NAME] = files[INDEX_NAME]
    if not write and not stale:
        return
    staging, aside = _temporary_folders(folder)
    try:
        stage_package(staging, folder, write=write, leave=stale)
        if not folder.exists():
            staging.rename(folder)
        elif len(write) == 1 and not stale:
            _replace_each(staging, folder, [*write])
        else:
            _swap(staging, folder, aside=aside, write=write, stale=stale)
        _sync(folder.parent)
    finally:
        if folder.exists():
            for leftover in (staging, aside):
                shutil.rmtree(leftover, ignore_errors=True)


def _swap(staging: Path, folder: Path, *, aside: Path, write: dict[str, str], stale: frozenset[str]) -> None:
    try:
        old = swap(staging, folder, aside=aside)
    except OSError as error:
        if not is_swap_impossible(error):
            raise
        _replace_each(staging, folder, sorted(write, key=_importable_order))
        for name in sorted(stale):
            _delete_file(folder, name)
        return
    move_late_saves(old, folder, leave=stale | write.keys())


def _replace_each(staging: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        path = locate_file(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(path)


def _importable_order(name: str) -> tuple[bool, int, bool, str]:
    """Sort what is imported before what imports it, and the index last."""
    return (name == INDEX_NAME, -name.count("/"), name.endswith("__init__.py"), name)


def _delete_file(folder: Path, name: str) -> None:
    """Delete a file, and the folders of the package that it leaves empty."""
    path = locate_file(folder, name)
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder or any(parent.iterdir()):
            break
        parent.rmdir()


def _recover(folder: Path) -> None:
    """Finish what a killed run left. The lock is held, so no other run uses the folders next to the package."""
    staging, aside = _temporary_folders(folder)
    for temporary in (staging, aside):
        if temporary.is_symlink() or temporary.is_file():
            raise OutputRefused(
                f"{temporary} is in the way: trellis-gen builds the new package there; remove it"
            )
    if aside.exists() and not folder.exists():
        aside.rename(folder)
    for temporary in (staging, aside):
        if temporary.exists():
            shutil.rmtree(temporary)


def _temporary_folders(folder: Path) -> tuple[Path, Path]:
    """Return the folder in which the new package is built, and the one for the old package where folders cannot be swapped."""
    name = f".{folder.name}.trellis-gen"
    return folder.with_name(f"{name}-new"), folder.with_name(f"{name}-old")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _choose_shown_path(error: OSError, folder: Path) -> str:
    """Return the path that an error is about; the package's, if it is about a temporary folder that the user never sees."""
    path = str(error.filename or folder)
    return str(folder) if any(str(temporary) in path for temporary in _temporary_folders(folder)) else path
