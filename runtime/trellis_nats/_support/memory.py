"""Reads how much memory this process uses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["read_memory"]

_STATM: Final = Path("/proc/self/statm")


def read_memory() -> int | None:
    """Return the resident memory of this process in bytes; None where the system does not say it in /proc."""
    try:
        resident = _STATM.read_text(encoding="ascii").split()[1]
        return int(resident) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
