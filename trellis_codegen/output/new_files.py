"""Writes files that do not exist yet: all of them, or none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from trellis_codegen.output.files import Files, OutputRefused
from trellis_codegen.output.locking import lock_folder
from trellis_codegen.output.staging import stage_package

__all__ = ["check_absence", "write_new_files"]

_STAGING = ".trellis-gen-init"
_NAMES_SHOWN = 5


def check_absence(folder: Path, files: Files) -> None:
    """Refuse to write files where some of them exist.

    Raises:
        OutputRefused: naming the first files that are in the way.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise OutputRefused(f"{folder} is a file, and the project needs a folder; choose another --out")
    parents = {str(parent) for name in files for parent in PurePosixPath(name).parents[:-1]}
    found = [name for name in files if os.path.lexists(folder / name)]
    found += [
        name for name in parents if os.path.lexists(folder / name) and not _is_real_folder(folder / name)
    ]
    if found:
        exist, them = ("exists", "it") if len(found) == 1 else ("exist", "them")
        # What a person wrote is nearest to the root.
        ordered = sorted(found, key=lambda name: (name.count("/"), name))
        names = ", ".join(str(folder / name) for name in ordered[:_NAMES_SHOWN])
        if len(ordered) > _NAMES_SHOWN:
            names += f" and {len(ordered) - _NAMES_SHOWN} more files"
        raise OutputRefused(
            f"{names} already {exist}; nothing was written. Move {them} away, or choose another folder with --out"
        )


def write_new_files(folder: Path, files: Files) -> None:
    """Write files into a folder, which is created if need be.

    A folder that did not exist appears with all files at once. In one that exists, what was written is removed again if
    writing fails.

    Raises:
        OutputRefused: a file exists, or cannot be written; nothing was written.
    """
    check_absence(folder, files)
    is_new = not folder.exists()
    home = folder.absolute().parent if is_new else folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        with lock_folder(home):
            staging = home / _STAGING
            shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
            try:
                stage_package(staging, staging / "nothing", write=files)
                if is_new:
                    staging.rename(folder)
                else:
                    _place(staging, folder, files)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputRefused(f"{folder}: cannot write the project: {reason}; nothing was written") from error


def _place(staging: Path, folder: Path, files: Files) -> None:
    """Move each file from the staging folder to its place, where none is; on an error, remove what was placed."""
    placed: list[Path] = []
    try:
        for name in files:
            path = folder / name
            for parent in [*reversed(PurePosixPath(name).parents[:-1])]:
                if not (folder / parent).exists():
                    (folder / parent).mkdir()
                    placed.append(folder / parent)
            try:
                path.hardlink_to(
                    staging / name
                )  # unlike a rename, it replaces no file that another program just wrote
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                (staging / name).rename(path)
            placed.append(path)
    except BaseException:
        for path in reversed(placed):
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
