"""One writer at a time for each output folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path

__all__ = ["lock_folder"]


@contextlib.contextmanager
def lock_folder(folder: Path) -> Generator[None]:
    """Wait until no other run writes into `folder`. The operating system releases the lock of a killed run.

    The lock is on the folder itself, so no lock file is left behind.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform != "win32":  # Windows cannot lock a folder: the user must not run two writers at once
        import fcntl  # noqa: PLC0415 - likewise

        with contextlib.suppress(OSError):  # some network file systems cannot either
            fcntl.flock(handle, fcntl.LOCK_EX)
