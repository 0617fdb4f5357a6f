"""The files of a package: their names, and their text on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

__all__ = ["Files", "OutputRefused", "locate_file", "read_files", "read_text"]

Files: TypeAlias = Mapping[str, str]
"""File name, relative to the package and with slashes, to text."""


class OutputRefused(Exception):
    """The output cannot be written, or must not be overwritten."""


def locate_file(folder: Path, name: str) -> Path:
    """Return the path of the file `name` of a package.

    Raises:
        OutputRefused: the name leads out of the package, or a symbolic link is on the way.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts:
        raise OutputRefused(f"{name!r} is not the name of a generated file: it leads out of the package")
    path = folder
    for part in parts:
        if path.is_symlink():
            raise OutputRefused(_explain_link(path))
        path /= part
    if path.is_symlink():
        raise OutputRefused(_explain_link(path))
    return path


def read_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the text of each named file that exists, as `read_text` reads it.

    Raises:
        OutputRefused: a name leads out of the package, or what has the name is not a file.
    """
    found: dict[str, str] = {}
    for name in names:
        path = locate_file(folder, name)
        if path.is_file():
            found[name] = read_text(path)
        elif os.path.lexists(path):
            raise OutputRefused(f"{path} is not a file; move it away")
    return found


def read_text(path: Path) -> str:
    """Return the text of a generated file, with CRLF read as LF: a checkout may have either, and both are fresh.

    Generated text has no carriage return of its own; templates and JSON escape it. Bytes that are not UTF-8 become
    surrogates, which no generated text has.
    """
    return path.read_bytes().decode("utf-8", errors="surrogateescape").replace("\r\n", "\n")


def _explain_link(path: Path) -> str:
    return f"{path} is a symbolic link, and generated files are not written through links; remove the link"
