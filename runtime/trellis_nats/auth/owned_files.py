"""Reads files that say who a program is, or who may call it, unless another user may have read or changed them.

The owner and the mode are compared, not what this process could do: root could do anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trellis_nats.errors import ConfigurationError

__all__ = ["FindFault", "find_fault_of_rules", "find_fault_of_secret", "read_owned", "stamp_of"]

FindFault = Callable[[int, int, int], str | None]
"""Takes the mode and the owner of a file, and the user of this process; returns what is wrong, with the remedy.

`{path}` in it stands for the file.
"""

_ROOT: Final = 0
_OTHERS: Final = stat.S_IRWXO
_GROUP: Final = stat.S_IRWXG
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
"""A named pipe must not block before it is refused."""


def find_fault_of_secret(mode: int, owner: int, user: int) -> str | None:
    """Only the owner may read: this user, or root. Of a file of root, its group may read too.

    That is how orchestrators hand a secret to a process that is not root (a Kubernetes secret with `fsGroup`), and the
    rule of PostgreSQL for its key files.
    """
    allowed = stat.S_IRUSR | stat.S_IWUSR | stat.S_IXUSR | (stat.S_IRGRP if owner == _ROOT else 0)
    if mode & (_OTHERS | _GROUP) & ~allowed:
        return (
            f"can be read or changed by other users (mode {mode:04o}): chmod 600 {{path}}; of a Kubernetes secret, set "
            "defaultMode to 0400"
        )
    return _find_fault_of_owner(owner, user)


def find_fault_of_rules(mode: int, owner: int, user: int) -> str | None:
    """Only the owner may write: this user, or root. All users may read."""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be changed by other users (mode {mode:04o}): chmod go-w {{path}}"
    return _find_fault_of_owner(owner, user)


def _find_fault_of_owner(owner: int, user: int) -> str | None:
    if owner in {user, _ROOT}:
        return None
    return f"belongs to user {owner}, neither to the user of this process, {user}, nor to root: chown {user} {{path}}"


def read_owned(
    path: Path, *, what: str, size_max: int, find_fault: FindFault
) -> tuple[bytes, tuple[int, ...]]:
    """Return the content of a file and its stamp. The file is checked after it was opened: it cannot be swapped between.

    A symbolic link is followed if it belongs to this user or to root, as those of Kubernetes do. Without users and modes, on
    Windows, only the kind and the size are checked.

    Args:
        path: the file.
        what: what it is, as the error names it.
        size_max: how many bytes it may have.
        find_fault: decides by mode and owner.

    Raises:
        ConfigurationError: it cannot be read, or must not be used. The text has nothing of the content.
    """
    try:
        link = path.lstat()
        _require(what, path, _find_fault_of_link(link))
        handle = os.open(path, _FLAGS)
        try:
            status = os.fstat(handle)
            _require(what, path, _find_fault_of_file(status, size_max, find_fault))
            with open(handle, "rb", closefd=False) as file:
                data = file.read(size_max + 1)
        finally:
            os.close(handle)
    except OSError as error:
        missing = " (a symbolic link to nothing)" if path.is_symlink() and not path.exists() else ""
        raise ConfigurationError(f"{what} {path} cannot be read: {error.strerror}{missing}") from None
    if len(data) > size_max:  # it grows
        _require(what, path, f"has more than {size_max} bytes")
    return data, stamp_of(status)


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is written, replaced, or gets another owner or mode. The last one is the time of it."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _find_fault_of_link(link: os.stat_result) -> str | None:
    if not stat.S_ISLNK(link.st_mode) or not hasattr(os, "getuid") or link.st_uid in {os.getuid(), _ROOT}:
        return None
    return f"is a symbolic link of user {link.st_uid}: name the file itself"


def _find_fault_of_file(status: os.stat_result, size_max: int, find_fault: FindFault) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "is a folder: name a file in it"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size > size_max:
        return f"has more than {size_max} bytes"
    if hasattr(os, "getuid"):
        return find_fault(stat.S_IMODE(status.st_mode), status.st_uid, os.getuid())
    return None


def _require(what: str, path: Path, fault: str | None) -> None:
    if fault is not None:
        raise ConfigurationError(f"{what} {path} {fault.replace('{path}', str(path))}")
