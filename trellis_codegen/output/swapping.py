"""Puts one folder in the place of another."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

__all__ = ["is_swap_impossible", "swap"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""Linux, renameat2."""
_RENAME_SWAP = 2
"""macOS, renamex_np."""
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_IMPOSSIBLE = {errno.EXDEV, errno.EBUSY}


def swap(new: Path, old: Path, *, aside: Path) -> Path:
    """Exchange two folders, and return the path that the old one has now.

    On Linux and macOS this is one step. Elsewhere `old` is renamed to `aside` first, and for an instant there is no
    package.

    Raises:
        OSError: neither way is possible; nothing has changed. See `is_swap_impossible`.
    """
    try:
        _exchange(new, old)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    else:
        return new
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    return aside


def is_swap_impossible(error: OSError) -> bool:
    """Return whether folders cannot be renamed here at all: a mount point, or the lower layer of an overlay."""
    return error.errno in _IMPOSSIBLE


def _exchange(one: Path, other: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)
    elif hasattr(library, "renamex_np"):
        failed = library.renamex_np(first, second, _RENAME_SWAP)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))
