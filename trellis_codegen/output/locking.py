"""One writer at a time for each output folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path

__all__ = ["locked"]


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Wait until no other run writes into `folder`; the operating system ends the lock of a run that is killed.

    The folder itself is what is locked, so that no file is left behind.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform != "win32":  # which has no such locks: two writers at once are the user's to avoid
        import fcntl  # noqa: PLC0415 - likewise

        with contextlib.suppress(OSError):  # some network file systems have none either
            fcntl.flock(handle, fcntl.LOCK_EX)
