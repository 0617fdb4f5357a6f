"""Writes a package: each file whole or not at all, and none that is already right."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from trellis_codegen.output.drift import Change, Drift
from trellis_codegen.output.files import OutputRefused, path_of
from trellis_codegen.output.index import INDEX_NAME
from trellis_codegen.output.pruning import prune

__all__ = ["write_drift"]

_FILE_MODE = 0o644


def write_drift(folder: Path, drift: list[Drift]) -> None:
    """Bring the package on disk up to date.

    Files are written first and the index last; only then are stale files deleted. A run that is killed on the way leaves
    whole files, and the next run finishes its work.

    Raises:
        OutputRefused: a file can't be written.
    """
    written = [each for each in drift if each.change is not Change.STALE]
    try:
        for each in sorted(written, key=lambda each: (each.name == INDEX_NAME, each.name)):
            _write(path_of(folder, each.name), each.new)
        prune(folder, [each.name for each in drift if each.change is Change.STALE])
    except OSError as error:
        raise OutputRefused(
            f"{error.filename or folder}: {(error.strerror or str(error)).lower()}"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(_FILE_MODE)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
